//go:build linux

package e2e

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

// TestRefusedCalls runs a collector whose system calls are refused, as by seccomp profiles, sandboxes, old kernels and file
// systems: internal/docs/syscalls.md has the decisions. Either every record arrives, or the class is not ready and the drain is
// not complete; a report never says complete if there are unread records.
func TestRefusedCalls(t *testing.T) {
	strace := testserver.Find(t, "strace", "strace")
	for _, test := range []struct {
		calls, errno string
		starts       bool
		says         string // in the log
	}{
		{"recvmmsg", "EPERM", true, "receiving with the next best one"},
		{"recvmmsg", "ENOSYS", true, "receiving with the next best one"},
		{"recvmmsg,recvmsg", "EPERM", false, "recvmsg"},
		{"recvmsg", "EINVAL", true, ""}, // only a substitute
		{"fallocate", "EPERM", true, "fallocate(2) is refused"},
		{"fallocate", "EINVAL", true, "fallocate(2) is refused"},
		{"fallocate", "EOPNOTSUPP", true, "fallocate(2) is refused"},
		{"fdatasync", "ENOSYS", true, ""},
		{"statfs", "EPERM", true, "does not report its size"},
		{"getsockopt", "EOPNOTSUPP", true, "SO_MEMINFO is refused"},
		{"connect,shutdown,ioctl", "EPERM", true, "cannot detach the socket"},
		{"connect,shutdown,ioctl,poll,ppoll", "ENOSYS", true, "cannot detach the socket"},
		{"linkat,renameat2", "EPERM", true, ""}, // of the destination: look, then rename
		{"flock", "ENOSYS", false, "flock"},
		{"getsockname", "EPERM", false, "getsockname"},
		{"setsockopt", "ENOSYS", false, "setsockopt"},
		{"bind", "EINVAL", false, "bind"},
		{"listen", "EPERM", false, "listen"},
		{"socket", "EOPNOTSUPP", false, "socket"},
		{"accept4", "EPERM", false, "accept4"},
	} {
		t.Run(test.calls+" "+test.errno, func(t *testing.T) {
			dest, addr := t.TempDir(), testserver.FreeAddr(t)
			under := []string{
				strace, "-D", "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf",
				"-e", "trace=" + test.calls, "-e", "inject=" + test.calls + ":error=" + test.errno,
			}
			// A drain that has something to deliver must not be cut short by a slow machine; the others use up their time.
			timeout := "5s"
			if test.starts {
				timeout = "60s"
			}
			c := startCollectorUnder(t, under, nil, t.TempDir(), nil, "-listen", "vpn=udp://"+addr, "-listen", "web=tcp://127.0.0.1:0", "-dest", "d=file://"+dest,
				"-on-term", "drain", "-drain-timeout", timeout, "-lifecycle", "none", "-spool-max-bytes", "1GiB")
			defer func() {
				if log := c.log.String(); !strings.Contains(log, test.says) || strings.Contains(log, "goroutine ") {
					t.Errorf("the log does not say %q, or has a dump of goroutines", test.says)
				}
			}()
			if !test.starts {
				if code := c.refused(); code == 0 {
					t.Error("complete, although nothing could be received")
				}
				return
			}
			c.ready()
			conn, err := net.Dial("udp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			const sent = 200
			for range sent {
				if _, err := conn.Write([]byte("a record")); err != nil {
					t.Fatal(err)
				}
			}
			if code := c.end(syscall.SIGTERM, 90*time.Second); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if vpn := c.report().Classes["vpn"]; vpn.Kept.Records != sent || vpn.Lost.Total().Records != 0 {
				t.Errorf("sent %d; the report says %+v", sent, vpn)
			}
		})
	}
}

// refused waits until the log names a refused call, and ends the collector unless it has ended by itself.
func (c *collector) refused() (code int) {
	c.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !strings.Contains(c.log.String(), "refused") {
		select {
		case <-tick.C:
		case err := <-c.done: // the log follows before Wait returns
			c.done <- err
			if !strings.Contains(c.log.String(), "refused") {
				c.t.Fatalf("it ended without a reason: %s", c.log.String())
			}
		case <-deadline:
			c.t.Fatalf("no reason: %s", c.log.String())
		}
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	return c.wait(30 * time.Second)
}
