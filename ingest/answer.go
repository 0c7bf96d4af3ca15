package ingest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// Acknowledger is what a Framer is besides if the receiver of its protocol answers, as RELP's does (package ingest/relp).
// Nothing is answered before it is true: the listener sends the answers to what it has appended when the sink has made
// it durable. Meanwhile it reads on, until TCPOptions.Window records are not answered, so that one fdatasync serves all
// that came during the one before.
//
// What is not answered is the sender's own to send again. When this side ends a connection, it therefore reads nothing
// more, and a frame that is not whole by then is neither received nor lost.
type Acknowledger interface {
	Framer
	// Answers returns what the peer is to be told about everything that Next has consumed since the last call, as if it
	// was durable; it is sent when it is. The bytes are good until the next call of Next.
	Answers() []byte
	// Bye returns the last words on a connection that this side ends.
	Bye() []byte
}

// acknowledges reports whether the Framers of a framing are Acknowledgers.
func acknowledges(f Framing, max int) bool {
	_, ok := f(&Stream{Max: max}).(Acknowledger)
	return ok
}

// durable is what a Sink has besides if it serves Acknowledgers.
type durable interface {
	WaitDurable(ctx context.Context, seq uint64) error
}

var errNotDurable = errors.New("ingest: the framing acknowledges records, and the sink has no WaitDurable")

// answers is the part of a conn whose framer is an Acknowledger. The connection's goroutine cuts, appends, and leaves the
// answers here; a second one waits until they are true, and sends them.
type answers struct {
	Acknowledger
	c     *conn
	begun time.Time

	// Of the connection's goroutine:
	met   bool   // something was answered: the peer speaks the protocol
	taken uint64 // sequence number of the last record that the sink has taken
	lost  error  // why a batch was not taken: nothing is answered from there on

	mu      sync.Mutex
	cond    sync.Cond
	out     []byte // answers to be sent
	spare   []byte // room for the next ones: what was sent last
	last    uint64 // what has to be durable before
	waiting int    // records that are appended and not answered
	broken  error  // why nothing can be answered any more: a record is not durable, or the peer is gone
	ended   bool
	done    chan struct{}
}

func newAnswers(c *conn, a Acknowledger) *answers {
	as := &answers{Acknowledger: a, c: c, begun: time.Now(), done: make(chan struct{})}
	as.cond.L = &as.mu
	go as.run()
	return as
}

// append is the sink's Append, and remembers what became of the batch.
func (c *conn) append(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	last, err = c.t.append(ctx, batch)
	if c.ack != nil {
		switch {
		case last > 0:
			c.ack.taken = last
		case rejected(err): // and counted as lost. To wait instead is what another policy of the spool says.
			c.ack.lost = err
		}
	}
	return last, err
}

// awaitWindow waits until n more records may be appended. Answers to what was refused count too, by their bytes: a peer that
// takes none of them must not fill the memory.
func (a *answers) awaitWindow(n int) error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for (a.waiting+n > a.c.t.o.Window || len(a.out) > smallBuffer) && a.broken == nil {
		a.cond.Wait()
	}
	return a.broken
}

// answer leaves the answers to all that was cut, n records of it, to be sent. An error says that the connection has to
// end.
func (c *conn) answer(n int) error {
	a := c.ack
	if a == nil || a.lost != nil {
		return a.err()
	}
	b := a.Answers()
	a.met = a.met || len(b) > 0
	a.mu.Lock()
	defer a.mu.Unlock()
	a.out = append(a.out, b...)
	a.last = a.taken
	a.waiting += n
	a.cond.Broadcast()
	return a.broken
}

// err is why nothing is answered any more.
func (a *answers) err() error {
	if a == nil {
		return nil
	}
	if a.lost != nil {
		return a.lost
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.broken
}

// run sends answers until end is called, or it cannot.
func (a *answers) run() {
	defer close(a.done)
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		for len(a.out) == 0 && !a.ended {
			a.cond.Wait()
		}
		if len(a.out) == 0 {
			return
		}
		b, last, n := a.out, a.last, a.waiting
		a.out = a.spare[:0]
		a.mu.Unlock()
		err := a.send(b, last)
		a.mu.Lock()
		a.spare, a.broken = b, err
		a.waiting -= n
		a.cond.Broadcast()
		if err != nil {
			a.c.nc.Close() // its goroutine may be reading
			return
		}
	}
}

// send answers once everything up to last is durable.
func (a *answers) send(b []byte, last uint64) error {
	if last > 0 {
		if err := a.c.t.durable.WaitDurable(a.c.t.life.ctx, last); err != nil {
			return fmt.Errorf("ingest: records are not durable and are not acknowledged: %w", err)
		}
	}
	return a.c.write(b)
}

// write is bounded in time: by FrameTimeout, or by Grace when the connection ends.
func (c *conn) write(b []byte) error {
	c.mu.Lock()
	if c.closing {
		c.nc.SetWriteDeadline(c.grace())
	} else if d := c.t.o.FrameTimeout; d > 0 {
		c.nc.SetWriteDeadline(time.Now().Add(d))
	}
	c.mu.Unlock()
	_, err := c.rd.Write(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.nc.SetWriteDeadline(time.Time{}) // TLS may have to write when it reads
	}
	return err
}

// grace is how long a peer may take to hear the last.
func (c *conn) grace() time.Time { return time.Now().Add(max(settleTime, c.t.o.Grace)) }

// finish sends what is to be answered, however long the disk takes for that, and says goodbye. What the peer has sent
// meanwhile is thrown away, unanswered, until it closes too or Grace is over: were it left unread, the close would be a
// reset, and could take the last answers with it.
func (a *answers) finish() {
	a.mu.Lock()
	a.ended = true
	a.cond.Broadcast()
	a.mu.Unlock()
	<-a.done
	if a.broken != nil {
		return
	}
	c := a.c
	c.mu.Lock()
	c.closing = true
	c.nc.SetReadDeadline(c.grace())
	c.mu.Unlock()
	if c.write(a.Bye()) != nil {
		return
	}
	if s, ok := c.rd.(*tls.Conn); ok {
		s.CloseWrite()
	}
	if h, ok := c.nc.(halfCloser); ok && h.CloseWrite() == nil {
		io.Copy(io.Discard, c.nc)
	}
}

// interrupt is shut for a connection that is answered: it still has to say what is durable, so it ends by itself, and
// reads nothing before that. c.mu is held.
func (c *conn) interrupt() {
	c.nc.SetReadDeadline(time.Unix(1, 0))
	c.nc.SetWriteDeadline(c.grace())
}
