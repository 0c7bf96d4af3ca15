//go:build unix

package main

import (
	"os"
	"syscall"
)

var handOverSignals = []os.Signal{syscall.SIGUSR2}
