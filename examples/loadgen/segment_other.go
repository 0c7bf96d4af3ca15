//go:build !linux

package main

import "net"

func setSegment(*net.UDPConn, int) bool { return false }
