package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/segment"
)

// space is a network namespace. It exists as long as its keeper process, which ends with this process however that ends, so
// nothing is left behind.
type space struct {
	t  testing.TB
	ns *os.File
	// keeper is the process into whose namespace interfaces can be moved.
	keeper int
}

// need skips a test that cannot run here. In CI it fails instead.
func need(t testing.TB) {
	t.Helper()
	missing := ""
	for _, name := range []string{"nft", "ip"} {
		if _, err := exec.LookPath(name); err != nil {
			missing = "the program " + name + " is missing"
		}
	}
	if os.Geteuid() != 0 {
		missing = "network namespaces need root"
	}
	switch {
	case missing == "":
	case os.Getenv("CI") == "true":
		t.Fatal(missing)
	default:
		t.Skip(missing)
	}
}

func newSpace(t testing.TB) *space {
	t.Helper()
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // Pdeathsig is bound to the thread; LockOSThread keeps the thread from ending
	err = cmd.Start()
	runtime.UnlockOSThread()
	if err != nil {
		t.Fatal("a network namespace cannot be made: ", err)
	}
	s := &space{t: t, keeper: cmd.Process.Pid}
	t.Cleanup(func() { hold.Close(); _ = cmd.Wait() })
	if s.ns, err = os.Open(fmt.Sprintf("/proc/%d/ns/net", s.keeper)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.ns.Close() })
	s.run("ip", "link", "set", "lo", "up")
	for _, name := range []string{"all", "default"} { // an address that is still being checked for duplicates does not answer
		s.sysctl("ipv6/conf/"+name+"/accept_dad", "0")
	}
	return s
}

// do calls f on a thread in the namespace: sockets that f opens and processes that it starts belong to the namespace.
func (s *space) do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- err
			return
		}
		defer home.Close()
		if err := unix.Setns(int(s.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		err = f()
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back == nil {
			runtime.UnlockOSThread() // without this, the thread ends with the goroutine
		}
		done <- err
	}()
	return <-done
}

func (s *space) must(f func() error) {
	s.t.Helper()
	if err := s.do(f); err != nil {
		s.t.Fatal(err)
	}
}

// run runs a command in the namespace, and returns its output.
func (s *space) run(args ...string) string {
	s.t.Helper()
	var out []byte
	s.must(func() (err error) {
		if out, err = exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			err = fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
		}
		return err
	})
	return string(out)
}

func (s *space) sysctl(name, value string) {
	s.t.Helper()
	s.must(func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) })
}

// link connects two namespaces by a pair of interfaces, each with addresses.
func link(a, b *space, name string, ofA, ofB []string) {
	a.t.Helper()
	a.run("ip", "link", "add", name, "type", "veth", "peer", "name", name+"p", "netns", fmt.Sprint(b.keeper))
	for _, end := range []struct {
		s     *space
		name  string
		addrs []string
	}{{a, name, ofA}, {b, name + "p", ofB}} {
		for _, addr := range end.addrs {
			end.s.run("ip", "addr", "add", addr, "dev", end.name, "nodad")
		}
		end.s.run("ip", "link", "set", end.name, "txqueuelen", "10000", "up")
	}
}

// port is the port of relays and targets in these tests.
const port = 5514

// field is a client, a relay and targets, each in its own namespace.
type field struct {
	t                      testing.TB
	client, relay, servers *space
	targets                []*target
	seen                   *seen
	list                   string // the file with the targets
	sent, away             uint64 // lost: not arrived and not in flight
	conn                   *net.UDPConn
}

// relay4 and relay6 are the listen addresses of the relay.
var relay4, relay6 = netip.MustParseAddrPort(fmt.Sprintf("10.250.1.1:%d", port)), netip.MustParseAddrPort(fmt.Sprintf("[fd00:1::1]:%d", port))

// targetAddr is the address of the i-th target.
func targetAddr(i int) netip.AddrPort {
	return netip.MustParseAddrPort(fmt.Sprintf("10.250.3.%d:%d", 11+i, port))
}

func target6(i int) netip.AddrPort {
	return netip.MustParseAddrPort(fmt.Sprintf("[fd00:3::%d]:%d", 11+i, port))
}

// newField makes a field with n targets. proxied: datagrams begin with PROXY headers.
func newField(t testing.TB, n int, proxied bool) *field {
	t.Helper()
	need(t)
	f := &field{t: t, client: newSpace(t), relay: newSpace(t), servers: newSpace(t), seen: &seen{}, list: filepath.Join(t.TempDir(), "targets")}
	link(f.client, f.relay, "east", []string{"10.250.1.2/24", "fd00:1::2/64"}, []string{"10.250.1.1/24", "fd00:1::1/64"})
	addrs := []string{"10.250.3.2/24", "fd00:3::2/64"}
	for i := range n {
		addrs = append(addrs, targetAddr(i).Addr().String()+"/24", target6(i).Addr().String()+"/64")
	}
	link(f.relay, f.servers, "west", []string{"10.250.3.1/24", "fd00:3::1/64"}, addrs)
	f.client.run("ip", "route", "add", "default", "via", "10.250.1.1")
	f.servers.run("ip", "route", "add", "default", "via", "10.250.3.1")
	f.servers.run("ip", "-6", "route", "add", "default", "via", "fd00:3::1")
	f.relay.sysctl("ipv4/ip_forward", "1")
	f.relay.sysctl("ipv6/conf/all/forwarding", "1")
	for i := range n {
		f.targets = append(f.targets, f.newTarget(i, proxied))
	}
	f.dial(relay4)
	return f
}

// dial makes the client send to an address.
func (f *field) dial(to netip.AddrPort) {
	f.t.Helper()
	f.client.must(func() (err error) {
		f.conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
		return err
	})
	conn := f.conn
	f.t.Cleanup(func() { conn.Close() })
}

// use replaces the list of targets.
func (f *field) use(lines ...string) {
	f.t.Helper()
	next := f.list + ".next"
	if err := os.WriteFile(next, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(next, f.list); err != nil {
		f.t.Fatal(err)
	}
}

// addrs returns the lines of a list: the targets from i (included) to j (not included).
func addrs(i, j int) (lines []string) {
	for ; i < j; i++ {
		lines = append(lines, targetAddr(i).String())
	}
	return lines
}

// window is how many datagrams may be in flight. The kernel queues 1,000 packets for each interface and processor. On a machine
// that is busy with other work, a sender that catches up after a pause fills that queue, and the kernel drops the rest, which
// no relay sees.
const window = 400

// send sends n numbered datagrams at a rate, or more slowly if they do not arrive as fast.
func (f *field) send(n, rate, size int) {
	f.t.Helper()
	b := make([]byte, size)
	begin := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := 0; i < n; {
		due := min(n, int(time.Since(begin).Seconds()*float64(rate)), i+window/4)
		for ; i < due; i++ {
			binary.BigEndian.PutUint64(b, f.sent)
			_, err := f.conn.Write(b)
			if errors.Is(err, unix.ECONNREFUSED) { // of an earlier datagram: this one was not sent
				_, err = f.conn.Write(b)
			}
			if err != nil {
				f.t.Fatal(err)
			}
			f.sent++
		}
		f.await(tick.C)
		<-tick.C
	}
}

// await waits until there is room in the window. Datagrams that have not arrived after a while are queued elsewhere, or lost.
func (f *field) await(tick <-chan time.Time) {
	last, quiet := f.seen.count(), time.Now()
	for f.sent-f.away-last > window-window/4 {
		<-tick
		have := f.seen.count()
		if have != last {
			last, quiet = have, time.Now()
		}
		if time.Since(quiet) > 200*time.Millisecond {
			f.away = f.sent - have
		}
		f.away = min(f.away, f.sent-have)
	}
}

// arrived waits until n datagrams, or all that still arrive, have arrived, and returns their number. Only a test with losses
// waits long.
func (f *field) arrived(n uint64) uint64 {
	last, quiet := uint64(0), time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		have := f.seen.count()
		if have != last {
			last, quiet = have, time.Now()
		}
		if have >= n || time.Since(quiet) > 10*time.Second {
			return have
		}
		<-tick.C
	}
}

// wantAll fails unless every datagram that was sent has arrived once.
func (f *field) wantAll() {
	f.t.Helper()
	have := f.arrived(f.sent)
	if twice := f.seen.twice.Load(); have != f.sent || twice != 0 {
		f.t.Errorf("%d of %d datagrams arrived, %d twice; dropped by receivers: %d", have, f.sent, twice, f.dropped())
	}
}

func (f *field) dropped() (n uint64) {
	for _, t := range f.targets {
		s := t.udp.Stats()
		l := s.Lost.Total()
		n += l.Records
	}
	return n
}

// seen is the set of numbered datagrams that have arrived.
type seen struct {
	mu    sync.Mutex
	bits  []uint64
	n     uint64
	twice atomic.Uint64
	short atomic.Uint64
}

func (s *seen) note(number uint64) {
	if number > 1<<32 { // not one of our datagrams
		s.short.Add(1)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for uint64(len(s.bits)) <= number/64 {
		s.bits = append(s.bits, 0)
	}
	if s.bits[number/64]&(1<<(number%64)) != 0 {
		s.twice.Add(1)
		return
	}
	s.bits[number/64] |= 1 << (number % 64)
	s.n++
}

func (s *seen) count() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// target is a server that counts datagrams, and says whether it is ready.
type target struct {
	addr  netip.AddrPort
	udp   *ingest.UDP
	seen  *seen
	got   atomic.Uint64
	last  atomic.Int64 // when, Unix nanoseconds
	sick  atomic.Bool
	mu    sync.Mutex
	from  map[netip.Addr]uint64
	ports map[uint16]bool
}

func (f *field) newTarget(i int, proxied bool) *target {
	f.t.Helper()
	g := &target{addr: targetAddr(i), seen: f.seen, from: map[netip.Addr]uint64{}, ports: map[uint16]bool{}}
	listen := func(addr, network string) *ingest.UDP {
		o := &ingest.UDPOptions{Network: network}
		if proxied {
			o.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("10.250.3.1/32"), netip.MustParsePrefix("fd00:3::1/128")}
		}
		var u *ingest.UDP
		f.servers.must(func() (err error) { u, err = ingest.ListenUDP(addr, o); return err })
		served := make(chan struct{})
		go func() { defer close(served); _ = u.Serve(g) }()
		f.t.Cleanup(func() { u.Close(); <-served })
		return u
	}
	g.udp = listen(g.addr.String(), "udp4")
	listen(target6(i).String(), "udp6")
	var l net.Listener
	f.servers.must(func() (err error) { l, err = net.Listen("tcp", g.addr.Addr().String()+":8080"); return err })
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if g.sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	f.t.Cleanup(func() { srv.Close(); <-done })
	return g
}

var _ ingest.Sink = (*target)(nil)

func (g *target) Append(ctx context.Context, batch []segment.Record) (uint64, error) {
	return g.Offer(ctx, batch)
}

func (g *target) Account(segment.Account) {}

func (g *target) Offer(_ context.Context, batch []segment.Record) (uint64, error) {
	g.mu.Lock()
	for i := range batch {
		g.from[batch[i].Src.Addr()]++
		g.ports[batch[i].Src.Port()] = true
	}
	g.mu.Unlock()
	for i := range batch {
		if len(batch[i].Data) < 8 {
			g.seen.short.Add(1)
			continue
		}
		g.seen.note(binary.BigEndian.Uint64(batch[i].Data))
	}
	g.last.Store(batch[len(batch)-1].Time)
	g.got.Add(uint64(len(batch)))
	return 0, nil
}

// program builds the relay once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "udprelay")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "udprelay")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if built.Load() {
			if path, err := program(); err == nil {
				os.RemoveAll(filepath.Dir(path))
			}
		}
		os.Exit(code)
	}))
}

var built atomic.Bool

// process is a running relay.
type process struct {
	f    *field
	cmd  *exec.Cmd
	log  *logBuffer
	http string
	done chan error
}

// start starts a relay in the relay's namespace, and waits until it is ready. env is additional environment, files additional
// descriptors.
func (f *field) start(files []*os.File, args ...string) *process {
	f.t.Helper()
	built.Store(true)
	path, err := program()
	if err != nil {
		f.t.Fatal(err)
	}
	p := &process{f: f, log: &logBuffer{}, done: make(chan error, 1)}
	args = append([]string{"-targets", "file:" + f.list, "-http", "10.250.3.1:0", "-log-level", "debug"}, args...)
	p.cmd = exec.Command(path, args...)
	if len(files) > 0 { // as with systemd, the shell becomes the process
		sh := append([]string{"-c", fmt.Sprintf(`export LISTEN_PID=$$ LISTEN_FDS=%d LISTEN_FDNAMES=relay; exec "$0" "$@"`, len(files)), path}, args...)
		p.cmd = exec.Command("sh", sh...)
		p.cmd.ExtraFiles = files
	}
	p.cmd.Stderr = p.log
	p.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	f.relay.must(p.cmd.Start)
	go func() { p.done <- p.cmd.Wait() }()
	f.t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	p.wait("state at /status.json", func(line string) {
		_, addr, _ := strings.Cut(line, "addr=")
		p.http = "http://" + strings.TrimSpace(addr)
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; <-tick.C {
		code, body := p.get("/readyz")
		if code == http.StatusOK {
			return p
		}
		if time.Since(begin) > time.Minute {
			f.t.Fatalf("the relay does not become ready: %s\n%s", body, p.log)
		}
	}
}

// wait waits for a line of the log.
func (p *process) wait(text string, use func(line string)) {
	p.f.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); time.Since(begin) < time.Minute; <-tick.C {
		for line := range strings.Lines(p.log.String()) {
			if strings.Contains(line, text) {
				if use != nil {
					use(line)
				}
				return
			}
		}
		select {
		case err := <-p.done:
			p.done <- err
			if !strings.Contains(p.log.String(), text) {
				p.f.t.Fatalf("the relay ended: %v\n%s", err, p.log)
			}
		default:
		}
	}
	p.f.t.Fatalf("the log has no line with %q:\n%s", text, p.log)
}

func (p *process) get(path string) (code int, body string) {
	p.f.t.Helper()
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, network, addr string) (c net.Conn, err error) {
		err = p.f.servers.do(func() (err error) { c, err = net.Dial(network, addr); return err })
		return c, err
	}}}
	resp, err := client.Get(p.http + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// end sends a signal, and waits until the process has ended.
func (p *process) end(sig os.Signal) error {
	p.f.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.f.t.Fatal(err)
	}
	err := <-p.done
	p.done <- err
	return err
}

// logBuffer is a log that is read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
