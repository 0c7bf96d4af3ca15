package ingest

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// errFramer: a Framer broke its contract.
var errFramer = errors.New("ingest: framer returned an impossible result")

// cut hands all complete frames that were read to the sink, and acknowledges them. With eof it leaves no bytes. An error
// means that the connection must be closed: because the rest of the stream cannot be understood, and is lost; because
// nothing can be acknowledged any more; or, with io.EOF, because the stream has ended.
func (c *conn) cut(now time.Time, eof bool) error {
	c.batch = batches.Get().(*[]segment.Record)
	begun := !c.frameStart.IsZero()
	err := c.frames(now, eof)
	switch left := c.end - c.start; {
	case err != nil && err != io.EOF && (c.ack.err() == nil || !c.repeats()):
		c.forgo(c.causeOf(err), 0)
	case eof && left > 0:
		c.lose(segment.Malformed, uint64(left))
		c.start = c.end
	}
	if bad := c.flush(now); bad != nil {
		err = bad
		c.giveUpStream(0) // what has not been counted yet
	}
	batches.Put(c.batch)
	c.batch = nil
	switch {
	case c.start == c.end:
		c.frameStart = time.Time{}
	case c.start > 0 || !begun: // buffers are filled from 0: something was consumed
		c.frameStart = time.Now() // the time that the sink took does not count against the peer
	}
	return err
}

// batches are shared by all connections: one is needed only while frames are cut.
var batches = sync.Pool{New: func() any { b := make([]segment.Record, 0, maxBatch); return &b }}

// frames cuts frames until the framer needs more bytes.
func (c *conn) frames(now time.Time, eof bool) (err error) {
	defer c.guard.caught(c, &err)
	for {
		n, frame, err := c.next(eof)
		if n < 0 || n > c.end-c.start || n == 0 && frame != nil && !c.packed.open {
			return errFramer
		}
		lost := lostFrame(err)
		switch {
		case err == nil, err == ErrFlush:
		case err == io.EOF:
			c.start += n
			return err
		// A lost frame must have had bytes, except at the end: otherwise a Framer could lose frames endlessly.
		case lost == nil, n == 0 && !eof && !c.packed.open:
			return err
		}
		c.start += n
		switch {
		case lost != nil && lost.Rest:
			c.loseMore(lost.Cause, lost.Bytes)
		case lost != nil:
			c.lose(lost.Cause, lost.Bytes)
		case err == ErrFlush:
		case frame == nil && c.packed.open:
			c.packed.open = false
			continue
		case frame == nil && n == 0:
			return nil
		case frame == nil:
			c.packed.open = c.packed.framer != nil
			continue
		case c.reset: // it may be incomplete
			c.lose(segment.Reset, uint64(len(frame)))
		default:
			*c.batch = append(*c.batch, segment.Record{Time: segment.Nanos(now), Src: c.src, Data: frame, Attrs: c.attrs})
		}
		if len(*c.batch) >= c.t.batch || c.lost.Received.Records >= maxBatch || err == ErrFlush {
			if err := c.flush(now); err != nil {
				return err
			}
		}
		if lost != nil && n == 0 && !c.packed.open {
			return nil
		}
	}
}

// lostFrame returns err as a LostFrame, or nil. It is a separate function because errors.As moves its target to the heap.
func lostFrame(err error) *LostFrame {
	if err == nil {
		return nil
	}
	var lost *LostFrame
	errors.As(err, &lost)
	return lost
}

// packed is a piece of the stream that Next has consumed, and whose frames Unpack returns.
type packed struct {
	framer  Unpacker // nil if the Framer is none
	open    bool     // Unpack may return more of them
	flushed bool     // the last result was ErrFlush
}

// next calls the Framer.
func (c *conn) next(eof bool) (n int, frame []byte, err error) {
	c.guard.inside = true
	if c.packed.open {
		frame, err = c.packed.framer.Unpack()
	} else {
		n, frame, err = c.framer.Next(c.buf[c.start:c.end:c.end], eof)
	}
	c.guard.inside = false
	again := err == ErrFlush
	if again && (c.packed.flushed || n != 0 || frame != nil || c.packed.framer == nil) {
		return 0, nil, errFramer
	}
	c.packed.flushed = again
	return n, frame, err
}

// lose counts a frame that is not kept; the next flush accounts for it. If the connection was reset, that is the cause of
// an incomplete frame. lose returns the cause that was counted.
func (c *conn) lose(cause segment.Cause, bytes uint64) segment.Cause {
	if c.reset && cause == segment.Malformed {
		cause = segment.Reset
	}
	addTally(&c.lost.Received, segment.Tally{Records: 1, Bytes: bytes})
	c.lost.Lost[cause].Records++
	c.lost.Lost[cause].Bytes += bytes
	return cause
}

// loseMore counts more bytes of a frame that was lost before.
func (c *conn) loseMore(cause segment.Cause, bytes uint64) {
	c.lost.Received.Bytes += bytes
	c.lost.Lost[cause].Bytes += bytes
}

// flush accounts for the frames that were cut and waits until the sink has taken them. They are slices of the
// connection's buffer, so nothing may be read before that. An error means that the frames cannot be acknowledged.
func (c *conn) flush(now time.Time) error {
	n := len(*c.batch)
	if err := c.ack.awaitWindow(n); err != nil {
		c.forsake()
		*c.batch = (*c.batch)[:0]
		c.account(now, segment.Tally{})
		return err
	}
	hand := tally(*c.batch)
	c.account(now, hand)
	if n == 0 {
		return c.answer(0)
	}
	ctx := c.t.life.ctx
	if c.repeats() {
		ctx = c.t.again
	}
	rest := deliver(ctx, c.put, *c.batch, c.t.log)
	if len(rest) > 0 && !c.late && !c.repeats() { // a sender that gets no acknowledgement sends it again
		rest = keep(c.t.sink, rest)
	}
	left := tally(rest)
	c.t.meter.handed(hand)
	if left.Records > 0 {
		c.giveUp(left)
	}
	*c.batch = (*c.batch)[:0]
	return c.answer(n)
}

// forsake is called when the connection cannot continue and has records that the sink was not offered. If the peer sends
// them again, they are neither received nor lost. Otherwise they are lost, and so is the rest of the stream.
func (c *conn) forsake() {
	if c.repeats() {
		return
	}
	for i := range *c.batch {
		c.lose(segment.GivenUp, uint64(len((*c.batch)[i].Data)))
	}
	c.forgo(segment.GivenUp, 0)
}

// giveUp counts the records that the sink had not taken when the listener was closed. A peer that waits for
// acknowledgements sends them again, so for such a peer the count is an upper bound.
func (c *conn) giveUp(left segment.Tally) {
	if c.ack != nil {
		c.ack.lost = errGivenUp
	}
	a := givenUp(left)
	a.Lost[segment.GivenUp].AtMost = c.repeats()
	c.t.meter.lose(&a)
	c.t.sink.Account(a)
}

// inHand returns the records that are about to be appended.
func (c *conn) inHand(hand segment.Tally) []segment.Record {
	if hand.Records == 0 || c.batch == nil {
		return nil
	}
	return *c.batch
}

// account reports the lost frames and those that are about to be appended, in one call.
func (c *conn) account(now time.Time, hand segment.Tally) {
	a := c.lost
	c.lost = segment.Account{}
	addTally(&a.Received, hand)
	if a.Received == (segment.Tally{}) {
		return
	}
	c.t.meter.arrived(now, &a, hand)
	if hand.Records > 0 {
		c.t.meter.heardFrom(c.src.Addr(), now, hand)
	}
	c.t.sink.Account(a)
	c.t.hooks.tell(c.inHand(hand), &a)
	if lost := a.Received.Records - hand.Records; lost > 0 {
		c.t.log.warn("ingest: frames lost; lost_to names the cause, and the ledger counts them: see that the sender keeps to the framing and its length", "src", c.src.String(), "records", lost, "lost_to", a.Lost.Text())
	}
}
