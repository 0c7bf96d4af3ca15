//go:build !linux

package main

// monotonic is for systemd, which exists on Linux only.
func monotonic() (usec int64, ok bool) { return 0, false }
