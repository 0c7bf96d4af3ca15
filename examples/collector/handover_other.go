//go:build !unix

package main

import "os"

var handOverSignals []os.Signal

func hangUp(int) error { return nil } // there is no hand-over
