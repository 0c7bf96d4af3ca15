package ingest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

const (
	// smallBuffer is the size of the buffer that every connection has. A frame that does not fit gets a large one.
	smallBuffer = 64 << 10
	// frameRoom is the most that a frame's header and trailer may add to its payload of at most TCPOptions.MaxRecord.
	frameRoom = 4 << 10
	// maxBatch is the most records of one Append: a read of 64 KiB may hold tens of thousands of tiny ones.
	maxBatch = 1024
)

// largeBuffer is the length of a buffer for one frame of max bytes.
func largeBuffer(max int) int { return max + frameRoom }

var (
	errNoFrame  = errors.New("ingest: the framer found no frame within the largest size that a frame may have")
	errNoMemory = errors.New("ingest: the listener was closed while the connection waited for memory (TCPOptions.MemoryBytes)")
)

// conn is one connection, whose goroutine reads, cuts and appends in turn. There is no queue between the socket and the sink
// that a burst could fill or a crash could lose. Records are slices of the window's buf, so the next read waits until the
// sink has copied them, which also slows the peer down.
type conn struct {
	t      *TCP
	nc     net.Conn       // as accepted
	rd     net.Conn       // nc, or TLS on it
	below  *mute          // what TLS writes to, nil without TLS
	src    netip.AddrPort // of the peer, or of a trusted proxy's client
	framer Framer
	ack    *answers // nil unless framer is an Acknowledger
	put    put      // append, bound once: a method value allocates
	guard  guard
	packed packed

	send    put     // Append of the sink, or of its session
	durable Durable // of the session, if ack

	origin
	window
	ending

	batch *[]segment.Record // while frames are being cut
	lost  segment.Account   // not yet accounted for

	frameStart time.Time // from when on the peer has FrameTimeout for the rest of an incomplete frame
	heard      bool      // the peer has sent more than a PROXY header
	late       bool      // the listener was closed before the last read: the bytes of that read were still in the kernel

	mu       sync.Mutex
	deadline time.Time
	closing  bool // the deadline is the end of Grace
	hungUp   bool // see hangUp
	secured  bool // the TLS handshake is over
}

// ending is how the stream ended.
type ending struct {
	cutOff bool // nothing more can arrive; written with mu
	reset  bool // the peer is gone: an unterminated frame is lost
}

// origin is where a connection comes from.
type origin struct {
	proxied bool           // by a trusted proxy: a PROXY header comes first
	header  *ProxyHeader   // what the header says besides the addresses
	behind  prefixed       // the connection after that header
	attrs   *segment.Attrs // of all records
	source  netip.Prefix   // what the connection counts as against the limit per source,
	counted bool           // and whether it does yet
}

// window is the memory of a connection: buf[start:end] was read and is not cut yet. buf is small, or large.
type window struct {
	buf        []byte
	start, end int
	small      []byte
	large      *[]byte // while a frame needs it
	had        int     // bytes read since other goroutines had their turn
}

func newConn(t *TCP, nc net.Conn) *conn {
	c := &conn{t: t, nc: nc, rd: nc, src: addrPort(nc.RemoteAddr())}
	if c.proxied = t.behind.trust(c.src.Addr()); c.proxied {
		c.behind.Conn = nc
		c.rd = &c.behind
	}
	if t.o.TLS != nil {
		c.secure(t.o.TLS)
	}
	return c
}

// stream returns the description of the connection for its framing.
func (c *conn) stream() *Stream {
	s := &Stream{
		MaxRecord: c.t.o.MaxRecord, Peer: c.src, Local: addrPort(c.nc.LocalAddr()), Listener: c.t.ln.Addr(), Proxy: c.header,
	}
	if h, ok := c.rd.(*tls.Conn); ok {
		state := h.ConnectionState()
		s.TLS = &state
	}
	return s
}

// addrPort returns a TCP address in the form that records have; not valid for any other address.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// serve reads until the connection ends or has to be ended.
func (c *conn) serve() {
	defer c.nc.Close()
	if c.proxied && !c.unproxy() {
		return
	}
	if err := c.handshake(); err != nil {
		c.t.log.warn("ingest: TLS handshake failed, and the connection was closed: see that the sender trusts this certificate, and that its own is signed by client_ca if that is set", "src", c.src.String(), "err", err)
		return
	}
	c.put, c.send = c.append, c.t.append
	if f := c.t.o.Attributes; f != nil {
		c.attrs = makeAttrs(f, c.stream(), &c.t.meter, c.t.log)
	}
	if err := c.makeFramer(); err != nil {
		c.turnDown()
		return
	}
	c.packed.framer, _ = c.framer.(Unpacker)
	if a, ok := c.framer.(Acknowledger); ok {
		session := Session(c.t.sink)
		c.send = session.Append
		c.durable, _ = durable(session) // Serve has checked it
		if err := c.startAnswers(a); err != nil {
			c.turnDown()
			return
		}
	}
	c.converse()
	if c.ack != nil { // not deferred: if the sink panics, nothing may be waited for before the process ends
		c.ack.finish()
	}
}

// converse reads and cuts until the stream ends.
func (c *conn) converse() {
	c.small = make([]byte, smallBuffer)
	c.buf = c.small
	defer c.dropLarge()
	switch err := c.read(); {
	case err == nil:
		return
	case c.ack.err() != nil: // run has hung up
		c.warnClosed(c.ack.err())
		return
	case errors.Is(err, io.EOF), c.cutOff:
	case errors.Is(err, os.ErrDeadlineExceeded): // the framing acknowledges
		if c.isClosing() {
			return // finish counts the rest
		}
		c.timedOut()
	default: // reset, or the peer vanished (keep-alive)
		c.broken(err)
	}
	c.cut(time.Now(), true)
}

// warnClosed logs why this side closes the connection.
func (c *conn) warnClosed(err error) {
	c.t.log.warn("ingest: connection closed because of an error in the stream or from the sink, see err; complete records before it are kept", "src", c.src.String(), "err", err)
}

// broken is called when the connection ended without the peer's close. Data that the peer's kernel had not sent by then is
// lost, and cannot be counted, so the event is counted instead. Health checks of load balancers end their connections
// in this way too, but have sent nothing.
func (c *conn) broken(err error) {
	c.reset = true
	if !c.heard {
		return
	}
	c.t.meter.broken()
	what := "ingest: connection was reset; data that its sender had not sent yet is lost and cannot be counted"
	if c.t.acks {
		what = "ingest: connection was reset; its sender sends again what was not acknowledged"
	}
	c.t.log.warn(what, "src", c.src.String(), "in_frame", c.end > c.start, "err", err)
}

// read returns why the stream ended, or nil if the connection was given up and is accounted for.
func (c *conn) read() error {
	first := len(c.t.behind) > 0 && !c.proxied
	for {
		if err := c.makeRoom(); err != nil {
			if errors.Is(err, errNoMemory) {
				c.giveUpStream(0)
				return nil
			}
			c.warnClosed(err)
			c.forgo(segment.FrameTooLong, 0)
			c.account(time.Now(), segment.Tally{})
			return nil
		}
		c.setDeadline()
		n, err := c.receive(c.rd, c.buf[c.end:])
		c.end += n
		c.heard = c.heard || n > 0
		if first && n > 0 {
			first = false
			c.suspect(c.buf[:n])
		}
		if n > 0 {
			switch bad := c.cut(time.Now(), false); bad {
			case nil:
				c.giveTurn(n)
			case io.EOF: // the peer has ended the stream as its protocol provides
				return nil
			default:
				c.warnClosed(bad)
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
}

// turn is how many bytes a connection reads before other goroutines run: about a millisecond's work. With a shorter turn, encoders
// of staged segments, which run for up to 10 ms at a time, would take most of the processors.
const turn = 1 << 20

// giveTurn lets other goroutines run once the connection has had its turn. A connection whose peer sends faster than it reads never
// blocks, and the runtime preempts a goroutine that does not block only after 10 ms; a thousand such connections would wait long
// for each other.
func (c *conn) giveTurn(n int) {
	if c.had += n; c.had >= turn {
		c.had = 0
		runtime.Gosched()
	}
}

// receive reads some bytes. A deadline does not end it while bytes that arrived before the deadline must still be read:
// see pastDeadline.
func (c *conn) receive(r io.Reader, b []byte) (int, error) {
	for {
		late := c.t.life.ctx.Err() != nil
		n, err := r.Read(b)
		if n > 0 {
			c.late = late
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && c.pastDeadline() {
			err = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// makeRoom makes space after end, in the smallest buffer that suffices. It moves the rest of the last read, a part of a
// frame, to the front: that rest is short, or is at the front already.
func (c *conn) makeRoom() error {
	left := c.buf[c.start:c.end]
	// Half, because a connection that returned to a full small buffer would need the large one again at once.
	if c.large != nil && len(left) <= smallBuffer/2 {
		copy(c.small, left)
		c.dropLarge()
		c.buf = c.small
	} else {
		copy(c.buf, left)
	}
	c.start, c.end = 0, len(left)
	if c.end < len(c.buf) {
		return nil
	}
	if c.large != nil || len(c.buf) >= largeBuffer(c.t.o.MaxRecord) {
		return errNoFrame
	}
	// While it waits for memory, the connection reads nothing, and its peer is slowed down. The wait has no deadline: while the
	// sink stalls, the other connections keep their memory, and a deadline would lose data that is within all limits. FrameTimeout
	// ends every other connection that holds memory, unless it waits for the sink.
	if c.t.memory.acquire(c.t.life.ctx, int64(largeBuffer(c.t.o.MaxRecord))) != nil {
		return errNoMemory
	}
	now := time.Now() // the peer is not to blame for the wait
	c.frameStart = now
	if c.ack != nil {
		c.ack.begun = now
	}
	c.large = c.t.large.Get().(*[]byte)
	copy(*c.large, left)
	c.buf = *c.large
	return nil
}

func (c *conn) dropLarge() {
	if c.large != nil {
		c.t.large.Put(c.large)
		c.large = nil
		c.t.memory.release(int64(largeBuffer(c.t.o.MaxRecord)))
	}
}

// setDeadline sets the read deadline of a frame that has begun, or of an idle connection. The time of a frame counts from
// its first byte, so a peer cannot extend it by sending a byte now and then. The time that the sink took for earlier
// frames does not count: otherwise a spool that was full for longer than FrameTimeout would end all connections, each in
// the middle of a frame.
func (c *conn) setDeadline() {
	now := time.Now()
	var want time.Time
	switch o := &c.t.o; {
	case c.ack != nil && !c.ack.met: // a connection must show soon that it speaks the protocol
		want = c.ack.begun.Add(o.HandshakeTimeout)
	case c.end > c.start && o.FrameTimeout > 0:
		want = c.frameStart.Add(o.FrameTimeout)
	case c.end == c.start && o.IdleTimeout > 0:
		want = now.Add(o.IdleTimeout)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// Moving a deadline costs more than a short read, so the deadline may be up to a second early.
	late := want.Sub(c.deadline)
	if c.closing || c.cutOff || late == 0 || late > 0 && late < time.Second && want.After(now.Add(time.Second)) {
		return
	}
	c.deadline = want
	c.nc.SetReadDeadline(want)
}

// within sets the deadline for what precedes the first frame.
func (c *conn) within(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.deadline = time.Now().Add(d)
		c.nc.SetReadDeadline(c.deadline)
	}
}
