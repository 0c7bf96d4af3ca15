//go:build unix

package main

import (
	"os"
	"syscall"
)

var handOverSignals = []os.Signal{syscall.SIGUSR2}

// hangUp asks a process to reload its settings.
func hangUp(pid int) error { return syscall.Kill(pid, syscall.SIGHUP) }
