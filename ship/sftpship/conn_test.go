package sftpship

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestConnLimits: when each limit ends a connection, to the nanosecond of a fake clock.
func TestConnLimits(t *testing.T) {
	const silence, patience = 30 * time.Second, 300 * time.Second
	// Each case drives a connection whose peer echoes, and says when and why it must have ended.
	for name, c := range map[string]struct {
		drive func(c *conn, say func())
		after time.Duration
		why   error
	}{
		"handshake, silent":  {func(*conn, func()) {}, silence, errLate},
		"handshake, talking": {func(c *conn, say func()) { every(time.Second, 60, say) }, silence, errLate},
		"silent from the beginning": {func(c *conn, _ func()) {
			c.established()
			pass(time.Hour) // in the pool
			c.beginUse()
		}, time.Hour + silence, errSilent},
		"silent in the end": {func(c *conn, say func()) {
			u := begun(c)
			every(20*time.Second, 10, func() { say(); u.answered() })
		}, 10*20*time.Second + silence, errSilent},
		"keepalives but no answer": {func(c *conn, say func()) {
			begun(c)
			every(10*time.Second, 100, say)
		}, patience, errMute},
		"answers to another operation only": {func(c *conn, say func()) {
			other := begun(c)
			pass(time.Second)
			c.beginUse()
			every(10*time.Second, 100, func() { say(); other.answered() })
		}, time.Second + patience, errMute},
		"answers for long, then keepalives only": {func(c *conn, say func()) {
			u := begun(c)
			n := 0
			every(10*time.Second, 100, func() {
				say()
				if n++; n%20 == 0 {
					u.answered()
				}
			})
			every(10*time.Second, 100, say)
		}, 1000*time.Second + patience, errMute},
		"others keep beginning": {func(c *conn, say func()) {
			begun(c)
			every(10*time.Second, 100, func() { say(); c.beginUse().endUse() })
		}, patience, errMute},
		"others keep beginning, silent": {func(c *conn, _ func()) {
			begun(c)
			every(10*time.Second, 100, func() { c.beginUse().endUse() })
		}, silence, errSilent},
		"cancelled, others keep beginning": {func(c *conn, say func()) {
			u := begun(c)
			pass(time.Second)
			u.hurry(cancelGrace)
			every(100*time.Millisecond, 100, func() { say(); c.beginUse().endUse() })
		}, time.Second + cancelGrace, errLate},
		"cancelled": {func(c *conn, say func()) {
			u := begun(c)
			pass(time.Second)
			u.hurry(cancelGrace)
			every(100*time.Millisecond, 100, say)
		}, time.Second + cancelGrace, errLate},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				go io.Copy(there, there)
				begin := time.Now()
				cn := newConn(here, silence, patience)
				ended := make(chan time.Time, 1)
				go func() {
					for b := make([]byte, 1); ; {
						if _, err := cn.Read(b); err != nil {
							ended <- time.Now()
							there.Close()
							return
						}
					}
				}()
				c.drive(cn, func() { _, _ = cn.Write([]byte{1}) })
				at := <-ended
				if err := cn.why(); !errors.Is(err, c.why) {
					t.Errorf("ended by %v, want %v", err, c.why)
				}
				if took := at.Sub(begin); took != c.after {
					t.Errorf("ended after %v, want %v", took, c.after)
				}
			})
		})
	}
	t.Run("not while it rests", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			here, there := net.Pipe()
			c := newConn(here, silence, patience)
			c.established()
			for range 3 {
				u, other := c.beginUse(), c.beginUse()
				pass(silence / 2)
				u.endUse()
				u.hurry(time.Second) // a cancellation that comes too late
				pass(silence / 4)
				other.endUse()
				pass(time.Hour)
			}
			if err := c.why(); err != nil {
				t.Errorf("ended: %v", err)
			}
			c.Close()
			there.Close()
		})
	})
}

// begun ends the handshake and begins an operation.
func begun(c *conn) *use {
	c.established()
	return c.beginUse()
}

// every does something n times.
func every(d time.Duration, n int, do func()) {
	for range n {
		pass(d)
		do()
	}
}

// pass lets fake time go by.
func pass(d time.Duration) { <-time.After(d) }
