package ingest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// Acknowledger is what a Framer is besides if the receiver of its protocol answers, as RELP's does (package ingest/relp).
// Nothing is answered before it is true: the listener reads, cuts, appends, waits until the sink has made all of it
// durable, and only then sends the answers and reads on. So the bytes of one read share one fdatasync, and a peer that
// waits for no answer is slowed down like any other.
//
// What is not answered is the sender's own to send again. When this side ends a connection, it therefore reads nothing
// more, and a frame that is not whole by then is neither received nor lost.
type Acknowledger interface {
	Framer
	// Answers returns what the peer is to be told about everything that Next has consumed since the last call: every
	// record among it is durable. The bytes are good until the next call of Next.
	Answers() []byte
	// Bye returns the last words on a connection that this side ends.
	Bye() []byte
}

// acknowledges reports whether a framing makes Acknowledgers. It must always make the same.
func acknowledges(f Framing) bool {
	_, ok := f(1).(Acknowledger)
	return ok
}

// durable is what a Sink has besides if it serves Acknowledgers.
type durable interface {
	WaitDurable(ctx context.Context, seq uint64) error
}

var (
	errNotDurable = errors.New("ingest: the framing acknowledges records, and the sink has no WaitDurable")
	errGivenUp    = errors.New("ingest: records were given up and are not acknowledged")
)

// answers is the part of a conn whose framer is an Acknowledger.
type answers struct {
	Acknowledger
	begun time.Time
	met   bool   // something was answered: the peer speaks the protocol
	last  uint64 // sequence number of the last record that the sink has taken
	// broken is why nothing can be answered any more: a record is not durable, or the peer is gone. Whoever is to send
	// again must not be told anything, so it stays.
	broken error
}

// append is the sink's Append, and remembers what became of the batch.
func (c *conn) append(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	last, err = c.t.append(ctx, batch)
	if c.ack != nil {
		switch {
		case last > 0:
			c.ack.last = last
		case rejected(err): // and counted. To wait instead is what the policy of the spool says.
			c.ack.broken = err
		}
	}
	return last, err
}

// answer sends the answers to all that was cut, once it is durable.
func (c *conn) answer() error {
	a := c.ack
	if a == nil || a.broken != nil {
		return a.err()
	}
	if a.last > 0 {
		if err := c.t.durable.WaitDurable(c.t.life.ctx, a.last); err != nil {
			a.broken = fmt.Errorf("ingest: records are not durable and are not acknowledged: %w", err)
			return a.broken
		}
		a.last = 0
	}
	if b := a.Answers(); len(b) > 0 {
		a.met = true
		a.broken = c.write(b)
	}
	return a.broken
}

func (a *answers) err() error {
	if a == nil {
		return nil
	}
	return a.broken
}

// write is bounded in time: by FrameTimeout, or by the end of Grace.
func (c *conn) write(b []byte) error {
	c.mu.Lock()
	if c.closing {
		c.nc.SetWriteDeadline(c.deadline)
	} else if d := c.t.o.FrameTimeout; d > 0 {
		c.nc.SetWriteDeadline(time.Now().Add(d))
	}
	c.mu.Unlock()
	_, err := c.rd.Write(b)
	return err
}

// bye ends a connection from this side. What the peer has sent meanwhile is thrown away, unanswered, until it closes too
// or Grace is over: were it left unread, the close would be a reset, and could take the last answers with it.
func (c *conn) bye() {
	if c.ack == nil || c.ack.broken != nil {
		return
	}
	c.mu.Lock()
	if !c.closing {
		c.deadline = time.Now().Add(max(0, c.t.o.Grace))
		c.closing = true
	}
	c.nc.SetReadDeadline(c.deadline)
	c.mu.Unlock()
	if c.write(c.ack.Bye()) != nil {
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
func (c *conn) interrupt(until time.Time) {
	c.deadline = until
	c.nc.SetReadDeadline(time.Unix(1, 0))
	c.nc.SetWriteDeadline(until)
}
