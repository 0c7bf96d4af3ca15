package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The measurements of internal/docs/performance.md. They take minutes, and need an otherwise idle machine:
//
//	PENSTOCK_RELAY_BENCH=1 go test -v -timeout 60m -run 'TestEvenness|TestCost' ./examples/udprelay
func measuring(t *testing.T) {
	t.Helper()
	if os.Getenv("PENSTOCK_RELAY_BENCH") == "" {
		t.Skip("a measurement: PENSTOCK_RELAY_BENCH=1 takes it")
	}
	load, _ := os.ReadFile("/proc/loadavg")
	t.Logf("load at the beginning: %s", load)
}

// balancer is a load balancer like AWS's: it spreads new flows by a hash, and remembers them.
type balancer struct {
	s      *space
	forget int // seconds
	seed   int
}

const balancerAddr = "10.250.2.1"

// newBalanced makes a field whose targets are behind a load balancer in its own namespace.
func newBalanced(t testing.TB, n, forget int) (*field, *balancer) {
	t.Helper()
	f := newField(t, n, false)
	lb := &balancer{s: newSpace(t), forget: forget, seed: 1}
	link(f.relay, lb.s, "mid", []string{"10.250.2.2/24"}, []string{balancerAddr + "/24"})
	lb.s.sysctl("ipv4/ip_forward", "1")
	link(lb.s, f.servers, "lbw", []string{"10.250.4.1/24"}, []string{"10.250.4.2/24"})
	for i := range n {
		lb.s.run("ip", "route", "add", targetAddr(i).Addr().String()+"/32", "via", "10.250.4.2")
	}
	lb.s.run("ip", "route", "add", "default", "via", "10.250.2.2")
	for _, s := range []*space{f.servers, lb.s} {
		s.sysctl("ipv4/conf/all/rp_filter", "0")
		s.sysctl("ipv4/conf/default/rp_filter", "0")
	}
	return f, lb
}

// spread makes the load balancer send new flows to the first n targets.
func (lb *balancer) spread(n int) {
	lb.s.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "table ip nlb\ndelete table ip nlb\ntable ip nlb {\nct timeout u {\nprotocol udp;\nl3proto ip;\npolicy = { unreplied : %d, replied : %[1]d };\n}\n", lb.forget)
	fmt.Fprintf(&b, "chain raw { type filter hook prerouting priority -200; policy accept;\nip daddr %s udp dport %d ct timeout set \"u\";\n}\n", balancerAddr, port)
	fmt.Fprintf(&b, "chain pre { type nat hook prerouting priority -100; policy accept;\nip daddr %s udp dport %d dnat to jhash ip saddr . udp sport . ip daddr . udp dport mod 1024 seed %#x map { ", balancerAddr, port, lb.seed)
	for i := range 1024 {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d : %s", i, targetAddr(i%n).Addr())
	}
	b.WriteString(" }\n}\n}\n")
	file := filepath.Join(lb.s.t.(*testing.T).TempDir(), "nlb.nft")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		lb.s.t.Fatal(err)
	}
	lb.s.run("nft", "-f", file)
}

// shares sends for a while, and returns how many datagrams each target received.
func (f *field) shares(seconds float64, rate int) (got []float64) {
	f.t.Helper()
	before := make([]uint64, len(f.targets))
	for i, g := range f.targets {
		before[i] = g.got.Load()
	}
	f.send(int(seconds*float64(rate)), rate, 512)
	f.arrived(f.sent)
	for i, g := range f.targets {
		got = append(got, float64(g.got.Load()-before[i]))
	}
	return got
}

// portsFor returns how many ports a generation has: the default, or fewer if there are not enough descriptors.
func portsFor(engine string) string {
	var l unix.Rlimit
	const few = 200 // descriptors for everything else
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); engine == "user" && err == nil && l.Max < 24576+few {
		return fmt.Sprint(l.Max - few)
	}
	return "24576"
}

// imbalance returns the largest share divided by the mean.
func imbalance(got []float64) float64 {
	sum := 0.0
	for _, n := range got {
		sum += n
	}
	return slices.Max(got) / (sum / float64(len(got)))
}

// share returns the share of all datagrams that the targets from i on received.
func share(got []float64, i int) float64 {
	all, those := 0.0, 0.0
	for k, n := range got {
		if all += n; k >= i {
			those += n
		}
	}
	return those / all
}

// startNginx starts nginx in the relay's namespace with its port trick, and stops it at the end.
func (f *field) startNginx(to ...string) *exec.Cmd {
	f.t.Helper()
	dir := f.t.TempDir()
	servers := ""
	for _, s := range to {
		servers += "    server " + s + ";\n"
	}
	module := ""
	if matches, _ := filepath.Glob("/usr/lib/nginx/modules/ngx_stream_module.so"); len(matches) > 0 {
		module = "load_module " + matches[0] + ";\n"
	}
	conf := fmt.Sprintf(`%sdaemon off; master_process off; pid %s/pid; error_log stderr crit; worker_rlimit_nofile 20000;
events { worker_connections 16384; }
stream {
  upstream all {
%s  }
  server { listen %s udp rcvbuf=16m; proxy_pass all; proxy_requests 1; proxy_responses 0; proxy_timeout 1s; }
}
`, module, dir, servers, relay4)
	path := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.Command("nginx", "-c", path, "-p", dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	f.relay.must(cmd.Start)
	f.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 250 { // until the socket is bound
		if strings.Contains(f.relay.run("ss", "-lunH"), ":"+strconv.Itoa(port)) {
			return cmd
		}
		<-tick.C
	}
	f.t.Fatal("nginx does not listen")
	return nil
}

// TestEvenness measures the shares of 10 targets, of one client at 20,000 datagrams/s.
func TestEvenness(t *testing.T) {
	measuring(t)
	const rate = 20000
	for _, engine := range engines {
		t.Run("spray/"+engine, func(t *testing.T) {
			f := newField(t, 10, engine == "user")
			f.use(addrs(0, 10)...)
			f.start(nil, "-engine", engine, "-listen", relay4.String(), "-check", check)
			got := f.shares(5, rate)
			f.wantAll()
			t.Logf("max/mean %.4f", imbalance(got))
		})
		t.Run("generations/"+engine, func(t *testing.T) {
			var all []float64
			for seed := 1; seed <= 9; seed++ {
				f, lb := newBalanced(t, 10, 120)
				lb.seed = 0x5eed + seed*7919
				lb.spread(10)
				f.use(fmt.Sprintf("%s:%d", balancerAddr, port))
				p := f.start(nil, "-engine", engine, "-listen", relay4.String(), "-mode", "generations", "-no-proxy", "-ports", portsFor(engine))
				all = append(all, imbalance(f.shares(12, rate)))
				f.wantAll()
				_ = p.end(syscall.SIGTERM)
			}
			slices.Sort(all)
			t.Logf("%s ports, max/mean of 9 seeds: median %.4f, most %.4f", portsFor(engine), all[4], all[8])
		})
		t.Run("growth/"+engine, func(t *testing.T) {
			f, lb := newBalanced(t, 10, 6)
			lb.spread(5)
			f.use(fmt.Sprintf("%s:%d", balancerAddr, port))
			p := f.start(nil, "-engine", engine, "-listen", relay4.String(), "-mode", "generations", "-no-proxy", "-ports", portsFor(engine), "-rotate", "9s", "-flow-timeout", "6s")
			f.shares(3, rate)
			lb.spread(10)
			before := p.log.String()
			for p.log.String() == before || !strings.Contains(p.log.String()[len(before):], "next generation") {
				f.shares(0.2, rate)
			}
			got := f.shares(8, rate)
			f.wantAll()
			t.Logf("one rotation after 5 → 10, times of 1/20: max/mean %.4f, share of the new five %.1f %%", imbalance(got), 100*share(got, 5))
		})
	}
	t.Run("growth/nginx", func(t *testing.T) {
		f, lb := newBalanced(t, 10, 6)
		lb.spread(5)
		f.startNginx(fmt.Sprintf("%s:%d", balancerAddr, port))
		f.shares(3, rate)
		lb.spread(10)
		f.shares(9, rate)
		got := f.shares(8, rate)
		t.Logf("one rotation after 5 → 10, times of 1/20: max/mean %.4f, share of the new five %.1f %%; %d of %d arrived", imbalance(got), 100*share(got, 5), f.seen.count(), f.sent)
	})
}

// busy returns how long the processors were not idle, in seconds.
func busy(t *testing.T) float64 {
	t.Helper()
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	sum := 0.0
	for i, f := range strings.Fields(line)[1:9] {
		if n, _ := strconv.ParseFloat(f, 64); i != 3 && i != 4 { // idle and iowait
			sum += n
		}
	}
	return sum / 100
}

func (f *field) begin(engine string) *process {
	return f.start(nil, "-engine", engine, "-listen", relay4.String(), "-check", "off")
}

func (f *field) stop(p *process) { _ = p.end(syscall.SIGTERM) }

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// own returns the time that processes and the kernel's packet threads have used, in seconds. On a machine that is busy with
// other work, busy is meaningless.
func own(t *testing.T, pids []int) (sum float64) {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, file := range files {
		if name, _ := os.ReadFile(file); strings.HasPrefix(string(name), "ksoftirqd/") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		for _, f := range strings.Fields(rest)[11:13] {
			n, _ := strconv.ParseFloat(f, 64)
			sum += n / 100
		}
	}
	return sum
}

// flood sends n datagrams at a rate, 64 per call, over the sockets in turn.
func flood(t *testing.T, fds []int, n, rate int) {
	t.Helper()
	const size, most = 512, 64
	payload := make([]byte, size)
	iov := unix.Iovec{Base: &payload[0]}
	iov.SetLen(size)
	hdrs := make([]mmsghdr, most)
	for i := range hdrs {
		hdrs[i].hdr.Iov = &iov
		hdrs[i].hdr.SetIovlen(1)
	}
	begin, turn := time.Now(), 0
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for sent := 0; sent < n; {
		due := min(n, int(time.Since(begin).Seconds()*float64(rate)))
		for sent < due {
			r, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fds[turn%len(fds)]), uintptr(unsafe.Pointer(&hdrs[0])), uintptr(min(most, due-sent)), 0, 0, 0)
			switch errno {
			case 0:
				sent += int(r)
			case unix.ECONNREFUSED, unix.EINTR: // of an earlier one
			default:
				t.Fatal(errno)
			}
			turn++
		}
		<-tick.C
	}
}

// TestCost measures the processor time per datagram at 100,000/s, compared with nginx.
func TestCost(t *testing.T) {
	measuring(t)
	const rate, seconds, turns = 100000, 3, 7
	f := newField(t, 10, true)
	link(f.client, f.servers, "direct", []string{"10.250.9.2/24"}, []string{"10.250.9.1/24"})
	dial := func(to ...netip.AddrPort) (fds []int) {
		f.client.must(func() error {
			for _, a := range to {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					return err
				}
				if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}); err != nil {
					return err
				}
				fds = append(fds, fd)
			}
			return nil
		})
		t.Cleanup(func() {
			for _, fd := range fds {
				unix.Close(fd)
			}
		})
		return fds
	}
	var all []netip.AddrPort
	var servers []string
	for i := range 10 { // their other addresses: without the relay
		all, servers = append(all, targetAddr(i)), append(servers, targetAddr(i).String())
		f.client.run("ip", "route", "add", targetAddr(i).Addr().String()+"/32", "via", "10.250.9.1")
	}
	f.servers.run("ip", "route", "add", "10.250.1.0/24", "via", "10.250.3.1")
	f.use(servers...)
	straight, relayed := dial(all...), dial(relay4)
	received := func() (n uint64) {
		for _, g := range f.targets {
			n += g.got.Load()
		}
		return n
	}
	type result struct{ busy, own, forwarded float64 }
	measure := func(fds []int, pids ...int) result {
		pids = append(pids, os.Getpid())
		r, b, o := received(), busy(t), own(t, pids)
		flood(t, fds, rate*seconds, rate)
		last := uint64(0)
		for now := received(); now != last; now = received() { // until no more arrives
			last = now
			<-time.After(100 * time.Millisecond)
		}
		return result{busy(t) - b, own(t, pids) - o, float64(received() - r)}
	}
	way := map[string]func() result{
		"none": func() result { return measure(straight) },
		"nft":  func() result { p := f.begin("nft"); defer f.stop(p); return measure(relayed, p.cmd.Process.Pid) },
		"user": func() result { p := f.begin("user"); defer f.stop(p); return measure(relayed, p.cmd.Process.Pid) },
		"nginx": func() result {
			cmd := f.startNginx(servers...)
			defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
			return measure(relayed, cmd.Process.Pid)
		},
	}
	costs, owns, losses := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	for turn := range turns {
		none := way["none"]()
		line := fmt.Sprintf("turn %d: without %.2f s busy", turn, none.busy)
		for _, name := range []string{"nft", "user", "nginx"} {
			r := way[name]()
			cost := (r.busy - none.busy*r.forwarded/none.forwarded) / r.forwarded * 1e6
			ownCost := (r.own - none.own*r.forwarded/none.forwarded) / r.forwarded * 1e6
			costs[name], owns[name] = append(costs[name], cost), append(owns[name], ownCost)
			losses[name] = append(losses[name], 100*(1-r.forwarded/(rate*seconds)))
			line += fmt.Sprintf("; %s %.2f s, %.2f µs (own %.2f µs), %.2f %% lost", name, r.busy, cost, ownCost, losses[name][turn])
		}
		t.Log(line)
	}
	median := func(x []float64) float64 { slices.Sort(x); return x[len(x)/2] }
	nginx, ownNginx := median(costs["nginx"]), median(owns["nginx"])
	for _, name := range []string{"nft", "user", "nginx"} {
		t.Logf("%s: median %.2f µs a datagram, %.3f of nginx; own %.2f µs, %.3f; lost: median %.2f %%, most %.2f %%", name, median(costs[name]),
			median(costs[name])/nginx, median(owns[name]), median(owns[name])/ownNginx, median(losses[name]), slices.Max(losses[name]))
	}
	load, _ := os.ReadFile("/proc/loadavg")
	t.Logf("load at the end: %s", load)
}
