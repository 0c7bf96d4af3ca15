package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ingest/udprelay"
)

// state reads the state of a relay. ok is false if there is no account: on a busy machine that can take longer than the relay
// waits.
func (p *process) state() (*state, bool) {
	p.f.t.Helper()
	code, body := p.get("/status.json")
	s := &state{}
	err := json.Unmarshal([]byte(body), s)
	return s, err == nil && code == 200 && s.Account != nil
}

// wantAccount waits until the account includes everything that was sent, and fails unless it balances and lost nothing.
func (p *process) wantAccount(in, lost uint64) {
	p.f.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var s *state
	for begin := time.Now(); time.Since(begin) < time.Minute; <-tick.C {
		var ok bool
		if s, ok = p.state(); ok && s.Account.In == in && s.Account.Lost() == lost && s.Account.Passing == 0 && s.Account.Balanced() {
			return
		}
	}
	p.f.t.Errorf("account %+v: want %d in, %d lost, balanced\n%v\n%s", s.Account, in, lost, s.Trouble, p.log)
}

// uses returns how often the relay has begun to use exactly these targets.
func (p *process) uses(lines []string) int {
	is := fmt.Sprint(lines)
	if len(lines) > 1 {
		is = strconv.Quote(is) // quoted as in the log, because it contains a space
	}
	return strings.Count(p.log.String(), "is="+is)
}

// metric reads a counter of the relay.
func (p *process) metric(name string) (n int) {
	p.f.t.Helper()
	_, body := p.get("/metrics")
	_, value, _ := strings.Cut(body, "\npenstock_relay_"+name+" ")
	if _, err := fmt.Sscan(value, &n); err != nil {
		p.f.t.Fatalf("%s: %v in\n%s", name, err, body)
	}
	return n
}

var engines = []string{"nft", "user"}

func eachEngine(t *testing.T, n int, f func(*testing.T, *field, string)) {
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) { f(t, newField(t, n, engine == "user"), engine) })
	}
}

const check = "http://{host}:8080/readyz"

// TestChanges: targets join, leave and drain while datagrams are forwarded, and none is lost. PENSTOCK_RELAY_BENCH sends
// 240,000 datagrams.
func TestChanges(t *testing.T) {
	each := 6000
	if os.Getenv("PENSTOCK_RELAY_BENCH") != "" {
		each = 40000
	}
	eachEngine(t, 6, func(t *testing.T, f *field, engine string) {
		f.use(addrs(0, 3)...)
		p := f.start(nil, "-engine", engine, "-listen", relay4.String(), "-check", check, "-refresh", "50ms")
		for _, lines := range [][]string{
			addrs(0, 6), addrs(3, 6), append(addrs(0, 2), targetAddr(2).String()+" draining"), addrs(2, 4), addrs(0, 6), addrs(1, 5),
		} {
			used := slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return strings.HasSuffix(line, " draining") })
			before := p.uses(used)
			f.use(lines...)
			for begin := time.Now(); p.uses(used) == before; { // as long as a busy machine takes to change the targets
				f.send(each, 20000, 512)
				if time.Since(begin) > time.Minute {
					t.Fatalf("%v is not used\n%s", lines, p.log)
				}
			}
			f.send(100, 20000, 512) // each of them receives some
		}
		f.wantAll()
		p.wantAccount(f.sent, 0)
		t.Logf("%d of %d datagrams arrived once, over 6 changes of the targets", f.seen.count(), f.sent)
		for _, g := range f.targets {
			g.mu.Lock()
			if g.got.Load() == 0 || g.from[netip.MustParseAddr("10.250.1.2")] != g.got.Load() {
				t.Errorf("%v received %d datagrams, from %v", g.addr, g.got.Load(), g.from)
			}
			g.mu.Unlock()
		}
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Errorf("%v\n%s", err, p.log)
		}
		if left := f.relay.run("nft", "list", "tables"); left != "" {
			t.Errorf("left behind: %s", left)
		}
	})
}

// TestFastChanges: the kernel may be in the middle of the rules for a datagram when they are replaced. It continues with the
// old rules, but no longer finds the entries of their maps. Hundreds of rules before the decisive one make that window long.
func TestFastChanges(t *testing.T) {
	f := newField(t, 6, false)
	o := &udprelay.Options{}
	for other := range uint16(400) {
		o.Listen = append(o.Listen, netip.AddrPortFrom(relay4.Addr(), 20000+other))
	}
	o.Listen = append(o.Listen, relay4)
	var n *udprelay.NFT
	f.relay.must(func() (err error) { n, err = udprelay.NewNFT(t.Context(), o); return err })
	use := func(from, to int) error {
		var targets []netip.AddrPort
		for ; from < to; from++ {
			targets = append(targets, targetAddr(from))
		}
		return f.relay.do(func() error { return n.Use(t.Context(), targets) })
	}
	if err := use(0, 6); err != nil {
		t.Fatal(err)
	}
	stop, changes := make(chan struct{}), make(chan int)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				changes <- i
				return
			default:
				if err := use(i%3, 4+i%3); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	f.send(40000, 40000, 100)
	close(stop)
	t.Logf("%d changes", <-changes)
	f.wantAll()
	var a *udprelay.Account
	f.relay.must(func() (err error) { a, err = n.Account(t.Context()); return err })
	if a.In != f.sent || a.Sent() != f.sent {
		t.Errorf("%+v: want %d in and out", a, f.sent)
	}
}

// TestEven: targets that stay receive equally many datagrams. None is checked, because a busy machine may delay an answer,
// which would remove the target.
func TestEven(t *testing.T) {
	eachEngine(t, 5, func(t *testing.T, f *field, engine string) {
		f.use(addrs(0, 5)...)
		f.start(nil, "-engine", engine, "-listen", relay4.String(), "-check", "off")
		f.send(5000, 20000, 100)
		f.wantAll()
		for _, g := range f.targets {
			if n := g.got.Load(); n < 999 || n > 1001 {
				t.Errorf("%v received %d of 5000", g.addr, n)
			}
		}
	})
}

// TestFragments: datagrams of two fragments arrive, over IPv4 and IPv6.
func TestFragments(t *testing.T) {
	eachEngine(t, 4, func(t *testing.T, f *field, engine string) {
		list := addrs(0, 4)
		for i := range 4 {
			list = append(list, target6(i).String())
		}
		f.use(list...)
		p := f.start(nil, "-engine", engine, "-listen", fmt.Sprintf(":%d", port), "-check", "off")
		f.send(4000, 10000, 1900)
		f.wantAll()
		f.dial(relay6)
		f.send(1, 1000, 1900) // the first resolves the neighbours
		f.wantAll()
		f.send(1000, 10000, 1900)
		f.wantAll()
		p.wantAccount(f.sent, 0)
	})
}

// TestKilled: the kernel continues to forward while no process controls it, and the next process continues the account.
func TestKilled(t *testing.T) {
	f := newField(t, 4, false)
	f.use(addrs(0, 4)...)
	args := []string{"-engine", "nft", "-listen", relay4.String(), "-check", check, "-leave"}
	for round := range 4 {
		p := f.start(nil, args...)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if round%2 == 0 {
				_ = p.end(syscall.SIGKILL)
			} else if err := p.end(syscall.SIGTERM); err != nil {
				t.Errorf("%v\n%s", err, p.log)
			}
		}()
		f.send(6000, 20000, 512)
		<-ended
	}
	f.send(2000, 20000, 512) // without a process
	p := f.start(nil, args[:len(args)-1]...)
	f.send(2000, 20000, 512)
	f.wantAll()
	p.wantAccount(f.sent, 0)
	other := f.relay.do(func() error {
		path, _ := program()
		return exec.Command(path, append([]string{"-targets", "file:" + f.list}, args...)...).Run()
	})
	if other == nil {
		t.Error("two processes control one table")
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if left := f.relay.run("nft", "list", "tables"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// TestKilledUser: a socket that outlives the process queues datagrams meanwhile. A kill loses at most the datagrams in the
// process's memory, which is one batch of 64, and duplicates none. The account of the next process begins at zero, and includes
// everything that this process received.
func TestKilledUser(t *testing.T) {
	f := newField(t, 4, true)
	f.use(addrs(0, 4)...)
	var socket *os.File
	f.relay.must(func() error {
		c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(relay4))
		if err != nil {
			return err
		}
		defer c.Close()
		socket, err = c.File()
		return err
	})
	defer socket.Close()
	const kills = 3
	for range kills {
		p := f.start([]*os.File{socket}, "-listen", "fd:relay", "-check", check)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = p.end(syscall.SIGKILL)
		}()
		f.send(4000, 20000, 512)
		<-ended
	}
	before := f.arrived(f.sent) // the rest is queued in the socket, or lost
	p := f.start([]*os.File{socket}, "-listen", "fd:relay", "-check", check)
	f.send(2000, 20000, 512)
	have := f.arrived(f.sent)
	if twice := f.seen.twice.Load(); have+kills*64 < f.sent || twice != 0 {
		t.Errorf("%d of %d arrived, %d twice: %d kills may cost 64 each", have, f.sent, twice, kills)
	}
	t.Logf("%d kills cost %d datagrams; %d were queued in the socket", kills, f.sent-have, have-before-2000)
	p.wantAccount(have-before, 0)
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("%v\n%s", err, p.log)
	}
}

// TestBrokenLists: a list that cannot be used changes nothing and is counted, and the next good list is used.
func TestBrokenLists(t *testing.T) {
	eachEngine(t, 4, func(t *testing.T, f *field, engine string) {
		f.use(addrs(0, 4)...)
		p := f.start(nil, "-engine", engine, "-listen", relay4.String(), "-check", check, "-refresh", "50ms")
		// refused sends until the relay has counted a refusal of the current list.
		refused := func(counter string) {
			t.Helper()
			before := p.metric(counter)
			for begin := time.Now(); p.metric(counter) < before+2; { // the first may be of an earlier reading, of the list before
				f.send(1000, 10000, 512)
				if time.Since(begin) > time.Minute {
					t.Fatalf("a broken list is not counted\n%s", p.log)
				}
			}
		}
		for _, broken := range [][]string{
			{""},
			{"# nothing"},
			{"10.250.3.11"},
			{"10.250.3.11:5514", "example.com:514"},
			{"10.250.3.11:5514", "10.250.3.11:5514"},
			{"0.0.0.0:5514"},
			{strings.Repeat("x", 2<<20)},
		} {
			f.use(broken...)
			refused("list_errors_total")
		}
		f.use(relay4.String()) // a good list, but the engine refuses it
		refused("failed_changes_total")
		if err := os.Remove(f.list); err != nil {
			t.Fatal(err)
		}
		refused("list_errors_total")
		f.wantAll()
		p.wantAccount(f.sent, 0)
		f.use(addrs(0, 1)...)
		p.wait("is=[10.250.3.11:5514]", nil)
		f.send(1000, 10000, 512)
		f.wantAll()
	})
}

// TestFlapping: flapping targets lose no datagram. A target that reports that it is not ready is removed, and receives nothing
// more.
func TestFlapping(t *testing.T) {
	eachEngine(t, 4, func(t *testing.T, f *field, engine string) {
		f.use(addrs(0, 4)...)
		p := f.start(nil, "-engine", engine, "-listen", relay4.String(), "-check", check, "-check-every", "50ms",
			"-check-timeout", "20s") // only the targets' answers count, not how late a busy machine delivers them
		for i := range 16 {
			f.targets[i%4].sick.Store(i%3 != 0)
			f.send(2000, 20000, 512)
		}
		f.wantAll()
		p.wantAccount(f.sent, 0)
		for _, g := range f.targets { // none is healthy: all are used
			g.sick.Store(true)
		}
		sendUntil := func(what string, holds func(*state) bool) {
			t.Helper()
			for begin := time.Now(); ; {
				if s, ok := p.state(); ok && holds(s) {
					break
				}
				f.send(2000, 20000, 512)
				if time.Since(begin) > time.Minute {
					t.Fatalf("still not: %s\n%s", what, p.log)
				}
			}
			f.wantAll() // nothing is in flight to the previous targets
		}
		sendUntil("all are used, although none is healthy", func(s *state) bool { return s.FailOpen })
		last := f.targets[3]
		before := last.got.Load()
		f.send(2000, 20000, 512)
		f.wantAll()
		if last.got.Load() == before {
			t.Error("a target receives nothing, although none is healthy")
		}
		for _, g := range f.targets[:3] {
			g.sick.Store(false)
		}
		begin := time.Now()
		sendUntil("the target that is not ready has left", func(s *state) bool { return len(s.Targets) == 4 && !s.Targets[3].InUse })
		t.Logf("it received datagrams for %v more", time.Unix(0, last.last.Load()).Sub(begin))
		before = last.got.Load()
		f.send(2000, 20000, 512)
		f.wantAll()
		if n := last.got.Load() - before; n > 0 {
			t.Errorf("a target that has left received %d datagrams more", n)
		}
		p.wantAccount(f.sent, 0)
	})
}

// TestRotation: each generation has its own ports, and none of the datagrams is lost between them.
func TestRotation(t *testing.T) {
	eachEngine(t, 2, func(t *testing.T, f *field, engine string) {
		f.use(addrs(0, 2)...)
		p := f.start(nil, "-engine", engine, "-listen", relay4.String(), "-mode", "generations", "-ports", "8192", "-first-port", "20000",
			"-rotate", "800ms", "-flow-timeout", "500ms", "-no-proxy")
		turns := func() int { return strings.Count(p.log.String(), "next generation") }
		for begin := time.Now(); turns() < 3; { // as long as a busy machine takes to open thousands of ports
			f.send(10000, 20000, 100)
			if time.Since(begin) > time.Minute {
				t.Fatalf("%d new generations\n%s", turns(), p.log)
			}
		}
		f.wantAll()
		p.wantAccount(f.sent, 0)
		var low, high int
		for port := range 65536 {
			used := false
			for _, g := range f.targets {
				g.mu.Lock()
				used = used || g.ports[uint16(port)]
				g.mu.Unlock()
			}
			switch {
			case !used:
			case port < 20000 || port >= 20000+2*8192:
				t.Fatalf("port %d was used", port)
			case port < 20000+8192:
				low++
			default:
				high++
			}
		}
		if low < 100 || high < 100 { // how many depends on how fast a busy machine opens thousands of ports
			t.Errorf("%d ports of the one generation were used, %d of the other", low, high)
		}
	})
}
