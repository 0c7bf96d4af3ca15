package ingest

import (
	"errors"
	"fmt"

	"github.com/penstock-go/penstock/spool/segment"
)

// guard distinguishes panics of the embedder's code, which end one connection, from all others. A panic of the sink, for
// example, must end the process: a lock may be held, and its state is unknown.
type guard struct{ inside bool }

// caught is deferred where the embedder's code is called. It turns a panic of that code into an error.
func (g *guard) caught(c *conn, err *error) {
	if !g.inside {
		return
	}
	g.inside = false
	if r := recover(); r != nil {
		*err = c.panicked(r)
	}
}

// panicked counts and logs a panic. Nothing that the connection has not acknowledged yet is acknowledged after it.
func (c *conn) panicked(r any) error {
	c.t.meter.panicked()
	c.t.log.panicked("ingest: a Framer or a TLS callback panicked; its connection is closed", r, "src", c.src.String())
	err := fmt.Errorf("%w: %v", errPanicked, r)
	if c.ack == nil || errors.Is(c.ack.lost, errPanicked) {
		return err
	}
	c.ack.lost, c.ack.again = err, true // until Asked has answered, which may panic too
	asked, bad := c.takeAsked()
	c.ack.again = bad != nil || asked
	if c.batch != nil && c.ack.again { // neither received nor lost: the peer sends it again
		*c.batch = (*c.batch)[:0]
	}
	return err
}

// causeOf returns the cause of loss of a stream that an error has ended.
func (c *conn) causeOf(err error) segment.Cause {
	switch {
	case errors.Is(err, errPanicked):
		return segment.Panicked
	case c.ack.err() != nil: // an earlier part of it was not taken
		return segment.GivenUp
	}
	return segment.Malformed
}

// makeFramer calls the framing.
func (c *conn) makeFramer() (err error) {
	defer c.guard.caught(c, &err)
	s := c.stream()
	c.guard.inside = true
	c.framer = c.t.o.Framing(s)
	c.guard.inside = false
	return nil
}

// startAnswers makes the answers of an Acknowledger.
func (c *conn) startAnswers(a Acknowledger) (err error) {
	defer c.guard.caught(c, &err)
	c.guard.inside = true
	as := newAnswers(c, a)
	c.guard.inside = false
	c.ack = as
	return nil
}

// takeAnswers calls Answers.
func (c *conn) takeAnswers() (b []byte, err error) {
	defer c.guard.caught(c, &err)
	c.guard.inside = true
	b = c.ack.Answers()
	c.guard.inside = false
	return b, nil
}

// takeAsked calls Asked of an OptionalAcknowledger. The peers of every other Acknowledger always ask.
func (c *conn) takeAsked() (asked bool, err error) {
	o, ok := c.ack.Acknowledger.(OptionalAcknowledger)
	if !ok {
		return true, nil
	}
	defer c.guard.caught(c, &err)
	c.guard.inside = true
	asked = o.Asked()
	c.guard.inside = false
	return asked, nil
}

// takeBye calls Bye.
func (c *conn) takeBye() (b []byte, err error) {
	defer c.guard.caught(c, &err)
	c.guard.inside = true
	b = c.ack.Bye()
	c.guard.inside = false
	return b, nil
}
