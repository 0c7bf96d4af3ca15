package ingest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/penstock-go/penstock/spool/segment"
)

// maxV1 is the length of the longest header of version 1, with its CR LF.
const maxV1 = 107

// errNoHeader means that a connection of a trusted proxy does not begin with a PROXY header.
var errNoHeader = errors.New("ingest: the connection of a trusted proxy does not begin with a PROXY header")

// headerSize returns the length of the PROXY header, of either version, at the beginning of b; 0 if more bytes are
// needed.
func headerSize(b []byte) (int, error) {
	switch s := string(b[:min(len(b), len(sigV2))]); {
	case strings.HasPrefix(sigV2, s):
		if len(b) < fixedV2 {
			return 0, nil
		}
		return fixedV2 + int(binary.BigEndian.Uint16(b[14:])), nil
	case strings.HasPrefix(s, sigV1), strings.HasPrefix(sigV1, s):
		if i := bytes.IndexByte(b[:min(len(b), maxV1)], '\n'); i >= 0 {
			return i + 1, nil
		}
		if len(b) < maxV1 {
			return 0, nil
		}
	}
	return 0, errNoHeader
}

// parseHeader decodes a complete header. The client is not valid if the header has no address that a record could have: a
// LOCAL command of version 2, UNKNOWN in version 1, unix sockets.
func parseHeader(b []byte) (client netip.AddrPort, err error) {
	if bytes.HasPrefix(b, []byte(sigV2)) {
		client, _, ok := parseV2(b)
		if !ok {
			return client, fmt.Errorf("%w that is valid", errNoHeader)
		}
		return client, nil
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), len(b)))
	if err != nil {
		return client, fmt.Errorf("%w: %w", errNoHeader, err)
	}
	ip, _, isIP := h.IPs()
	port, _, _ := h.Ports()
	if a, ok := netip.AddrFromSlice(ip); ok && isIP && !h.Command.IsLocal() {
		client = netip.AddrPortFrom(a.Unmap(), uint16(port))
	}
	return client, nil
}

// unproxy reads the PROXY header of a connection from a trusted proxy. Bytes that it reads after the header are kept for
// the Framer. It returns false if the connection has ended. A connection without a header is refused, since the sender of
// its records would be unknown.
func (c *conn) unproxy() bool {
	c.within(c.t.o.HandshakeTimeout)
	b := make([]byte, 0, usualV2)
	for {
		n, err := c.receive(c.nc, b[len(b):cap(b)])
		b = b[:len(b)+n]
		size, bad := headerSize(b)
		if bad == nil && size > 0 && size <= len(b) {
			if bad = c.readHeader(b[:size]); bad == nil {
				return c.identify(b, size)
			}
		}
		if bad == nil && err == nil && size > cap(b) {
			var give func()
			if b, give, err = c.longHeader(b, size); err != nil { // the listener was closed
				c.turnClientAway(segment.GivenUp, b, size)
				return false
			}
			defer give() // only a few of its bytes are kept
		}
		if bad == nil && err == nil {
			continue
		}
		c.refuse(b, bad, err)
		return false
	}
}

// longHeader returns a copy of b with room for a header of size bytes. The memory is taken from the listener's budget:
// otherwise each connection of a trusted proxy would take 64 KiB before it has sent a record.
func (c *conn) longHeader(b []byte, size int) (_ []byte, give func(), err error) {
	n := min(int64(size), c.t.o.MemoryBytes)
	if c.t.memory.acquire(c.t.life.ctx, n) != nil {
		return b, nil, errNoMemory
	}
	c.within(c.t.o.HandshakeTimeout) // the wait for memory does not count against the proxy
	return append(make([]byte, 0, size), b...), func() { c.t.memory.release(n) }, nil
}

// readHeader takes the client's address and the extensions from a complete header.
func (c *conn) readHeader(header []byte) error {
	client, err := parseHeader(header)
	if err != nil {
		return err
	}
	if client.IsValid() {
		c.src = client
	}
	c.header = parseTLVs(extensions(header))
	return nil
}

// identify makes the connection count against the limit of its client, instead of the proxy. It returns false if the client has too many.
func (c *conn) identify(read []byte, size int) bool {
	if err := c.t.conns.identify(c); err != nil {
		c.warnRefused(c.turnClientAway(segment.Refused, read, size), err)
		return false
	}
	c.behind.rest = bytes.Clone(read[size:])
	return true
}

// turnClientAway does the work of turnAway for a connection whose PROXY header, of size bytes, was read at least in part.
func (c *conn) turnClientAway(cause segment.Cause, read []byte, size int) (bytes int64) {
	if c.repeats() || c.t.o.TLS != nil {
		return 0
	}
	if bytes = int64(len(read)) + int64(c.unread(c.nc)) - int64(size); bytes <= 0 {
		return 0
	}
	c.cutShort(cause, 0, uint64(bytes))
	c.account(time.Now(), segment.Tally{})
	return bytes
}

// refuse accounts for the bytes of a connection without a valid PROXY header. A connection without any bytes needs no
// account: health checks of load balancers end in this way.
func (c *conn) refuse(read []byte, bad, err error) {
	if len(read) == 0 && !errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	if bad == nil {
		bad = fmt.Errorf("%w: it ended before: %w", errNoHeader, err)
	}
	c.t.meter.proxy(1, 0)
	c.t.log.warn("ingest: connection from a trusted proxy refused, because its PROXY header cannot be used: see that the proxy sends one, or remove it from trust", "proxy", c.nc.RemoteAddr().String(), "src", c.src.String(), "err", bad)
	if len(read) == 0 {
		return
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.heard = true
		c.broken(err)
	}
	c.cutShort(segment.Malformed, uint64(len(read)), c.unread(c.nc))
	c.account(time.Now(), segment.Tally{})
}

// suspect counts and logs a connection from an untrusted source that begins with what looks like a PROXY header. The
// header is still data; most likely a proxy is missing in ProxyFrom.
func (c *conn) suspect(first []byte) {
	if bytes.HasPrefix(first, []byte(sigV2)) || bytes.HasPrefix(first, []byte(sigV1)) {
		c.t.meter.proxy(0, 1)
		c.t.log.warn(ignoredHeader, "src", c.src.String())
	}
}

// ignoredHeader is logged for both connections and datagrams.
const ignoredHeader = "ingest: a source that is not in ProxyFrom sent a PROXY header; it is kept as data and not trusted"

// prefixed is a connection from which some bytes were read already: rest has those that must be read again.
type prefixed struct {
	net.Conn
	rest []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.rest) > 0 {
		n := copy(b, p.rest)
		p.rest = p.rest[n:]
		return n, nil
	}
	p.rest = nil
	return p.Conn.Read(b)
}
