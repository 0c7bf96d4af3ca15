//go:build !linux

package main

// monotonic returns false: only systemd needs it, which exists on Linux only.
func monotonic() (usec int64, ok bool) { return 0, false }
