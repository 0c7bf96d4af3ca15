package udprelay

import (
	"context"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/penstock-go/penstock/spool/segment"
)

// burst is the most datagrams of one sendmmsg(2).
const burst = 64

// mmsghdr is struct mmsghdr of sendmmsg(2), for which golang.org/x/sys has no wrapper.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// sender sends the datagrams of one batch at a time. All memory that the kernel reads is allocated once.
type sender struct {
	header bool
	ports  senderPorts
	set    portSet
	port   int // index of the port in use
	left   int // how many more datagrams leave from it
	turn   int // index of the last target

	tally tally

	hdrs  [burst]mmsghdr
	iovs  [burst][2]unix.Iovec
	heads [burst][maxHeader]byte
	names [burst]unix.RawSockaddrInet6
	to    [burst]int // index of each datagram's target
}

func newSender(header bool, ports senderPorts) (*sender, error) {
	s := &sender{header: header}
	if err := room(ports.count * max(1, ports.step)); err != nil {
		return nil, err
	}
	if err := s.reopen(ports); err != nil {
		s.close()
		return nil, err
	}
	for i := range s.hdrs {
		h := &s.hdrs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&s.names[i]))
		h.Iov = &s.iovs[i][0]
		h.SetIovlen(2)
		s.iovs[i][0].Base = &s.heads[i][0]
	}
	return s, nil
}

// reopen replaces the ports.
func (s *sender) reopen(ports senderPorts) error {
	s.ports, s.port, s.left = ports, 0, 0
	return s.set.open(ports)
}

func (s *sender) close() { s.set.close() }

// send sends a batch that arrived at the address at. After the end of ctx it waits for no socket.
func (s *sender) send(ctx context.Context, batch []segment.Record, at netip.AddrPort, targets []netip.AddrPort) {
	s.tally.reset(targets)
	if len(targets) == 0 {
		s.tally.dropped[NoTarget] += uint64(len(batch))
		return
	}
	for len(batch) > 0 {
		if s.left == 0 {
			s.port = (s.port + 1) % len(s.set.fds)
			if s.left = burst; s.ports.count > 0 {
				s.left = perPort
			}
		}
		n := min(len(batch), s.left)
		s.lay(batch[:n], at, targets)
		s.flush(ctx, n, targets)
		batch = batch[n:]
		s.left -= n
	}
	for i := range s.iovs { // do not keep pointers to the batch, which the listener reuses
		s.iovs[i][1] = unix.Iovec{}
	}
}

// lay prepares the kernel's message headers for a batch.
func (s *sender) lay(batch []segment.Record, at netip.AddrPort, targets []netip.AddrPort) {
	for i := range batch {
		head := 0
		if s.header {
			head = putHeader(&s.heads[i], batch[i].Src, at)
		}
		s.iovs[i][0].SetLen(head)
		s.iovs[i][1] = unix.Iovec{}
		if data := batch[i].Data; len(data) > 0 {
			s.iovs[i][1].Base = &data[0]
			s.iovs[i][1].SetLen(len(data))
		}
		s.turn = (s.turn + 1) % len(targets)
		s.aim(i, s.turn, targets)
	}
}

// aim sets the target of the i-th datagram.
func (s *sender) aim(i, target int, targets []netip.AddrPort) {
	s.to[i] = target
	a := targets[target]
	port := func(p *uint16) {
		b := (*[2]byte)(unsafe.Pointer(p))
		b[0], b[1] = byte(a.Port()>>8), byte(a.Port())
	}
	if s.set.family == unix.AF_INET6 {
		s.names[i] = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: a.Addr().As16()}
		port(&s.names[i].Port)
		s.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
		return
	}
	sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.names[i]))
	*sa = unix.RawSockaddrInet4{Family: unix.AF_INET}
	if a.Addr().Is4() {
		sa.Addr = a.Addr().As4()
	} else {
		sa.Family = unix.AF_INET6 // the kernel refuses to send it, which is counted
	}
	port(&sa.Port)
	s.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet4
}

// flush sends the first n datagrams. If the kernel refuses one, flush tries the next targets.
func (s *sender) flush(ctx context.Context, n int, targets []netip.AddrPort) {
	tries, waits := 0, 0
	for i := 0; i < n; {
		sent, errno := s.sendmmsg(i, n)
		for range sent {
			s.tally.out[s.to[i]]++
			i++
		}
		if sent > 0 {
			tries, waits = 0, 0
			continue
		}
		blocked := errno == unix.EAGAIN || errno == unix.ENOBUFS || errno == unix.ENOMEM
		switch {
		case errno == unix.EINTR:
		case blocked && ctx.Err() != nil:
			s.tally.dropped[GivenUp]++
			i++
		case blocked && waits < 10:
			waits++
			s.writable()
		case blocked:
			s.tally.dropped[Blocked]++
			i++
		case errno == unix.EMSGSIZE:
			s.tally.dropped[TooLong]++
			i++
		case tries < min(3, len(targets)):
			tries++
			s.turn = (s.turn + 1) % len(targets)
			s.aim(i, s.turn, targets)
		default:
			s.tally.dropped[Unreachable]++
			tries = 0
			i++
		}
	}
}

func (s *sender) sendmmsg(from, to int) (n int, errno unix.Errno) {
	r, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.set.fds[s.port]), uintptr(unsafe.Pointer(&s.hdrs[from])), uintptr(to-from), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}

// writable waits until the socket is writable, for at most 100 ms.
func (s *sender) writable() {
	fds := []unix.PollFd{{Fd: int32(s.set.fds[s.port]), Events: unix.POLLOUT}}
	_, _ = unix.Poll(fds, 100)
}
