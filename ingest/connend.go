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
	switch {
	case c.cutOff: // only data that has arrived is still read
	case c.t.acks:
		c.interrupt()
	default:
		c.nc.SetReadDeadline(until)
		c.halfClose()
	}
}

// hangUp ends a connection whose records are acknowledged, even while it waits for its peer. The connection's goroutine closes it
// after it has counted the data that the peer does not send again.
func (c *conn) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing, c.hungUp = true, true
	c.nc.SetWriteDeadline(past)
	if !c.cutOff {
		c.nc.SetReadDeadline(past)
	}
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
		// The close must send a reset: without it, a peer whose send window is closed would learn of the close only from
		// its next probe, minutes later.
		h.SetLinger(0)
	}
	return true
}

func (c *conn) timedOut() {
	c.t.log.warn("ingest: connection timed out: with in_frame, its frame was not complete within FrameTimeout; otherwise nothing arrived for IdleTimeout, or, under a framing that acknowledges, nothing to acknowledge for HandshakeTimeout; what was complete is kept, and the sender can connect again", "src", c.src.String(), "in_frame", c.end > c.start)
}

// cutOffPeer ends the connection in such a way that reading continues exactly to the last byte that the kernel has
// acknowledged to the peer.
func (c *conn) cutOffPeer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutOff = true
	h, ok := c.nc.(halfCloser)
	if !ok || runtime.GOOS != "linux" {
		// Other systems discard queued data when the reading side is closed: read for a moment longer.
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
// cut and counted, without waiting for the sink; data that the peer sends again is not.
func (c *conn) abort() {
	if c.t.acks {
		c.hangUp()
		return
	}
	c.shut(past)
}

// turnAway closes a connection that is not admitted, and counts what its peer has sent already. With TLS that is unknown. A peer
// that may still choose whether it wants acknowledgements has not chosen yet, so its data counts.
func (c *conn) turnAway(cause segment.Cause) (bytes int64) {
	defer c.nc.Close()
	if c.repeats() || c.t.o.TLS != nil {
		return 0
	}
	c.cutOffPeer()
	if bytes = queuedIn(c.nc); bytes > 0 {
		c.cutShort(cause, 0, uint64(bytes))
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

// forgo counts as lost the part of the stream that was read and not cut, together with the bytes that the peer has sent after
// it: the kernel has acknowledged them to the peer. discarded is how many of these were read already. The number of frames in
// them is unknown. A second call finds nothing to count.
func (c *conn) forgo(cause segment.Cause, discarded uint64) {
	behind := discarded + c.unread(c.rd)
	if c.end > c.start || c.packed.open || behind > 0 {
		c.cutShort(cause, uint64(c.end-c.start), behind)
		c.start = c.end
	}
}

// giveUpStream calls forgo for a stream that the listener has given up, unless the peer sends it again.
func (c *conn) giveUpStream(discarded uint64) {
	if !c.repeats() {
		c.forgo(segment.GivenUp, discarded)
		c.account(time.Now(), segment.Tally{})
	}
}

// cutShort counts a frame of which some bytes were read, and the uncut bytes of the stream after it. The number of frames
// in these bytes, and in a piece that is not completely unpacked, is unknown.
func (c *conn) cutShort(cause segment.Cause, read, behind uint64) {
	cause = c.lose(cause, read+behind)
	c.lost.Lost[cause].AtLeast = c.lost.Lost[cause].AtLeast || behind > 0 || c.packed.open
	c.packed.open = false
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
