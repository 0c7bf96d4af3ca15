package ingest

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
)

// Most senders of logs write and never read. When such a sender closes its socket while unread bytes are in its receive
// buffer, its kernel sends a reset instead of the rest of its data (RFC 2525 §2.17), and everything that the listener's
// kernel had no room for is lost. So a listener whose framing does not acknowledge sends no byte after the TLS handshake:
// no session tickets, no close_notify, no answer to a KeyUpdate, no alert. At the end it closes its side of the TCP
// connection, which sends no byte.

// withoutTickets returns config with session tickets turned off, also in the configurations that its GetConfigForClient
// returns. In TLS 1.3 the server sends tickets unasked, after its Finished. Without them each connection needs a full
// handshake.
func withoutTickets(config *tls.Config) *tls.Config {
	c := config.Clone()
	c.SessionTicketsDisabled = true
	forClient := config.GetConfigForClient
	if forClient == nil {
		return c
	}
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		got, err := forClient(hello)
		if got == nil || err != nil || got.SessionTicketsDisabled {
			return got, err
		}
		got = got.Clone()
		got.SessionTicketsDisabled = true
		return got, nil
	}
	return c
}

// mute is a connection below TLS that sends nothing once it is silent. Since the peer never gets an answer to a
// KeyUpdate, it continues with the keys that it has.
type mute struct {
	net.Conn
	silent atomic.Bool
}

func (m *mute) Write(b []byte) (int, error) {
	if m.silent.Load() {
		return len(b), nil
	}
	return m.Conn.Write(b)
}

// secure adds TLS to the connection. The handshake comes later.
func (c *conn) secure(config *tls.Config) {
	c.below = &mute{Conn: c.rd}
	c.rd = tls.Server(c.below, config)
}

// handshake performs the TLS handshake. It is bounded in time, and Close ends it; after Shutdown the end of Grace
// interrupts it. It counts as reading: a peer can send records only after it.
//
// Callbacks of the tls.Config run in it.
func (c *conn) handshake() (err error) {
	defer c.guard.caught(c, &err)
	h, ok := c.rd.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.t.life.ctx, c.t.o.HandshakeTimeout)
	defer cancel()
	c.guard.inside = true
	err = h.HandshakeContext(ctx)
	c.guard.inside = false
	if err != nil {
		return err
	}
	c.below.silent.Store(!c.t.acks)
	c.heard = true
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secured = true
	if c.closing && !c.t.acks {
		c.halfClose()
	}
	return nil
}

// halfClose tells the peer that this side is closing. It has to wait for the TLS handshake, which needs both directions.
// c.mu is held.
func (c *conn) halfClose() {
	if c.below != nil && !c.secured {
		return
	}
	if h, ok := c.nc.(halfCloser); ok {
		h.CloseWrite()
	}
}
