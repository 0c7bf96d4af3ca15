package sftpship

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/sftpc"
	"github.com/penstock-go/penstock/internal/test/faultproxy"
	"github.com/penstock-go/penstock/internal/test/testserver"
)

// BenchmarkUpload compares what a 64 MiB object costs over one connection: sent and synced; with all that Put does, where the server
// hashes it ("hash"), and where it is read back ("read"); and by OpenSSH's own client, which neither syncs nor verifies. They take turns,
// since a shared machine changes from minute to minute; the metrics are medians, the ratios those of each turn.
//
// OpenSSH's client connects each time. "first" makes a new connection for each upload too, which counts in its time, and
// "later" uses one connection for all.
//
//	go test -run - -bench Upload -benchtime 5x ./ship/sftpship
func BenchmarkUpload(b *testing.B) {
	for _, rtt := range []time.Duration{0, 20 * time.Millisecond, 80 * time.Millisecond} {
		for _, name := range []string{"first", "later"} {
			b.Run(fmt.Sprintf("rtt=%v/%s", rtt, name), func(b *testing.B) { benchmarkUpload(b, rtt, name == "first") })
		}
	}
}

func benchmarkUpload(b *testing.B, rtt time.Duration, first bool) {
	const size = 64 << 20
	client := testserver.Find(b, "sftp", "openssh-client")
	s := testserver.StartSSHD(b)
	url, addr, known := s.URL("d"), s.Addr, s.KnownHosts
	if rtt > 0 {
		var p *faultproxy.TCP
		p, url = startProxy(b, url)
		p.SetDelay(rtt / 2)
		addr, known = p.Addr, knownHostsOf(b, url)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		b.Fatal(err)
	}
	o, body := objectOf("object", size)
	file := filepath.Join(b.TempDir(), "object")
	bytes, err := io.ReadAll(body)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(file, bytes, 0o600); err != nil {
		b.Fatal(err)
	}
	send := func(h *Destination) error {
		return h.do(context.Background(), "send", func(t *turn) error {
			u := &upload{turn: t, h: h, o: o, tmp: h.path("sent")}
			f, err := u.Open(u.tmp, sftpc.Write|sftpc.Create|sftpc.Excl).Wait()
			if err == nil {
				_, err = u.send(context.Background(), f, body)
			}
			return err
		})
	}
	put := func(h *Destination) error {
		_, err := h.Put(context.Background(), o, body)
		return err
	}
	ways := []struct {
		name   string
		verify Verify
		upload func(h *Destination) error
	}{
		{"send", VerifyExec, send},
		{"hash", VerifyExec, put},
		{"read", VerifyReadBack, put},
		{"openssh", "", func(*Destination) error {
			cmd := exec.Command(client, "-q", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "UserKnownHostsFile="+known,
				"-i", s.KeyFile, "-P", port, "-b", "-", s.User+"@"+host)
			cmd.Stdin = strings.NewReader(fmt.Sprintf("put %s %s\n", file, filepath.Join(s.Dir, "d", "theirs")))
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		}},
	}
	connected := map[Verify]*Destination{}
	for _, v := range []Verify{VerifyExec, VerifyReadBack} {
		connected[v] = open(b, url, &Options{StallTimeout: time.Minute, Verify: v})
		if err := connected[v].Check(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	speeds := make([][]float64, len(ways))
	for b.Loop() {
		for i, w := range ways {
			h := connected[w.verify]
			if first && h != nil {
				h = open(b, url, &Options{StallTimeout: time.Minute, Verify: w.verify})
			}
			begin := time.Now()
			if err := w.upload(h); err != nil {
				b.Fatal(err)
			}
			speeds[i] = append(speeds[i], size/1e6/time.Since(begin).Seconds())
			if err := os.RemoveAll(filepath.Join(s.Dir, "d")); err != nil {
				b.Fatal(err)
			}
			s.URL("d")
			if first && h != nil {
				h.Close()
			}
			for _, c := range connected {
				c.dirs.clear()
				c.there.clear()
			}
		}
	}
	median := func(of func(i int) float64) float64 {
		v := make([]float64, len(speeds[0]))
		for i := range v {
			v[i] = of(i)
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	theirs := len(ways) - 1
	for i, w := range ways {
		b.ReportMetric(median(func(n int) float64 { return speeds[i][n] }), w.name+"-MB/s")
		if i < theirs {
			b.ReportMetric(median(func(n int) float64 { return speeds[i][n] / speeds[theirs][n] }), w.name+"/openssh")
		}
	}
}
