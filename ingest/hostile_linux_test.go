package ingest

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Descriptors that arrive with a datagram on a unix socket are not accepted. Otherwise a sender could use up all
// descriptors of the process, which could then open neither segments nor connections.
func TestUnixgramDescriptors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	u, err := ListenUDP(path, &UDPOptions{Network: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	s := newSink()
	wait := serve(t, u, s)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	raw, err := w.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var sent error
	if err := raw.Control(func(w uintptr) {
		sent = unix.Sendmsg(fd, []byte("with descriptors"), unix.UnixRights(int(w), int(w)), &unix.SockaddrUnix{Name: path}, 0)
	}); err != nil || sent != nil {
		t.Fatal(err, sent)
	}
	w.Close()
	s.await(t, "the record", func() bool { return s.n == 1 })
	r.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("somebody still has what was sent: %v", err)
	}
	shutdown(t, u)
	wait()
	s.balance(t, u.Stats())
}

// An inherited socket may have options set that put control messages before the segment size. If the segment size were
// cut off, an aggregate of datagrams would be taken for one datagram.
func TestGROInheritedOptions(t *testing.T) {
	pc, f := bound(t)
	control(t, pc, func(fd int) error {
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVMARK, 1),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, unix.SOF_TIMESTAMPING_RX_SOFTWARE|unix.SOF_TIMESTAMPING_SOFTWARE),
			unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_PKTINFO, 1))
	})
	u, err := ListenUDP("", &UDPOptions{Files: []*os.File{f}, GRO: true})
	if err != nil {
		t.Fatal(err)
	}
	s := newSink()
	wait := serve(t, u, s)
	c := dialUDP(t, u)
	control(t, c, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, 10) })
	send(t, c, make([]byte, 95))
	s.await(t, "what was sent", func() bool { return s.bytes == 95 })
	shutdown(t, u)
	wait()
	if s.n != 10 {
		t.Errorf("%d records of 10 datagrams", s.n)
	}
	s.balance(t, u.Stats())
}

func control(t *testing.T, c *net.UDPConn, f func(fd int) error) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		if cerr := raw.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
			err = cerr
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Whether the kernel delivers aggregates is a property of the socket, which an earlier process or a successor that has
// died may have set. The listener splits them into datagrams even if it has not requested GRO.
func TestGROOfOthers(t *testing.T) {
	for _, when := range []string{"before", "meanwhile"} {
		t.Run(when, func(t *testing.T) {
			pc, f := bound(t)
			c, err := net.Dial("udp", pc.LocalAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			control(t, c.(*net.UDPConn), func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, 10) })
			aggregate := func() {
				control(t, pc, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) })
				send(t, c, make([]byte, 95))
			}
			o := &UDPOptions{Files: []*os.File{f}}
			if when == "before" {
				aggregate()
				o.MaxRecord = 10
			}
			u, err := ListenUDP("", o)
			if err != nil {
				t.Fatal(err)
			}
			s := newSink()
			wait := serve(t, u, s)
			if when == "meanwhile" {
				aggregate()
			}
			s.await(t, "what was sent", func() bool { return s.acct.Received.Bytes == 95 })
			shutdown(t, u)
			wait()
			if s.n != 10 {
				t.Errorf("%d records of 10 datagrams", s.n)
			}
			s.balance(t, u.Stats())
		})
	}
}
