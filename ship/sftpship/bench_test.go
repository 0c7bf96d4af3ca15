package sftpship

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/testserver"
)

// BenchmarkUpload compares, in alternation and against one server, what a 64 MiB object costs: sent alone, with all that
// Put does and reading back, and by OpenSSH's own client, which verifies nothing. Each row is given for loopback and for
// a round trip of 20 ms.
//
//	go test -bench Upload -benchtime 5x ./ship/sftpship
func BenchmarkUpload(b *testing.B) {
	const size = 64 << 20
	sftpClient := testserver.Find(b, "sftp", "openssh-client")
	s := testserver.StartSSHD(b, "ForceCommand internal-sftp")
	o, body := object("object", size)
	file := filepath.Join(b.TempDir(), "object")
	bytes := make([]byte, size)
	if _, err := body.ReadAt(bytes, 0); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(file, bytes, 0o600); err != nil {
		b.Fatal(err)
	}
	for _, rtt := range []time.Duration{0, 20 * time.Millisecond} {
		url, addr, known := s.URL("d"), s.Addr, s.KnownHosts
		if rtt > 0 {
			var p *proxy
			p, url = startProxy(b, url)
			p.delay = rtt / 2
			addr, known = p.addr, knownHostsOf(b, url)
		}
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			b.Fatal(err)
		}
		h := open(b, url, nil)
		n := 0
		key := func() string { n++; return fmt.Sprintf("%d-%d", rtt, n) }
		clean := func() { _ = os.RemoveAll(filepath.Join(s.Dir, "d")); s.URL("d"); h.forgetDirs() }
		row := func(name string, upload func() error) {
			b.Run(fmt.Sprintf("rtt=%v/%s", rtt, name), func(b *testing.B) {
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					if err := upload(); err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					clean()
					b.StartTimer()
				}
			})
		}
		row("send", func() error {
			return h.do(context.Background(), "send", func(s *session) error {
				return (&upload{session: s, h: h, o: o}).send(context.Background(), h.path(key()), body)
			})
		})
		row("put", func() error {
			o.Key = key()
			_, err := h.Put(context.Background(), o, body)
			return err
		})
		row("openssh", func() error {
			cmd := exec.Command(sftpClient, "-q", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "UserKnownHostsFile="+known,
				"-i", s.KeyFile, "-P", port, "-b", "-", s.User+"@"+host)
			cmd.Stdin = strings.NewReader(fmt.Sprintf("put -f %s %s\n", file, filepath.Join(s.Dir, "d", key())))
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
}
