package sftpship

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Why a connection was ended from this side.
var (
	errSilent = errors.New("the peer has sent and taken nothing")
	errMute   = errors.New("the server answers keepalives but no request (a hung disk or mount there?)")
	errLate   = errors.New("the peer did not finish in time")
)

// conn is a network connection that is watched while an operation uses it. Neither pkg/sftp nor x/crypto/ssh has time
// limits of its own: without this, a peer that stops would block an operation for ever.
//
// One lazy timer covers the three limits; bytes that flow only store a number. It closes the connection rather than
// setting deadlines, so that it works for connections that have none (a channel through a bastion).
type conn struct {
	net.Conn
	silence  time.Duration // without a byte in either direction
	patience time.Duration // without an SFTP answer, though bytes flow
	start    time.Time

	moved atomic.Int64 // when the last byte moved, since start
	heard atomic.Int64 // when the last SFTP answer came, since start
	fresh atomic.Bool  // no SFTP answer since watch

	mu       sync.Mutex
	timer    *time.Timer
	watching bool
	until    time.Time // fixed end; the other two limits are off
	cause    error
}

// newConn returns a connection that must have been handed to watch or rest before silence is over: the handshake's limit.
func newConn(nc net.Conn, silence, patience time.Duration) *conn {
	c := &conn{Conn: nc, silence: silence, patience: patience, start: time.Now()}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watching, c.until = true, c.start.Add(silence)
	c.timer = time.AfterFunc(silence, c.expire)
	return c
}

// Read notes progress. x/crypto/ssh always has a Read pending, so that a byte from the peer is noticed when it comes.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.moved.Store(int64(time.Since(c.start)))
	}
	return n, err
}

// Write notes progress, too: during an upload over a slow line, the peer may have nothing to say for long.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.moved.Store(int64(time.Since(c.start)))
	}
	return n, err
}

// answered notes an SFTP answer.
func (c *conn) answered() {
	c.heard.Store(int64(time.Since(c.start)))
	c.fresh.Store(false)
}

// watch begins an operation: both limits count from now.
func (c *conn) watch() {
	now := int64(time.Since(c.start))
	c.moved.Store(now)
	c.heard.Store(now)
	c.fresh.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watching, c.until = true, time.Time{}
	c.timer.Reset(min(c.silence, c.patience))
}

// hurry ends the connection after d, whatever flows: the operation has been cancelled.
func (c *conn) hurry(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watching {
		c.until = time.Now().Add(d)
		c.timer.Reset(d)
	}
}

// rest ends an operation: nothing is expected of the peer.
func (c *conn) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watching = false
	c.timer.Stop()
}

// quiet reports whether an operation has seen no byte for d.
func (c *conn) quiet(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watching && time.Since(c.start)-time.Duration(c.moved.Load()) >= d
}

// expire closes the connection if a limit has passed, else sets the timer for the limit that is next.
func (c *conn) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.watching {
		return // the operation ended while the timer fired
	}
	var left time.Duration
	if !c.until.IsZero() {
		if left = time.Until(c.until); left <= 0 {
			c.cause = errLate
		}
	} else {
		now := time.Since(c.start)
		silent := c.silence - (now - time.Duration(c.moved.Load()))
		mute := c.patience - (now - time.Duration(c.heard.Load()))
		left = min(silent, mute)
		switch {
		case silent <= 0:
			c.cause = fmt.Errorf("%w for %v", errSilent, c.silence)
		case mute <= 0:
			c.cause = fmt.Errorf("%w for %v", errMute, c.patience)
		}
	}
	if left > 0 {
		c.timer.Reset(left)
		return
	}
	c.watching = false
	c.Conn.Close()
}

// why returns the reason for which this side ended the connection, nil if it did not.
func (c *conn) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// Close is not a cause: why stays nil.
func (c *conn) Close() error {
	c.rest()
	return c.Conn.Close()
}
