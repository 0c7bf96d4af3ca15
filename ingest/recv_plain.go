package ingest

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// plain receives with the standard library alone, one datagram a call, for systems other than Linux. It cannot know what
// the kernel drops.
type plain struct {
	conn net.PacketConn
	buf  []byte
	recs [1]segment.Record

	datagrams
}

// newPlainSocket wraps a bound socket. The size of the receive buffer that the system granted is unknown, so the
// requested size is reported.
func newPlainSocket(pc net.PacketConn, o *UDPOptions, log *limiter) *socket {
	s := &socket{conn: pc, log: log}
	s.recv = &plain{
		conn: pc, datagrams: datagrams{o.MaxRecord, o.ProxyFrom, s.describe(o)}, buf: make([]byte, max(o.MaxRecord, maxDatagram)+1),
	}
	if c, ok := pc.(interface{ SetReadBuffer(int) error }); ok {
		if err := c.SetReadBuffer(o.ReceiveBuffer); err == nil {
			s.buffer = o.ReceiveBuffer
		} else {
			log.log.Warn("ingest: the system refused the receive buffer size; bursts may be dropped by the kernel: raise the system's limit", "asked", o.ReceiveBuffer, "err", err)
		}
	}
	log.log.Warn("ingest: datagrams that the kernel drops are not counted on this system, so a loss there does not show: watch the system's own counters")
	return s
}

func (p *plain) receive(wait bool) (burst, error) {
	if !wait {
		p.conn.SetReadDeadline(time.Now().Add(settleTime))
	}
	n, src, err := p.read()
	if !wait && errors.Is(err, os.ErrDeadlineExceeded) {
		return burst{}, nil
	}
	if err != nil {
		return burst{}, err
	}
	b := burst{recs: p.recs[:0]}
	// The buffer is longer than any datagram, so n is its true length. When the datagram arrived is unknown: b.last stays
	// 0.
	b.add(segment.Record{Time: segment.Nanos(time.Now()), Src: src, Data: p.buf[:n:n]}, &p.datagrams)
	return b, nil
}

func (p *plain) read() (int, netip.AddrPort, error) {
	if c, ok := p.conn.(*net.UDPConn); ok {
		n, src, err := c.ReadFromUDPAddrPort(p.buf)
		return n, netip.AddrPortFrom(src.Addr().Unmap().WithZone(""), src.Port()), err
	}
	n, _, err := p.conn.ReadFrom(p.buf)
	return n, netip.AddrPort{}, err
}

func (p *plain) counts() (socketCounts, bool) { return socketCounts{}, false }

func (p *plain) detach() error { return errors.ErrUnsupported }
