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
	// pause makes the listener stop reading from sockets that another process will read. When it returns, the sink has
	// taken everything that was read, and the account of drops is final. The sockets stay open and continue to queue.
	pause(ctx context.Context) (*handedOver, error)
	// resume undoes pause, even if pause failed.
	resume()
	// leave makes the listener leave its sockets, when it ends, to the process that they were passed to. It returns false
	// if the listener is ending already.
	leave() bool
	// halt ends the listener, without waiting for the end.
	halt()
}
