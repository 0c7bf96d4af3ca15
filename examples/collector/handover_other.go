//go:build !unix

package main

import "os"

var handOverSignals []os.Signal
