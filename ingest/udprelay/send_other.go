//go:build !linux

package udprelay

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/penstock-go/penstock/spool/segment"
)

// sender sends the datagrams of one batch at a time.
type sender struct {
	header bool
	ports  senderPorts
	conns  []*net.UDPConn
	turn   int // index of the last target
	count  int // of the datagrams sent
	buf    []byte

	tally tally
}

func newSender(header bool, ports senderPorts) (*sender, error) {
	s := &sender{header: header}
	return s, s.reopen(ports)
}

// reopen replaces the ports.
func (s *sender) reopen(ports senderPorts) error {
	s.close()
	s.ports, s.conns = ports, nil
	if ports.count == 0 {
		ports = senderPorts{count: 1}
	}
	var errs []error
	for i := range ports.count {
		c, err := net.ListenUDP("udp", &net.UDPAddr{Port: ports.first + i*ports.step})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.conns = append(s.conns, c)
	}
	if len(s.conns) == 0 {
		return errors.Join(errs...)
	}
	return nil
}

func (s *sender) close() {
	for _, c := range s.conns {
		c.Close()
	}
}

// send sends a batch that arrived at the address at.
func (s *sender) send(_ context.Context, batch []segment.Record, at netip.AddrPort, targets []netip.AddrPort) {
	s.tally.reset(targets)
	for i := range batch {
		if len(targets) == 0 {
			s.tally.dropped[NoTarget]++
			continue
		}
		var head [maxHeader]byte
		n := 0
		if s.header {
			n = putHeader(&head, batch[i].Src, at)
		}
		s.buf = append(append(s.buf[:0], head[:n]...), batch[i].Data...)
		s.turn = (s.turn + 1) % len(targets)
		_, err := s.conns[s.count/perPort%len(s.conns)].WriteToUDPAddrPort(s.buf, targets[s.turn])
		s.count++
		switch {
		case err == nil:
			s.tally.out[s.turn]++
		case errors.Is(err, syscall.EMSGSIZE):
			s.tally.dropped[TooLong]++
		default:
			s.tally.dropped[Unreachable]++
		}
	}
}
