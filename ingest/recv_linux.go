package ingest

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/penstock-go/penstock/spool/segment"
)

const (
	// batch is the most datagrams of one recvmmsg(2). A batch of 256 was measured to be slower.
	batch = 64
	// controlSize has room for the arrival time (SCM_TIMESTAMPNS, 32 bytes) and the GRO segment size (UDP_GRO, 24 bytes)
	// after other messages that an inherited socket may have enabled (SO_TIMESTAMPING, SO_RXQ_OVFL, SO_RCVMARK). The kernel
	// cuts off what does not fit, and without the segment size an aggregate would be taken for one datagram.
	controlSize = 256
)

// mmsghdr is struct mmsghdr of recvmmsg(2), for which golang.org/x/sys has no wrapper.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// mmsg receives with recvmmsg(2) through the runtime's poller: reads do not block, and the goroutine is parked while no
// datagram is queued. All memory that the kernel writes to is allocated once.
type mmsg struct {
	conn syscall.RawConn
	unix bool

	datagrams
	read  func(fd uintptr) bool // mmsg.readable, bound once: a method value allocates
	call  int                   // of recvCalls, the one that is not refused
	log   *limiter
	wait  bool
	n     int
	errno syscall.Errno

	hdrs    [batch]mmsghdr
	iovs    [batch]unix.Iovec
	names   [batch]unix.RawSockaddrInet6 // large enough for IPv4 too
	control [batch][controlSize / 8]uint64
	slots   [batch][]byte
	recs    []segment.Record
}

// newMmsg allocates the memory that the kernel writes to: for each datagram of a burst a slot for the payload, one for
// the sender's address and one for control messages, to which a message header points.
func newMmsg(conn syscall.RawConn, gro bool, o *UDPOptions, log *limiter) *mmsg {
	m := &mmsg{
		conn: conn, unix: o.Network == "unixgram", datagrams: datagrams{max: o.MaxRecord, behind: o.ProxyFrom}, log: log,
		recs: make([]segment.Record, 0, batch),
	}
	m.read = m.readable
	size := slotSize(o)
	if gro {
		size = maxDatagram // of an aggregate; MaxRecord limits the datagrams in it
	}
	// Slots whose distance is a power of two would start in the same few cache sets. Pages of a slot that no datagram
	// reaches are never touched, so they use only address space.
	stride := (size+63)&^63 + 17*64
	arena := make([]byte, batch*stride)
	for i := range m.slots {
		m.slots[i] = arena[i*stride:][:size:size]
		m.iovs[i].Base = &m.slots[i][0]
		m.iovs[i].SetLen(size)
		h := &m.hdrs[i].hdr
		h.Iov = &m.iovs[i]
		h.SetIovlen(1)
		// Most senders on unix sockets have no name, and records have no field for one. With room for control messages, a
		// sender could put descriptors into this process (SCM_RIGHTS) until it runs out of them.
		if !m.unix {
			h.Name = (*byte)(unsafe.Pointer(&m.names[i]))
			h.Control = (*byte)(unsafe.Pointer(&m.control[i]))
		}
	}
	m.rearm(batch)
	return m
}

// rearm restores the fields that the kernel has overwritten in the first n headers.
func (m *mmsg) rearm(n int) {
	if m.unix {
		return
	}
	for i := range m.hdrs[:n] {
		h := &m.hdrs[i].hdr
		h.SetControllen(controlSize)
		h.Namelen = unix.SizeofSockaddrInet6
	}
}

// readable is called by the poller whenever the socket may be readable.
func (m *mmsg) readable(fd uintptr) (done bool) {
	m.n, m.errno = m.recv(fd, 0)
	return m.errno != unix.EAGAIN || !m.wait
}

func (m *mmsg) receive(wait bool) (burst, error) {
	m.wait, m.n, m.errno = wait, 0, 0
	if err := m.conn.Read(m.read); err != nil {
		return burst{}, err
	}
	if m.errno == unix.EAGAIN { // only without wait
		return burst{}, nil
	}
	if m.errno != 0 {
		return burst{}, os.NewSyscallError(recvCalls[m.call].name, m.errno)
	}
	b := burst{recs: m.recs[:0]}
	for i := range m.hdrs[:m.n] {
		m.records(&b, i)
	}
	m.recs = b.recs[:0] // with GRO it may have grown
	m.rearm(m.n)
	return b, nil
}

// records adds the datagrams in slot i.
func (m *mmsg) records(b *burst, i int) {
	h, n := &m.hdrs[i].hdr, int(m.hdrs[i].len)
	at, size := parseControl(m.control[i][:], int(h.Controllen))
	r := segment.Record{Time: at}
	if !m.unix { // on a unix socket, at is when the datagram was read
		r.Src, b.last = parseName(&m.names[i]), at
	}
	if size <= 0 || size > n {
		size = n
	}
	if h.Flags&unix.MSG_TRUNC != 0 { // the head of a datagram is not a datagram
		b.truncated.Records++
		b.truncated.Bytes += uint64(n)
		return
	}
	// An aggregate is a row of datagrams of the same size, the last one possibly shorter (udp(7), UDP_GRO).
	data := m.slots[i][:n]
	for {
		l := min(size, len(data))
		r.Data = data[:l:l]
		b.add(r, &m.datagrams)
		if data = data[l:]; len(data) == 0 {
			return
		}
	}
}

// The indexes of the queued memory and of the drop counter in the result of SO_MEMINFO (linux/sock_diag.h).
const (
	memInfoQueued = 0 // SK_MEMINFO_RMEM_ALLOC
	memInfoDrops  = 8 // SK_MEMINFO_DROPS
)

// counts reads SO_MEMINFO. SO_RXQ_OVFL, which comes with the datagrams, would miss drops after the last datagram.
func (m *mmsg) counts() (c socketCounts, ok bool) {
	var info [memInfoDrops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	err := m.conn.Control(func(fd uintptr) {
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&size)), 0)
		ok = errno == 0 && size == uint32(unsafe.Sizeof(info))
	})
	return socketCounts{queued: info[memInfoQueued], drops: info[memInfoDrops]}, ok && err == nil
}

// detach connects the socket to itself: the kernel then delivers only datagrams from this address, which no other
// socket has. Closing the socket instead would lose what is queued, and closing it after a last read would lose what
// arrived in between.
func (m *mmsg) detach() (err error) {
	cerr := m.conn.Control(func(fd uintptr) {
		if m.unix { // senders get EPIPE from now on
			err = os.NewSyscallError("shutdown", unix.Shutdown(int(fd), unix.SHUT_RD))
			return
		}
		var self unix.Sockaddr
		if self, err = unix.Getsockname(int(fd)); err != nil {
			return
		}
		switch a := self.(type) {
		case *unix.SockaddrInet4:
			if a.Addr == [4]byte{} {
				a.Addr = [4]byte{127, 0, 0, 1}
			}
		case *unix.SockaddrInet6:
			if a.Addr == [16]byte{} {
				a.Addr = [16]byte{15: 1}
			}
		}
		if err = unix.Connect(int(fd), self); err == nil {
			return
		}
		if a, ok := self.(*unix.SockaddrInet6); ok { // IPv6 may be off on the loopback
			a.Addr = [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}
			err = unix.Connect(int(fd), a)
		}
	})
	if err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	return nil
}
