package ingest

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/spool/segment"
)

// asking is unasked with senders that ask for acknowledgements.
type asking struct{ unasked }

func (*asking) Asked() bool { return true }

var (
	unaskedFraming Framing = func(*Stream) Framer { return &unasked{} }
	askingFraming  Framing = func(*Stream) Framer { return &asking{} }
)

// Close counts data that the kernel has acknowledged to a sender that asks for no acknowledgement, whether its connection waits in
// a read or for the sink. A sender that asks sends it again, so it is neither received nor lost.
func TestUnaskedCloseCountsQueue(t *testing.T) {
	const queued = 60_000
	for name, framing := range map[string]Framing{"asks": askingFraming, "asks nothing": unaskedFraming} {
		t.Run(name, func(t *testing.T) {
			l := listenTCP(t, &TCPOptions{Framing: framing})
			s := durableSink{newSink()}
			wait := serve(t, l, s)
			reading := dialTCP(t, l)
			send(t, reading, []byte("one\nhalf"))
			s.await(t, "a record", func() bool { return s.n == 1 })
			s.update(func() { s.blocked = true })
			waiting := dialTCP(t, l)
			send(t, waiting, []byte("two\n"))
			s.await(t, "a record that waits", func() bool { return s.waiting == 1 })
			send(t, waiting, []byte(strings.Repeat("x", queued)))
			l.Close()
			wait()
			want := segment.Loss{Records: 3, Bytes: 4 + 3 + queued, AtLeast: true}
			if name == "asks" {
				want = segment.Loss{Records: 1, Bytes: 3, AtMost: true} // the one that the sink was asked to take
			}
			if got := l.Stats().Lost[segment.GivenUp]; got != want || s.acct.Lost[segment.Reset].Records > 0 {
				t.Errorf("lost %+v, want %+v; as reset %+v", got, want, s.acct.Lost[segment.Reset])
			}
			s.balance(t, l.Stats())
		})
	}
}

// If a sender asks for no acknowledgement, and its connection is not admitted or was never served, the data that it has sent is
// lost.
func TestUnaskedNotAdmitted(t *testing.T) {
	for name, framing := range map[string]Framing{"all ask": func(*Stream) Framer { return &acked{} }, "some do not": unaskedFraming} {
		t.Run(name, func(t *testing.T) {
			want := uint64(0)
			if name == "some do not" {
				want = 8
			}
			l := listenTCP(t, &TCPOptions{Framing: framing, MaxConns: 1})
			dialTCP(t, l)
			c := dialTCP(t, l)
			send(t, c, []byte("refused\n"))
			s := durableSink{newSink()}
			wait := serve(t, l, s)
			io.Copy(io.Discard, c)
			shutdown(t, l)
			wait()
			if n := l.Stats().Lost[segment.Refused]; n.Bytes != want {
				t.Errorf("refused %+v, want %d bytes", n, want)
			}
			s.balance(t, l.Stats())

			l = listenTCP(t, &TCPOptions{Framing: framing})
			send(t, dialTCP(t, l), []byte("unserved"))
			l.Close()
			if n := l.Stats().Lost[segment.GivenUp]; n.Bytes != want {
				t.Errorf("never served: %+v, want %d bytes", n, want)
			}
		})
	}
}

// undurable is a memSink whose disk fails.
type undurable struct {
	*memSink
	failed chan struct{}
}

func (u undurable) WaitDurable(context.Context, uint64) error {
	<-u.failed
	return errors.New("the disk fails")
}

// unaskedPacks is ackedPacks with senders that ask for nothing.
type unaskedPacks struct{ ackedPacks }

func (*unaskedPacks) Asked() bool { return false }

// A connection that cannot continue, with a piece that is not completely unpacked and more data in the kernel, counts each
// part once.
func TestUnaskedBrokenCountsOnce(t *testing.T) {
	const queued = 60_000
	l := listenTCP(t, &TCPOptions{Framing: func(*Stream) Framer { return &unaskedPacks{} }, Window: 7})
	s := undurable{newSink(), make(chan struct{})}
	wait := serve(t, l, s)
	c := dialTCP(t, l)
	send(t, c, []byte(pack(strings.Repeat("x", 100))))
	s.await(t, "a window of records", func() bool { return s.n == 7 })
	send(t, c, []byte(strings.Repeat("\x7f", queued)))
	close(s.failed)
	awaitConns(t, l, 0)
	l.Close()
	wait()
	// Seven that were unpacked and not appended, and the rest of the stream.
	if got, want := l.Stats().Lost[segment.GivenUp], (segment.Loss{Records: 8, Bytes: 7 + queued, AtLeast: true}); got != want {
		t.Errorf("lost %+v, want %+v", got, want)
	}
	s.balance(t, l.Stats())
}
