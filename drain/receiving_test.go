package drain

import (
	"context"
	"errors"
	"testing"
)

// unable is a listener that cannot receive, as where the kernel refuses its system calls.
type unable struct{ err error }

func (u unable) Ready() error                   { return u.err }
func (u unable) Shutdown(context.Context) error { return u.err }

// A class whose listener cannot receive is not ready, and its drain is not complete.
func TestListenerCannotReceive(t *testing.T) {
	refused := errors.New("recvmmsg: operation not permitted")
	w := newWorld(t)
	w.listeners = []Input{unable{refused}}
	d, _ := w.start(Options{})
	if err := d.Ready("vpn"); !errors.Is(err, refused) {
		t.Errorf("ready: %v", err)
	}
	if r, err := d.Drain(t.Context(), "test"); err != nil || r.Outcome != Incomplete {
		t.Errorf("%v %s", err, r.JSON())
	}
}
