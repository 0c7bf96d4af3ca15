//go:build linux

package e2e

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/testserver"
)

// TestRefusedCalls runs a collector whose system calls are refused, as seccomp profiles, sandboxes, old kernels and file
// systems do: internal/docs/syscalls.md has the decisions. Either every record arrives, or the class is not ready and the
// drain is not complete; the report is never "complete" over records that nobody has read.
func TestRefusedCalls(t *testing.T) {
	strace := testserver.Find(t, "strace", "strace")
	for _, test := range []struct {
		calls, errno string
		starts       bool
	}{
		{"recvmmsg", "EPERM", true},
		{"recvmmsg", "ENOSYS", true},
		{"recvmmsg,recvmsg", "EPERM", false},
		{"fallocate", "EPERM", true},
		{"fallocate", "EINVAL", true},
		{"fdatasync", "ENOSYS", true},
		{"statfs", "EPERM", true},
		{"getsockopt", "EOPNOTSUPP", true},
		{"connect,shutdown,ioctl", "EPERM", true},
		{"flock", "ENOSYS", false},
	} {
		t.Run(test.calls+" "+test.errno, func(t *testing.T) {
			dest, addr := t.TempDir(), testserver.FreeAddr(t)
			under := []string{
				strace, "-D", "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf",
				"-e", "trace=" + test.calls, "-e", "inject=" + test.calls + ":error=" + test.errno,
			}
			c := startCollectorUnder(t, under, nil, t.TempDir(), nil, "-listen", "vpn=udp://"+addr, "-dest", "d=file://"+dest,
				"-on-term", "drain", "-drain-timeout", "5s", "-lifecycle", "none", "-spool-max-bytes", "1GiB")
			if !test.starts {
				c.until("the reason", 20*time.Second, func() bool { return strings.Contains(c.log.String(), "refused") })
				if code := c.end(syscall.SIGTERM, 30*time.Second); code == 0 {
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
			if code := c.end(syscall.SIGTERM, 30*time.Second); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if vpn := c.report().Classes["vpn"]; vpn.Kept.Records != sent || vpn.Lost.Total().Records != 0 {
				t.Errorf("sent %d; the report says %+v", sent, vpn)
			}
		})
	}
}
