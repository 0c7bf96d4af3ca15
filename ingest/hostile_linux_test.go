package ingest

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Descriptors that come with a datagram on a unix socket are nobody's: were they taken in, a sender could use up all that
// the process may have, and it could open neither segments nor connections.
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
	r.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("somebody still has what was sent: %v", err)
	}
	shutdown(t, u)
	wait()
	s.balance(t, u.Stats())
}
