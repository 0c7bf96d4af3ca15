package ingest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/penstock-go/penstock/internal/steadylog"
	"github.com/penstock-go/penstock/spool/segment"
)

// TCPOptions configure a TCP listener. The zero value of every field means its documented default.
type TCPOptions struct {
	// Network is "tcp" (default), "tcp4" or "tcp6".
	Network string
	// Framing cuts the stream into records; default Auto.
	Framing Framing
	// Max is the longest payload of a frame in bytes; default 1 MiB. A longer frame is passed over and lost, cause
	// frame_too_long; the connection stays.
	Max int
	// Window is how many records of a connection may be appended and not acknowledged, 1 to 1024; default 1024. It needs
	// a framing that acknowledges. When a connection breaks, the peer sends so many again at most that are kept already.
	// A smaller one costs more calls of fdatasync.
	Window int
	// MaxConns is the number of connections at a time; default 4096. One more is closed at once. All TCP listeners of a process
	// together have three quarters of its descriptors (RLIMIT_NOFILE), 64 less than all at most, and as many connections as
	// a quarter of its memory is enough for; each listener has an equal part of them at most.
	MaxConns int
	// MaxConnsPerSource is the same per IPv4 address or IPv6 /64; default 1024, and half of what the listener has where
	// that is less than MaxConns.
	MaxConnsPerSource int
	// Memory bounds the buffers of frames over 64 KiB, of all connections together, in bytes; default 256 MiB, and its part
	// of a quarter of the memory that the process may use. A connection whose frame finds no room waits, and with it its
	// peer. Every connection has 64 KiB besides, and as much again for a batch of records while the sink makes it wait.
	Memory int64
	// IdleTimeout ends a connection on which nothing arrives; default 1 h, negative never. Senders that do not look
	// before they write lose a message when it strikes; peers that are gone are found by TCP keep-alive long before.
	IdleTimeout time.Duration
	// FrameTimeout ends a connection whose frame is not complete so long after its first byte, or that does not take an
	// answer for so long; default 1 min, negative never. What the sink makes it wait does not count.
	FrameTimeout time.Duration
	// Grace is how long Shutdown lets peers go on sending after it has told them that it is closing; default 1 s,
	// negative none.
	Grace time.Duration
	// TLS, if set, is what connections are to be secured with, except that no session tickets are sent: a sender that never
	// reads would lose data over them. HandshakeTimeout (default 10 s) ends slow ones, and those
	// that a framing which acknowledges has nothing to answer to for so long.
	TLS              *tls.Config
	HandshakeTimeout time.Duration
	// ProxyFrom are the load balancers and proxies that put a PROXY header, version 1 or 2, before the first byte of a
	// connection, before TLS too. Records then have the address of the proxy's client, which also counts against
	// MaxConnsPerSource. From there a connection without a header within HandshakeTimeout is refused, and what was read
	// of it lost, cause malformed. From anywhere else no header is believed: it is data, as if ProxyFrom were empty. A
	// LOCAL command (health checks) and unknown addresses leave the proxy's own.
	ProxyFrom []netip.Prefix
	// Files is a listening socket to take over instead of binding the address, as Inherited returns it. It stays the
	// caller's, and open: Shutdown leaves the connections that it has not accepted to the next process.
	Files []*os.File
	// Own says that the socket in Files is this listener's alone, as after a hand-over: Shutdown closes it as it does its
	// own.
	Own bool
	// Logger gets the life cycle, and losses and refusals at a bounded rate; nil discards.
	Logger *slog.Logger
}

func (o *TCPOptions) withDefaults() TCPOptions {
	var c TCPOptions
	if o != nil {
		c = *o
	}
	setDefault(&c.Network, "tcp")
	setDefault(&c.Max, 1<<20)
	setDefault(&c.Window, maxBatch)
	setDefault(&c.MaxConns, 4096)
	setDefault(&c.MaxConnsPerSource, 1024)
	setDefault(&c.Memory, 256<<20)
	setDefault(&c.IdleTimeout, time.Hour)
	setDefault(&c.FrameTimeout, time.Minute)
	setDefault(&c.Grace, time.Second)
	setDefault(&c.HandshakeTimeout, 10*time.Second)
	if c.Framing == nil {
		c.Framing = Auto
	}
	c.Logger = steadylog.Wrap(c.Logger)
	if c.TLS != nil {
		c.TLS = withoutTickets(c.TLS)
	}
	return c
}

func (o *TCPOptions) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("ingest: "+format, args...)) }
	switch o.Network {
	case "tcp", "tcp4", "tcp6":
	default:
		bad("Network %q: want tcp, tcp4 or tcp6", o.Network)
	}
	if o.Max < 1 || o.Max > segment.MaxRecord {
		bad("Max %d: want 1 to %d bytes", o.Max, segment.MaxRecord)
	} else if o.Memory < int64(largeBuffer(o.Max)) {
		bad("Memory %d: want at least %d bytes, one frame of Max %d", o.Memory, largeBuffer(o.Max), o.Max)
	}
	if o.Window < 1 || o.Window > maxBatch {
		bad("Window %d: want 1 to %d records", o.Window, maxBatch)
	}
	if o.MaxConns < 1 {
		bad("MaxConns %d: want at least 1", o.MaxConns)
	}
	if o.MaxConnsPerSource < 1 {
		bad("MaxConnsPerSource %d: want at least 1", o.MaxConnsPerSource)
	}
	if len(o.Files) > 1 {
		bad("Files: %d sockets, want one", len(o.Files))
	}
	if o.HandshakeTimeout < 0 {
		bad("HandshakeTimeout %v: want a duration", o.HandshakeTimeout)
	}
	errs = append(errs, proxies(o.ProxyFrom).validate())
	return errors.Join(errs...)
}

// setDefault replaces the zero value of an option.
func setDefault[T comparable](p *T, d T) {
	var zero T
	if *p == zero {
		*p = d
	}
}
