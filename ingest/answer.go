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

// Acknowledger is implemented by Framers whose protocol sends acknowledgements, as RELP does (package ingest/relp). The
// listener sends an acknowledgement only when the sink has made the records durable. It reads on meanwhile, until
// TCPOptions.Window records are unacknowledged, so that one fdatasync serves all records that arrived during the one
// before.
//
// The sender must send again what was not acknowledged. So when this side ends a connection, it reads nothing more, and
// a frame that is incomplete then is neither received nor lost.
type Acknowledger interface {
	Framer
	// Answers returns the acknowledgements for everything that Next and Unpack have returned since the last call, as if it
	// were durable; the listener sends them when it is. The bytes are valid until the next call of Next. The sink has taken all
	// of these frames, so the memory that they point to may be reused.
	Answers() []byte
	// Bye returns the last message on a connection that this side ends.
	Bye() []byte
}

// KeepAliver is implemented by Acknowledgers whose protocol has a message that makes a peer go on waiting for its
// acknowledgements.
type KeepAliver interface {
	Acknowledger
	// KeepAlive returns the message, and how often the listener sends it while records of the peer are neither acknowledged
	// nor lost, for example because the spool is full. It is called once, when the connection begins.
	KeepAlive() (every time.Duration, message []byte)
}

// OptionalAcknowledger is implemented by Acknowledgers whose protocol lets the peer choose whether it wants acknowledgements.
type OptionalAcknowledger interface {
	Acknowledger
	// Asked reports whether the peer has asked for an acknowledgement. A peer that has not asked sends nothing again, so
	// whatever the listener cannot take of its stream is lost, and counted. Asked may be called after another method has
	// panicked.
	Asked() bool
}

// acknowledges reports whether the Framers of a framing are Acknowledgers, and whether all of their peers send again what is not
// acknowledged.
func acknowledges(f Framing, max int) (acks, repeats bool) {
	a, acks := f(&Stream{MaxRecord: max}).(Acknowledger)
	_, optional := a.(OptionalAcknowledger)
	return acks, acks && !optional
}

// answers is the part of a conn whose Framer is an Acknowledger. The goroutine of the connection cuts frames, appends
// them, and leaves the acknowledgements here. A second goroutine waits until the records are durable, and sends the
// acknowledgements.
type answers struct {
	Acknowledger
	c     *conn
	begun time.Time

	// Of the connection's goroutine:
	met   bool   // a record came, or a question that was answered: the peer speaks the protocol
	taken uint64 // sequence number of the last record that the sink has taken
	lost  error  // why a batch was not taken: nothing is acknowledged after that
	again bool   // after a panic: the peer sends again what was not acknowledged

	mu      sync.Mutex
	cond    sync.Cond
	out     []byte // acknowledgements to send
	spare   []byte // the buffer that was sent last, for the next ones
	last    uint64 // sequence number that must be durable first
	waiting int    // records that are appended, and neither acknowledged nor known to be durable
	starved bool   // the connection waits for the window, although nothing may be there to acknowledge
	inHand  int    // records that are being appended
	broken  error  // why nothing can be acknowledged any more: a record is not durable, or the peer is gone
	ended   bool
	done    chan struct{}

	writing sync.Mutex     // one message at a time, since each has a deadline
	alive   sync.WaitGroup // keepAlive
}

func newAnswers(c *conn, a Acknowledger) *answers {
	as := &answers{Acknowledger: a, c: c, begun: time.Now(), done: make(chan struct{})}
	as.cond.L = &as.mu
	var every time.Duration
	var message []byte
	if k, ok := a.(KeepAliver); ok {
		every, message = k.KeepAlive() // before anything runs: it may panic
	}
	go as.run()
	if every > 0 {
		as.alive.Go(func() { as.keepAlive(every, message) })
	}
	return as
}

// keepAlive sends a message again and again while the peer has to wait.
func (a *answers) keepAlive(every time.Duration, message []byte) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-a.done:
			return
		case <-tick.C:
		}
		a.mu.Lock()
		waits := a.inHand > 0 || a.waiting > 0
		a.mu.Unlock()
		if waits && a.c.write(message) != nil {
			return // the next acknowledgement will fail too
		}
	}
}

// append calls the sink's Append, and remembers the result.
func (c *conn) append(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	last, err = c.send(ctx, batch)
	if c.ack != nil {
		switch {
		case last > 0:
			c.ack.taken = last
		case rejected(err) && c.repeats(): // the spool has counted it as lost; with its other policy it would have waited
			c.ack.lost = err
		}
	}
	return last, err
}

// awaitWindow waits until n more records may be appended. Answers that refuse frames count too, by their bytes: a peer
// that reads none of them must not fill the memory.
func (a *answers) awaitWindow(n int) error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inHand = n
	for (a.waiting+n > a.c.t.o.Window || len(a.out) > smallBuffer) && a.broken == nil {
		a.starved = true
		a.cond.Broadcast()
		a.cond.Wait()
	}
	return a.broken
}

// answer queues the acknowledgements of everything that was cut, which is n records. An error says that the connection
// must end.
func (c *conn) answer(n int) error {
	a := c.ack
	if a == nil || a.lost != nil {
		return a.err()
	}
	b, err := c.takeAnswers()
	if err != nil {
		return err
	}
	a.met = a.met || len(b) > 0 || n > 0
	a.mu.Lock()
	defer a.mu.Unlock()
	a.out = append(a.out, b...)
	a.last = a.taken
	a.inHand = 0
	a.waiting += n
	a.cond.Broadcast()
	return a.broken
}

// err says why nothing is acknowledged any more; nil if acknowledging works.
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

// run sends acknowledgements until finish is called or sending fails.
func (a *answers) run() {
	defer close(a.done)
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		// A protocol may acknowledge many records at once, or some not at all. run waits for their durability when the
		// window is full.
		for len(a.out) == 0 && !(a.starved && a.waiting > 0) && !a.ended {
			a.cond.Wait()
		}
		if len(a.out) == 0 && a.ended {
			return
		}
		a.starved = false
		b, last, n := a.out, a.last, a.waiting
		a.out = a.spare[:0]
		a.mu.Unlock()
		err := a.send(b, last)
		a.mu.Lock()
		a.spare, a.broken = b, err
		a.waiting -= n
		a.cond.Broadcast()
		if err != nil {
			a.c.hangUp() // its goroutine may be reading
			return
		}
	}
}

// send sends acknowledgements once everything up to last is durable.
func (a *answers) send(b []byte, last uint64) error {
	if last > 0 {
		if err := a.c.durable.WaitDurable(a.c.t.life.ctx, last); err != nil {
			return fmt.Errorf("ingest: records are not durable and are not acknowledged: %w", err)
		}
	}
	if len(b) == 0 {
		return nil
	}
	return a.c.write(b)
}

// write takes at most FrameTimeout, or Grace when the connection ends.
func (c *conn) write(b []byte) error {
	c.ack.writing.Lock()
	defer c.ack.writing.Unlock()
	c.mu.Lock()
	switch d := c.t.o.FrameTimeout; {
	case c.hungUp: // the deadline is over
	case c.closing:
		c.nc.SetWriteDeadline(c.grace())
	case d > 0:
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

// grace returns when a connection that ends is closed at the latest.
func (c *conn) grace() time.Time { return time.Now().Add(max(settleTime, c.t.o.Grace)) }

// finish sends the remaining acknowledgements, however long the disk takes, and says goodbye. It counts the bytes of the peer
// that were not cut into frames, unless the peer sends them again.
func (a *answers) finish() {
	a.mu.Lock()
	a.ended = true
	a.cond.Broadcast()
	a.mu.Unlock()
	<-a.done
	a.alive.Wait()
	discarded := int64(0)
	if a.broken == nil && !errors.Is(a.lost, errPanicked) {
		discarded = a.sayBye()
	}
	a.c.giveUpStream(uint64(discarded))
}

// sayBye says goodbye. It then reads and discards what the peer still sends, until the peer closes too or Grace is over: unread bytes
// would turn the close into a reset, which could destroy the last acknowledgements.
func (a *answers) sayBye() (discarded int64) {
	c := a.c
	bye, err := c.takeBye()
	if err != nil {
		return 0
	}
	c.mu.Lock()
	c.closing = true
	if !c.hungUp {
		c.nc.SetReadDeadline(c.grace())
	}
	c.mu.Unlock()
	if c.write(bye) != nil {
		return 0
	}
	if s, ok := c.rd.(*tls.Conn); ok {
		s.CloseWrite()
	}
	if h, ok := c.nc.(halfCloser); ok && h.CloseWrite() == nil {
		discarded, _ = io.Copy(io.Discard, c.nc)
	}
	return discarded
}

// repeats reports whether the peer sends again what is not acknowledged.
func (c *conn) repeats() bool {
	switch {
	case c.ack == nil:
		return c.t.repeats
	case errors.Is(c.ack.lost, errPanicked):
		return c.ack.again
	}
	asked, err := c.takeAsked()
	return err != nil || asked
}

// interrupt does the work of shut for a connection whose records are acknowledged. It interrupts reading; the connection
// then ends by itself, after it has acknowledged what is durable. c.mu is held.
func (c *conn) interrupt() {
	c.nc.SetReadDeadline(past)
	c.nc.SetWriteDeadline(c.grace())
}
