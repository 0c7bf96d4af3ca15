package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
	"github.com/penstock-go/penstock/examples/loadgen/report"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ingest/relp"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/spool/segment"
)

// sink keeps the data that a listener passes to it.
type sink struct {
	mu      sync.Mutex
	records [][]byte
	come    chan struct{} // has an element after each batch
}

func (s *sink) Append(_ context.Context, batch []segment.Record) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range batch {
		s.records = append(s.records, bytes.Clone(r.Data))
	}
	select {
	case s.come <- struct{}{}:
	default:
	}
	return uint64(len(s.records)), nil
}

func (s *sink) Offer(ctx context.Context, batch []segment.Record) (uint64, error) {
	return s.Append(ctx, batch)
}
func (s *sink) WaitDurable(context.Context, uint64) error { return nil }
func (s *sink) Account(segment.Account)                   {}

// listen starts one of Penstock's listeners. shut closes it, and returns the received lines.
func listen(t *testing.T, url string) (addr string, s *sink, shut func() [][]byte) {
	t.Helper()
	l, err := ingest.Listen(url, &ingest.Options{Framings: map[string]ingest.Framing{"relp": relp.Framing}})
	if err != nil {
		t.Fatal(err)
	}
	s = &sink{come: make(chan struct{}, 1)}
	served := make(chan error, 1)
	go func() { served <- l.Serve(s) }()
	for l.Ready() != nil {
		runtime.Gosched()
	}
	var once sync.Once
	shut = func() [][]byte {
		once.Do(func() {
			if err := l.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			if err := <-served; !errors.Is(err, ingest.ErrServerClosed) {
				t.Error(err)
			}
		})
		return s.records
	}
	t.Cleanup(func() { shut() })
	return l.Addr().String(), s, shut
}

// TestFramings: with every framing, Penstock's listener receives each line once, in the requested format.
func TestFramings(t *testing.T) {
	dir := t.TempDir()
	testserver.WriteCert(t, dir, "server")
	cert := "?cert=" + dir + "/server.pem&key=" + dir + "/server.key"
	ca := "ca=" + dir + "/server.pem&name=localhost"
	const sent, size = 3000, 300
	for name, c := range map[string]struct{ listen, scheme, query, begin string }{
		"udp":         {"udp://127.0.0.1:0", "udp", "", "<134>1 "},
		"udp 3164":    {"udp://127.0.0.1:0", "udp", "?format=rfc3164", "<134>" + time.Now().UTC().Format("Jan")},
		"newline":     {"tcp://127.0.0.1:0?framing=newline", "tcp", "", "<134>1 "},
		"octet 3164":  {"tcp://127.0.0.1:0?framing=octet", "tcp", "?framing=octet&format=rfc3164", "<134>" + time.Now().UTC().Format("Jan")},
		"len16":       {"tcp://127.0.0.1:0?framing=len16", "tcp", "?framing=len16", "<134>1 "},
		"len32":       {"tcp://127.0.0.1:0?framing=len32", "tcp", "?framing=len32&format=rfc5424", "<134>1 "},
		"tls":         {"tls://127.0.0.1:0" + cert + "&framing=octet", "tls", "?framing=octet&" + ca, "<134>1 "},
		"relp":        {"relp://127.0.0.1:0", "relp", "", "<134>1 "},
		"relp window": {"relp://127.0.0.1:0", "relp", "?window=1", "<134>1 "},
		"relps":       {"relps://127.0.0.1:0" + cert, "relps", "?window=500&" + ca, "<134>1 "},
	} {
		t.Run(name, func(t *testing.T) {
			addr, s, shut := listen(t, c.listen)
			args := []string{"-to", c.scheme + "://" + addr + c.query, "-count", "3000", "-size", "300", "-run", "f", "-sources", "3", "-rate", "50000"}
			out, err := call(t.Context(), sendCommand(), args...)
			var r report.Report
			if jerr := json.Unmarshal([]byte(out), &r); err != nil || jerr != nil || r.Sent != sent || r.Bytes != sent*size {
				t.Fatalf("%v, %v: %s", err, jerr, out)
			}
			if acks := strings.HasPrefix(c.scheme, "relp"); acks != (r.Acked == sent) {
				t.Errorf("%d lines are confirmed", r.Acked)
			}
			for s.count() < sent {
				<-s.come // lost lines make this wait until the test times out
			}
			tally := fwlog.NewTally("f", sent)
			for _, line := range shut() {
				tally.Add(line)
				if !bytes.HasPrefix(line, []byte(c.begin)) || len(line) != size {
					t.Fatalf("%d bytes: %q", len(line), line)
				}
			}
			if !tally.OK() || tally.Foreign > 0 {
				t.Errorf("%d missing, %d duplicated, %d altered, %d of others", tally.Missing(), tally.Duplicate, tally.Altered, tally.Foreign)
			}
		})
	}
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records)
}

// TestRELPRefused: lines that a RELP server does not confirm are reported, and nothing hangs.
func TestRELPRefused(t *testing.T) {
	for name, c := range map[string]struct{ answers, want string }{
		"no session":     {"1 rsp 7 500 no!\n", "refuses the session: 500 no!"},
		"no RELP":        {"HTTP/1.1 400 Bad Request\r\n\r\n", "no RELP frame"},
		"refused line":   {"1 rsp 6 200 OK\n2 rsp 6 200 OK\n3 rsp 8 500 full\n", "refuses a line: 500 full (1 of"},
		"wrong number":   {"1 rsp 6 200 OK\n7 rsp 6 200 OK\n", "answers frame 7, expected 2"},
		"closes":         {"1 rsp 6 200 OK\n0 serverclose 0\n", "closes the session"},
		"ends":           {"1 rsp 6 200 OK\n2 rsp 6 200 OK\n", "1 of"},
		"ends in frames": {"1 rsp 6 200 OK\n2 rsp 6 200", "0 of"},
		"huge":           {"1 rsp 999999999 200", "999999999 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			url := peer(t, func(conn net.Conn) {
				in := bufio.NewReader(conn)
				_, _ = in.ReadString('\n')
				open, rest, _ := strings.Cut(c.answers, "OK\n")
				if rest != "" {
					_, _ = io.WriteString(conn, open+"OK\n")
					for range 4 { // the other lines of the offer, and the first two messages
						_, _ = in.ReadString('\n')
					}
					open = rest
				}
				_, _ = io.WriteString(conn, open)
				_ = conn.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, in)
			})
			out, err := call(t.Context(), sendCommand(), "-to", "relp"+strings.TrimPrefix(url, "tcp")+"?window=8", "-count", "100", "-run", "r", "-sources", "1")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v lacks %q: %s", err, c.want, out)
			}
		})
	}
}

// TestRefusedTargets: every mistake is reported before anything is sent.
func TestRefusedTargets(t *testing.T) {
	for url, want := range map[string][]string{
		"udp://h":                                 {"port is missing"},
		"ftp://h:1":                               {"use udp://"},
		"udp://h:1?framing=octet&format=gelf":     {`no parameter "framing"`, "format=rfc5424|rfc3164"},
		"tcp://h:1?framing=x&ca=y":                {"framing=newline|", `no parameter "ca"`},
		"relp://h:1?window=0":                     {"window=0"},
		"tls://h:1?ca=/nonexistent&key=/nowhere":  {"/nonexistent"},
		"relps://h:1?cert=/nonexistent&framing=x": {"cert and key", `no parameter "framing"`},
	} {
		_, err := call(t.Context(), sendCommand(), "-to", url, "-count", "1")
		for _, w := range want {
			if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v lacks %q", url, err, w)
			}
		}
	}
	_, err := call(t.Context(), sendCommand(), "-to", "udp://127.0.0.1:9", "-rate", "5", "-profile", "constant:rate=1", "-size", "3", "-sources", "0", "-spread", "x", "stray")
	for _, w := range []string{"-profile", "-size", "-sources", "-spread", "-count", `"stray"`} {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%v lacks %s", err, w)
		}
	}
}

// TestProfileKept: a ramp sends as many lines as its integral says, and the report has its course and the busiest source. The
// test's time is not that of the machine, which may be too busy to keep a rate.
func TestProfileKept(t *testing.T) {
	addr, _, _ := listen(t, "udp://127.0.0.1:0")
	file := t.TempDir() + "/r.json"
	synctest.Test(t, func(t *testing.T) {
		_, err := call(t.Context(), sendCommand(), "-to", "udp://"+addr, "-profile", "ramp:from=0,to=4000,over=1s", "-for", "1500ms", "-sources", "20", "-spread", "zipf:first=0.5", "-report", file)
		if err != nil {
			t.Fatal(err)
		}
	})
	r, err := report.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent < 3990 || r.Sent > 4000 || len(r.Samples) != 3 {
		t.Errorf("%d lines, %d samples", r.Sent, len(r.Samples))
	}
	if share := float64(r.Sources[0]) / float64(r.Sent); len(r.Sources) != 20 || share < 0.4 || share > 0.6 {
		t.Errorf("the first source has sent %.2f of all", share)
	}
	if last := r.Samples[len(r.Samples)-1]; last.Sent != r.Sent || last.Due < r.Sent {
		t.Errorf("%+v", last)
	}
}

// FuzzReadResponse: whatever a RELP peer sends, an answer is read or refused.
func FuzzReadResponse(f *testing.F) {
	for _, seed := range []string{"1 rsp 6 200 OK\n", "2 rsp 0\n", "0 serverclose 0\n", "3 rsp 8 500 full\n", "3 rsp 8 500 full", " ", "1234567890 rsp 0\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bufio.NewReader(bytes.NewReader(data))
		for {
			a, err := readResponse(in)
			if err != nil {
				return
			}
			if a.txnr < 0 || a.txnr > maxTxnr || a.code != 0 && (a.code < 100 || a.code > 999) || len(a.text) > len(data) {
				t.Fatalf("%+v", a)
			}
		}
	})
}

// TestWhole: of an interrupted write, only whole lines count as sent.
func TestWhole(t *testing.T) {
	ends := []int{10, 25, 40}
	for written, want := range map[int]int{0: 0, 9: 0, 10: 1, 24: 1, 25: 2, 39: 2, 40: 3} {
		if got := whole(ends, written); got != want {
			t.Errorf("%d bytes are %d lines, want %d", written, got, want)
		}
	}
}
