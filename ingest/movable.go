package ingest

import (
	"context"
	"os"
)

// handedOver is what a listener passes to a successor.
type handedOver struct {
	files  []*os.File        // duplicates of its sockets
	shared bool              // with a third process, such as systemd
	drops  map[uint64]uint64 // by SO_COOKIE: how many of a socket's drops are accounted for
}

func (e *handedOver) close() {
	for _, f := range e.files {
		f.Close()
	}
}

// movable is a Listener that can be handed over: see HandOver.
type movable interface {
	// pause makes the listener stop reading from sockets that others are about to read. When it returns, everything
	// that was read is with the sink, and the account of drops is final. The sockets stay open and go on queueing.
	pause(ctx context.Context) (*handedOver, error)
	// resume undoes pause, also one that failed.
	resume()
	// leave makes the listener's end leave its sockets open for the process that they were passed to. It returns false
	// if the listener has ended before.
	leave() bool
	// halt makes the listener end, without waiting for it.
	halt()
}
