package ingest

import (
	"io"
	"runtime"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// halfCloser is what *net.TCPConn can do with either direction of its stream.
type halfCloser interface {
	CloseRead() error
	CloseWrite() error
	SetLinger(seconds int) error
}

// shut tells the peer that this side is closing, and lets it go on until the given time.
func (c *conn) shut(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	if c.t.acks {
		c.interrupt()
		return
	}
	c.nc.SetReadDeadline(until)
	c.halfClose()
}

func (c *conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// pastDeadline is called when a deadline has passed: of a frame, of an idle connection, or the end of Grace. It cuts the
// peer off, so that what had arrived by then is still read; false if reading is to end at once.
func (c *conn) pastDeadline() bool {
	closing := c.isClosing()
	if c.ack != nil || c.cutOff || c.framer == nil && !closing {
		return false
	}
	if !closing {
		c.timedOut()
	}
	c.cutOffPeer()
	if h, ok := c.nc.(halfCloser); ok && closing && runtime.GOOS == "linux" {
		// The close is to be a reset: without it a peer whose window is closed would learn of it from its next probe only,
		// minutes later.
		h.SetLinger(0)
	}
	return true
}

func (c *conn) timedOut() {
	c.t.log.warn("connection timed out", "src", c.src.String(), "in_frame", c.end > c.start)
}

// cutOffPeer ends the connection so that reading goes on exactly until what the kernel has acknowledged to the peer.
func (c *conn) cutOffPeer() {
	c.cutOff = true
	h, ok := c.nc.(halfCloser)
	if !ok || runtime.GOOS != "linux" {
		// Other systems throw away what they have queued when the reading side is closed: read for a moment longer.
		c.nc.SetReadDeadline(time.Now().Add(settleTime))
		return
	}
	// Linux keeps what it has. It refuses what still arrives, with a reset, only if the writing side is closed too: else
	// it goes on acknowledging bytes that nobody will read.
	h.CloseWrite()
	h.CloseRead()
	c.nc.SetReadDeadline(time.Time{})
}

// abort is for a listener that gives up. What the kernel has acknowledged to the peer is still read, cut, and counted:
// the sink is not waited for any more. A peer that waits for answers sends again what it has not heard of.
func (c *conn) abort() {
	if c.t.acks {
		c.nc.Close()
		return
	}
	c.shut(past)
}

// turnAway closes a connection that is over a limit, and counts what its peer has sent already. Of TLS that is not known,
// and a peer that waits for answers sends it again.
func (c *conn) turnAway() (bytes int64) {
	defer c.nc.Close()
	if c.t.acks || c.t.o.TLS != nil {
		return 0
	}
	c.cutOffPeer()
	if bytes = queuedIn(c.nc); bytes > 0 {
		c.cutShort(segment.Refused, 0, uint64(bytes))
		c.account(time.Now(), segment.Tally{})
	}
	return bytes
}

// forgo counts as lost what of the stream was read and not cut, together with what the peer has sent besides: those bytes
// were acknowledged to it. How many frames they hold is unknown. c.start is not moved.
func (c *conn) forgo(cause segment.Cause) {
	c.cutShort(cause, uint64(c.end-c.start), c.unread(c.rd))
}

// cutShort counts a frame of which bytes were read, and that of the stream behind it which nobody cuts.
func (c *conn) cutShort(cause segment.Cause, read, behind uint64) {
	cause = c.lose(cause, read+behind)
	c.lost.Lost[cause].AtLeast = c.lost.Lost[cause].AtLeast || behind > 0
}

// unread cuts the peer off, and reads into the void what it had sent until then. A peer that waits for answers sends it
// again.
func (c *conn) unread(from io.Reader) (bytes uint64) {
	if c.t.acks {
		return 0
	}
	if !c.cutOff {
		c.cutOffPeer()
	}
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		bytes += uint64(n)
		if err != nil {
			return bytes
		}
	}
}
