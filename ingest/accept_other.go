//go:build !linux

package ingest

import (
	"net"
	"time"
)

// queuedIn returns 0: the number of unread bytes in the kernel is unknown.
func queuedIn(net.Conn) (bytes int64) { return 0 }

// acceptQueued accepts a connection from the kernel's queue. It returns an error if none arrives within a moment.
func acceptQueued(ln net.Listener) (net.Conn, error) {
	if l, ok := ln.(*net.TCPListener); ok {
		l.SetDeadline(time.Now().Add(settleTime))
	}
	return ln.Accept()
}
