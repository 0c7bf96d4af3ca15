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
	// MaxRecord is the longest record that is kept, which is the payload of a frame, in bytes; default 1 MiB, at most
	// segment.MaxRecord. A longer frame is skipped and lost (frame_too_long); the connection stays open.
	MaxRecord int
	// Window is how many records of a connection may be appended and not acknowledged, 1 to 1024; default 1024. It
	// applies to framings that acknowledge. When a connection breaks, the peer sends again at most this many records that
	// are kept already. A smaller window causes more calls of fdatasync.
	Window int
	// MaxConns is the most open connections; default 4096. Further ones are closed at once. All TCP listeners of a
	// process together may use three quarters of its descriptors (RLIMIT_NOFILE), but leave at least 64, and as many
	// connections as fit into a quarter of its memory. Each listener may use an equal share of both.
	MaxConns int
	// MaxConnsPerSource is the same per IPv4 address or IPv6 /64; default 1024. If the listener's share is below
	// MaxConns, it is at most half of the share.
	MaxConnsPerSource int
	// MemoryBytes bounds the buffers of frames over 64 KiB, of all connections together, in bytes; default 256 MiB, and at
	// most the listener's share of a quarter of the memory that the process may use. A connection whose frame finds no
	// memory waits, and so does its peer. In addition every connection uses 64 KiB, and another 64 KiB for a batch of
	// records while the sink makes it wait. Memory of a Framer's own is not part of this bound: see packages
	// ingest/lumberjack and ingest/fluentforward.
	MemoryBytes int64
	// IdleTimeout ends a connection on which nothing arrives; default 1 h, negative never. A sender that does not check
	// the connection before it writes then loses a message. TCP keep-alive finds dead peers much earlier.
	IdleTimeout time.Duration
	// FrameTimeout ends a connection whose frame is not complete this long after its first byte, or that does not read
	// an acknowledgement for this long; default 1 min, negative never. Time that it waits for the sink or
	// for memory does not count.
	FrameTimeout time.Duration
	// Grace is how long peers may still send after Shutdown has closed its side of their connections; default 1 s,
	// negative none.
	Grace time.Duration
	// TLS, if set, secures the connections. No session tickets are sent, whatever it says: a sender that never reads
	// would lose data because of them. HandshakeTimeout (default 10 s) ends slow handshakes. With a framing that
	// acknowledges it also ends connections that send nothing to acknowledge for this long.
	TLS              *tls.Config
	HandshakeTimeout time.Duration
	// ProxyFrom are the load balancers and proxies that send a PROXY header, version 1 or 2, before the first byte of a
	// connection, and before TLS. Records then have the address of the proxy's client, which also counts against
	// MaxConnsPerSource. A connection from these sources without a header within HandshakeTimeout is refused, and what
	// was read of it is lost (malformed). Headers from other addresses are not trusted: they are data, as if ProxyFrom
	// were empty. With a LOCAL command (health checks) or an unknown address family the records keep the proxy's own
	// address.
	ProxyFrom []netip.Prefix
	// Attributes returns the attributes of a connection, which all of its records have (segment.Attrs): for example
	// ConnAttrs; nil means none. It is called once for each connection, after the PROXY header and the TLS handshake. If it
	// panics or returns an invalid set, the records have no attributes. Both are logged, and a panic is also counted
	// (Stats.Panics).
	Attributes func(s *Stream) map[string]string
	// Files is a listening socket to take over instead of binding the address, as Inherited returns it. It stays open
	// and belongs to the caller: Shutdown leaves the connections that it has not accepted to the next process.
	Files []*os.File
	// OwnFiles says that the socket in Files belongs to this listener alone, as after a hand-over: Shutdown then closes it.
	OwnFiles bool
	// Hooks are called with what is received: see HookReceived.
	Hooks []Hook
	// Logger gets lines about the life cycle, and about losses and refusals at a bounded rate; nil discards.
	Logger *slog.Logger
}

func (o *TCPOptions) withDefaults() TCPOptions {
	var c TCPOptions
	if o != nil {
		c = *o
	}
	setDefault(&c.Network, "tcp")
	setDefault(&c.MaxRecord, 1<<20)
	setDefault(&c.Window, maxBatch)
	setDefault(&c.MaxConns, 4096)
	setDefault(&c.MaxConnsPerSource, 1024)
	setDefault(&c.MemoryBytes, 256<<20)
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
	if o.MaxRecord < 1 || o.MaxRecord > segment.MaxRecord {
		bad("MaxRecord %d: want 1 to %d bytes", o.MaxRecord, segment.MaxRecord)
	} else if o.MemoryBytes < int64(largeBuffer(o.MaxRecord)) {
		bad("MemoryBytes %d: want at least %d bytes, one frame of MaxRecord %d", o.MemoryBytes, largeBuffer(o.MaxRecord), o.MaxRecord)
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
		bad("HandshakeTimeout %v: must not be negative", o.HandshakeTimeout)
	}
	errs = append(errs, proxies(o.ProxyFrom).validate(), checkHooks(o.Hooks))
	return errors.Join(errs...)
}

// setDefault replaces the zero value of an option.
func setDefault[T comparable](p *T, d T) {
	var zero T
	if *p == zero {
		*p = d
	}
}
