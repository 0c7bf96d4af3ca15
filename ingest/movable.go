package ingest

import (
	"context"
	"os"
)

// handedOver is what a listener leaves to a successor.
type handedOver struct {
	files  []*os.File        // duplicates of its sockets
	shared bool              // with somebody besides, such as systemd
	drops  map[uint64]uint64 // by SO_COOKIE: how many of a socket's drops are accounted for
}

func (e *handedOver) close() {
	for _, f := range e.files {
		f.Close()
	}
}

// movable is a Listener that can be handed over: see HandOver.
type movable interface {
	// pause makes the listener stop reading from sockets that others are going to read, and returns when it has: what it
	// had read is with the sink, and its account of drops is final. The sockets stay open and go on queueing.
	pause(ctx context.Context) (*handedOver, error)
	// resume takes pause back, also one that failed.
	resume()
	// leave makes the end of the listener one that leaves its sockets to whom they were given. It returns false if the
	// listener has ended before.
	leave() bool
	// halt begins the end.
	halt()
}
