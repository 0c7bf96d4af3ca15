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

// conn is a network connection that is watched while operations use it. Neither SFTP clients nor x/crypto/ssh have time
// limits of their own: without this, a peer that stops would block an operation indefinitely.
//
// One lazy timer covers all limits; bytes that flow only store a number. It closes the connection rather than setting
// deadlines, so that it works for connections that have none (a channel through a bastion).
type conn struct {
	net.Conn
	silence  time.Duration // without a byte in either direction
	patience time.Duration // without an SFTP answer to an operation, though bytes flow
	start    time.Time

	moved atomic.Int64 // when the last byte moved, since start

	mu    sync.Mutex
	timer *time.Timer
	until time.Time // end of the handshake, zero after it
	uses  map[*use]struct{}
	cause error
}

// use is one operation's use of a connection. Each waits for answers of its own: those to another operation do not show
// that the peer is going to answer this one.
type use struct {
	c     *conn
	heard atomic.Int64 // when the last answer to it came, since start
	until time.Time    // when it must be over, zero: no limit. Guarded by conn.mu.
}

// newConn returns a watched connection. Unless established is called within silence, which limits the handshake, it is
// closed.
func newConn(nc net.Conn, silence, patience time.Duration) *conn {
	c := &conn{Conn: nc, silence: silence, patience: patience, start: time.Now(), uses: make(map[*use]struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = c.start.Add(silence)
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

// Write notes progress, too: during an upload over a slow connection, the peer may send nothing for a long time.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.moved.Store(int64(time.Since(c.start)))
	}
	return n, err
}

// established ends the handshake: until the first use, nothing is expected of the peer.
func (c *conn) established() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = time.Time{}
	c.timer.Stop()
}

// beginUse begins an operation: its limits count from now.
func (c *conn) beginUse() *use {
	now := int64(time.Since(c.start))
	u := &use{c: c}
	u.heard.Store(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	// Only for the first use: the limits of uses in progress end before this one's, and the timer is already set to
	// them.
	if len(c.uses) == 0 {
		c.moved.Store(now)
		c.timer.Reset(min(c.silence, c.patience))
	}
	c.uses[u] = struct{}{}
	return u
}

// answered notes an SFTP answer to the operation.
func (u *use) answered() { u.heard.Store(int64(time.Since(u.c.start))) }

// hurry is for a cancelled operation: it closes the connection unless the operation ends within d, even if bytes flow.
func (u *use) hurry(d time.Duration) {
	u.c.mu.Lock()
	defer u.c.mu.Unlock()
	if _, ok := u.c.uses[u]; ok {
		u.until = time.Now().Add(d)
		u.c.timer.Reset(0)
	}
}

// endUse ends the operation.
func (u *use) endUse() {
	u.c.mu.Lock()
	defer u.c.mu.Unlock()
	if delete(u.c.uses, u); len(u.c.uses) == 0 {
		u.c.timer.Stop()
	}
}

// quiet reports whether operations have seen no byte for d.
func (c *conn) quiet(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.uses) > 0 && time.Since(c.start)-time.Duration(c.moved.Load()) >= d
}

// expire closes the connection if a limit has passed, otherwise it sets the timer for the next limit.
func (c *conn) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	left, cause := c.next()
	if cause == nil && left == 0 {
		return // the last operation ended while the timer fired
	}
	if cause == nil {
		c.timer.Reset(left)
		return
	}
	c.cause, c.until = cause, time.Time{}
	clear(c.uses)
	c.Conn.Close()
}

// next returns the time left until the nearest limit, or which limit has passed; neither if there is none. The caller
// holds mu.
func (c *conn) next() (left time.Duration, cause error) {
	if !c.until.IsZero() {
		if left = time.Until(c.until); left <= 0 {
			cause = errLate
		}
		return left, cause
	}
	if len(c.uses) == 0 {
		return 0, nil
	}
	now := time.Since(c.start)
	if left = c.silence - (now - time.Duration(c.moved.Load())); left <= 0 {
		return 0, fmt.Errorf("%w for %v", errSilent, c.silence)
	}
	for u := range c.uses {
		mute := c.patience - (now - time.Duration(u.heard.Load()))
		if mute <= 0 {
			return 0, fmt.Errorf("%w for %v", errMute, c.patience)
		}
		left = min(left, mute)
		if !u.until.IsZero() {
			late := time.Until(u.until)
			if late <= 0 {
				return 0, errLate
			}
			left = min(left, late)
		}
	}
	return left, nil
}

// why returns the reason for which this side ended the connection, nil if it did not.
func (c *conn) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// Close sets no cause: why stays nil.
func (c *conn) Close() error {
	c.mu.Lock()
	c.until = time.Time{}
	clear(c.uses)
	c.timer.Stop()
	c.mu.Unlock()
	return c.Conn.Close()
}
