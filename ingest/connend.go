package ingest

import (
	"io"
	"runtime"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// halfCloser is the part of *net.TCPConn that closes one direction of the stream.
type halfCloser interface {
	CloseRead() error
	CloseWrite() error
	SetLinger(seconds int) error
}

// shut tells the peer that this side is closing, and lets it send until the given time.
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

// pastDeadline is called when a deadline has passed: that of a frame, of an idle connection, or the end of Grace. It
// cuts the peer off, so that everything that had arrived by then is still read. It returns false if reading must end at
// once.
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
	c.t.log.warn("ingest: connection timed out, because nothing arrived for IdleTimeout; what was complete is kept, and the sender can connect again", "src", c.src.String(), "in_frame", c.end > c.start)
}

// cutOffPeer ends the connection in such a way that reading continues exactly to the last byte that the kernel has
// acknowledged to the peer.
func (c *conn) cutOffPeer() {
	c.cutOff = true
	h, ok := c.nc.(halfCloser)
	if !ok || runtime.GOOS != "linux" {
		// Other systems throw away what they have queued when the reading side is closed: read for a moment longer.
		c.nc.SetReadDeadline(time.Now().Add(settleTime))
		return
	}
	// Linux keeps what it has queued. It refuses further bytes with a reset only if the writing side is closed too;
	// otherwise it would go on acknowledging bytes that nobody will read.
	h.CloseWrite()
	h.CloseRead()
	c.nc.SetReadDeadline(time.Time{})
}

// abort ends the connection of a listener that is closed. Data that the kernel has acknowledged to the peer is still read,
// cut and counted, but not waited for by the sink. A peer that waits for acknowledgements sends it again.
func (c *conn) abort() {
	if c.t.acks {
		c.nc.Close()
		return
	}
	c.shut(past)
}

// turnAway closes a connection that is over a limit, and counts what its peer has sent already. With TLS that is
// unknown, and a peer that waits for acknowledgements sends it again.
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

// turnDown counts what the peer of a connection without a Framer had sent.
func (c *conn) turnDown() {
	if bytes := c.unread(c.rd); bytes > 0 {
		c.cutShort(segment.Panicked, 0, bytes)
		c.account(time.Now(), segment.Tally{})
	}
}

// forgo counts as lost the part of the stream that was read and not cut, together with what the peer has sent after it:
// those bytes were acknowledged to the peer. The number of frames in them is unknown. c.start is not moved.
func (c *conn) forgo(cause segment.Cause) {
	behind := c.unread(c.rd)
	if c.end > c.start || c.packed.open || behind > 0 {
		c.cutShort(cause, uint64(c.end-c.start), behind)
	}
}

// cutShort counts a frame of which some bytes were read, and the bytes of the stream that follow it uncut. How many frames
// these are, and how many a piece had that is not unpacked to its end, is unknown.
func (c *conn) cutShort(cause segment.Cause, read, behind uint64) {
	cause = c.lose(cause, read+behind)
	c.lost.Lost[cause].AtLeast = c.lost.Lost[cause].AtLeast || behind > 0 || c.packed.open
}

// unread cuts the peer off, and reads and discards what it had sent until then. A peer that waits for acknowledgements
// sends it again.
func (c *conn) unread(from io.Reader) (bytes uint64) {
	if c.repeats() {
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
