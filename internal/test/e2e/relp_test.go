//go:build linux

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
	"github.com/penstock-go/penstock/internal/test/testserver"
)

// relpKills is how often the collector is killed: PENSTOCK_RELP_KILLS, by default a slice of what a long run does.
func relpKills(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("PENSTOCK_RELP_KILLS"))
	if err != nil {
		return 5
	}
	return max(1, n)
}

// TestRELPKill9 kills the collector under load, again and again, while rsyslog sends to it over RELP, and so does a client that
// records what was acknowledged. In the end every line of rsyslog and every acknowledged line of the client is delivered.
func TestRELPKill9(t *testing.T) {
	dir := t.TempDir()
	const most = 1 << 21 // more lines than there will be
	relayAddr, rawAddr := testserver.FreeAddr(t), testserver.FreeAddr(t)
	out := "file://" + filepath.Join(dir, "out")
	start := func() *collector {
		return startCollector(t, filepath.Join(dir, "spool"), nil, "-listen", "relay=relp://"+relayAddr, "-listen",
			"raw=relp://"+rawAddr, "-dest", "out="+out, "-on-term", "drain", "-segment-age", "1s", "-segment-bytes", "4MiB").ready()
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()

	// rsyslog connects through a forwarder, which counts what it is answered.
	through := forward(t, relayAddr)
	input := filepath.Join(dir, "relay.log")
	feed := &feeder{path: input, answered: &through.answers, pause: make(chan struct{})}
	if err := os.WriteFile(input, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(through.addr)
	runRsyslog(t, dir, []string{rsyslogAction("relay", input,
		fmt.Sprintf(`type="omrelp" target=%q port=%q template="raw"`, host, port))})
	wg.Go(func() { feed.run(ctx, t) })
	raw := &rawClient{t: t, addr: rawAddr, acked: map[uint64]bool{}}
	producing, enough := context.WithCancel(ctx)
	defer enough()
	wg.Go(func() { raw.run(ctx, producing) })

	kills := relpKills(t)
	for range kills {
		c := start()
		relayed, acked := through.answers.Load()+100, raw.count()+500
		c.until("both clients to be answered", time.Minute, func() bool {
			return through.answers.Load() > relayed && raw.count() > acked
		})
		kill := time.After(time.Duration(rand.IntN(100_000)) * time.Microsecond)
		<-kill
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		c.wait(20 * time.Second)
	}

	c := start()
	close(feed.pause)
	enough()
	relay := fwlog.NewTally("relay", most)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%d lines for rsyslog, %d answers to it, %d delivered; the first ones missing: %v", feed.lines.Load(),
				through.answers.Load(), relay.Found, relay.FirstMissing(5))
		}
	})
	c.until("every line of rsyslog's to be delivered", 2*time.Minute, func() bool {
		sent := feed.lines.Load()
		relay = arrived(t, out, "relay", most, nil)
		return feed.done.Load() && relay.Found >= sent
	})
	c.until("the answers to the other client", time.Minute, raw.idle.Load)
	if code := c.end(syscall.SIGTERM, time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	relay = arrived(t, out, "relay", most, nil)
	for seq := range feed.lines.Load() {
		if !relay.Has(seq) {
			t.Errorf("line %d of rsyslog's is lost", seq)
		}
	}
	tally := arrived(t, out, "raw", most, nil)
	lost := 0
	for seq := range raw.acked {
		if !tally.Has(seq) {
			lost++
		}
	}
	if lost > 0 || relay.Altered+relay.Foreign+tally.Altered+tally.Foreign > 0 {
		t.Errorf("%d acknowledged lines lost; altered %d and %d, foreign %d and %d", lost, relay.Altered, tally.Altered,
			relay.Foreign, tally.Foreign)
	}
	t.Logf("%d kills: %d lines of rsyslog's, %d doubled; %d acknowledged of the other client's, %d doubled", kills,
		feed.lines.Load(), relay.Duplicate, len(raw.acked), tally.Duplicate)
}

// feeder appends lines to a file, for rsyslog to send: no more of them than it is answered, on any machine.
type feeder struct {
	path     string
	answered *atomic.Uint64
	pause    chan struct{} // closed: no more
	lines    atomic.Uint64
	done     atomic.Bool
}

func (f *feeder) run(ctx context.Context, t *testing.T) {
	gen, err := fwlog.NewGenerator("relay", 1)
	if err != nil {
		t.Error(err)
		return
	}
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer file.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for seq := uint64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-f.pause:
			f.done.Store(true)
			return
		case <-tick.C:
		}
		if seq > f.answered.Load()+5000 {
			continue
		}
		var b []byte
		for range 40 {
			b = append(gen.Append(b, 0, seq, 300), '\n')
			seq++
		}
		if _, err := file.Write(b); err != nil {
			t.Error(err)
			return
		}
		f.lines.Store(seq)
	}
}

// forwarder is a TCP relay that counts the answers.
type forwarder struct {
	addr    string
	answers atomic.Uint64
}

func forward(t *testing.T, to string) *forwarder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &forwarder{addr: l.Addr().String()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil { // it is down, and that is what the client is to notice
				client.Close()
				continue
			}
			mu.Lock()
			open[client], open[server] = true, true
			mu.Unlock()
			both := func() { client.Close(); server.Close() }
			wg.Go(func() { defer both(); _, _ = io.Copy(server, client) })
			wg.Go(func() {
				defer both()
				for r := bufio.NewReader(server); ; f.answers.Add(1) {
					line, err := r.ReadBytes('\n')
					if _, werr := client.Write(line); err != nil || werr != nil {
						return
					}
				}
			})
		}
	})
	return f
}

// rawClient sends lines, and sends them again until each is acknowledged.
type rawClient struct {
	t    *testing.T
	addr string
	idle atomic.Bool // everything is acknowledged, and there will be no more

	mu    sync.Mutex
	acked map[uint64]bool
}

func (r *rawClient) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.acked)
}

func (r *rawClient) run(ctx, producing context.Context) {
	gen, err := fwlog.NewGenerator("raw", 2)
	if err != nil {
		r.t.Error(err)
		return
	}
	var pending []uint64
	next := uint64(0)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := r.session(ctx, producing, gen, &pending, &next); err == nil {
			r.idle.Store(true)
			return
		} else if errors.Is(err, errProtocol) {
			r.t.Error(err)
			return
		}
		<-tick.C
	}
}

var errProtocol = errors.New("the server does not speak RELP")

// session sends until the connection breaks, or there is nothing more to do.
func (r *rawClient) session(ctx, producing context.Context, gen *fwlog.Generator, pending *[]uint64, next *uint64) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	answers := bufio.NewReader(conn)
	const offers = "relp_version=0\nrelp_software=test\ncommands=syslog"
	if _, err := fmt.Fprintf(conn, "1 open %d %s\n", len(offers), offers); err != nil {
		return err
	}
	for range 4 { // 200 OK, and three offers
		if _, err := answers.ReadString('\n'); err != nil {
			return err
		}
	}
	for txnr := 2; ; {
		for n := rand.IntN(300); len(*pending) <= n && producing.Err() == nil; *next++ {
			*pending = append(*pending, *next)
		}
		if len(*pending) == 0 {
			return nil
		}
		var b []byte
		for i, seq := range *pending {
			line := gen.Append(nil, 0, seq, 300)
			b = fmt.Appendf(b, "%d syslog %d %s\n", txnr+i, len(line), line)
		}
		if _, err := conn.Write(b); err != nil {
			return err
		}
		for len(*pending) > 0 {
			answer, err := answers.ReadString('\n')
			if err != nil {
				return err
			}
			switch {
			case answer == fmt.Sprintf("%d rsp 6 200 OK\n", txnr):
			case strings.HasPrefix(answer, "0 serverclose"):
				return io.EOF
			default:
				return fmt.Errorf("%w: %q for %d", errProtocol, answer, txnr)
			}
			r.mu.Lock()
			r.acked[(*pending)[0]] = true
			r.mu.Unlock()
			*pending = (*pending)[1:]
			txnr++
		}
	}
}
