//go:build linux

package fleet

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/drain/draintest"
)

// stageDir is where the volumes are mounted. Nothing outside of this process sees it.
const stageDir = "/run/fleet"

// most is how many servers a stage can ever have. (Addresses of the balancers begin above.)
const most = 40

// Setup is what differs between stages.
type Setup struct {
	Rules       rules
	HashSeed    uint32
	Line        string   // bandwidth to the IDC, as tc has it
	VolumeBytes int64    // of each server
	Spool       []string // flags of its spools
	Logf        func(format string, args ...any)
}

// Stage is everything that a fleet needs.
type Stage struct {
	Setup
	net       *network
	disk      *Volume // of the destinations and of what is only read here
	clients   map[string]*Namespace
	balancers []*Balancer
	heavy     *Relay
	spray     *Relay
	bucket    *destination
	idc       *destination
	group     *autoscaler
	began     time.Time
	programs  [2]string // the collector, before and after the upgrade

	mu      sync.Mutex
	servers []*Server // all that have ever lived
}

// front is where sources send to.
type front struct {
	name, side, class string
	host              int // in both networks
	port              uint16
	tcp               bool
}

// fronts are the load balancers, one per protocol and side, and one per protocol of the isolated class; and the relays.
var fronts = []front{
	{"udp-vpn", "vpn", "main", 201, udpVPN, false},
	{"udp-internet", "internet", "main", 202, udpNet, false},
	{"tcp-vpn", "vpn", "main", 203, tcpVPN, true},
	{"tcp-internet", "internet", "main", 204, tcpNet, true},
	{"udp-apart", "vpn", "apart", 205, udpApart, false},
	{"relp-apart", "vpn", "apart", 206, relpApart, true},
	{heavyName, "vpn", "main", 207, udpVPN, false},
	{sprayName, "internet", "main", 208, udpNet, false},
}

// newStage makes the stage without servers. The caller closes it, also after an error.
func newStage(o Setup) (*Stage, error) {
	s := &Stage{Setup: o, clients: map[string]*Namespace{}, began: time.Now()}
	if err := os.MkdirAll(filepath.Join(stageDir, "dev"), 0o755); err != nil {
		return s, err
	}
	for _, step := range []func() error{s.makeDisk, s.build, s.makeNetwork, s.makeDestinations, s.makeBalancers, s.makeRelays, s.makeGroup} {
		if err := step(); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *Stage) makeDisk() (err error) {
	if s.disk, err = newVolume(s.dev(), "stage", 64<<30); err != nil {
		return err
	}
	return s.disk.Attach(filepath.Join(stageDir, "disk"))
}

func (s *Stage) dev() string               { return filepath.Join(stageDir, "dev") }
func (s *Stage) onDisk(name string) string { return filepath.Join(stageDir, "disk", name) }

// build builds the programs. The upgrade's is the same under another name.
func (s *Stage) build() error {
	dir := s.onDisk("bin")
	cmd := exec.Command("go", "build", "-o", dir+"/", "./examples/collector", "./examples/audit", "./examples/udprelay")
	cmd.Dir = "../../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "collector"))
	if err != nil {
		return err
	}
	s.programs = [2]string{filepath.Join(dir, "collector"), filepath.Join(dir, "collector.next")}
	return os.WriteFile(s.programs[1], b, 0o755)
}

func (s *Stage) makeNetwork() (err error) {
	if s.net, err = newNetwork(); err != nil {
		return err
	}
	for i, side := range []string{"vpn", "internet"} {
		if s.clients[side], err = s.net.machine(side, wan(11+i), netip.Addr{}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage) makeDestinations() error {
	s3, err := s.net.machine("s3", netip.Addr{}, s3Addr)
	if err != nil {
		return err
	}
	idc, err := s.net.machine("idc", netip.Addr{}, idcAddr)
	if err != nil {
		return err
	}
	if err := s.net.line(idc, "lan", s.Line); err != nil {
		return err
	}
	if s.bucket, err = newBucket(s3, s3Addr, s.onDisk("s3")); err != nil {
		return fmt.Errorf("versitygw: %w", err)
	}
	if s.idc, err = newIDC(idc, idcAddr, s.onDisk("idc")); err != nil {
		return fmt.Errorf("sshd: %w", err)
	}
	return nil
}

// ever are the addresses that servers can have.
func ever() (addrs []netip.Addr) {
	for slot := 1; slot <= most; slot++ {
		addrs = append(addrs, lan(10+slot))
	}
	return addrs
}

func (s *Stage) makeBalancers() error {
	for i, f := range fronts {
		if f.name == heavyName || f.name == sprayName {
			continue
		}
		ns, err := s.net.machine(f.name, wan(f.host), lan(f.host))
		if err != nil {
			return err
		}
		in, seed := netip.AddrPortFrom(wan(f.host), f.port), s.HashSeed+uint32(i)
		b := &Balancer{name: f.name, class: f.class, ns: ns, addr: in, port: f.port, rules: s.Rules, log: s.Logf}
		if f.tcp {
			b.engine, err = newTCPEngine(ns, seed, in, f.port)
		} else {
			b.engine, err = newUDPEngine(ns, s.Rules, seed, in, f.port, ever())
		}
		if err == nil {
			err = b.start()
		}
		if err != nil {
			return fmt.Errorf("balancer %s: %w", f.name, err)
		}
		s.balancers = append(s.balancers, b)
	}
	return nil
}

func (s *Stage) makeGroup() error {
	ns, err := s.net.machine("api", netip.Addr{}, apiAddr)
	if err != nil {
		return err
	}
	s.group, err = newAutoscaler(ns, netip.AddrPortFrom(apiAddr, 80), &draintest.GroupOptions{
		HeartbeatTimeout: s.Rules.Heartbeat, Deregistration: s.Rules.Deregistration,
	})
	return err
}

// Close ends every process. What the kernel holds is freed at the end of this process.
func (s *Stage) Close() {
	for _, srv := range s.all() {
		select {
		case <-srv.done:
		default:
			_ = srv.signal(9)
			<-srv.done
		}
		_ = srv.imds.Close()
	}
	for _, b := range s.balancers {
		_ = b.stop()
	}
	for _, r := range []*Relay{s.heavy, s.spray} {
		if r != nil && r.cmd != nil && r.cmd.Process != nil {
			_ = r.end(syscall.SIGKILL)
		}
	}
	s.bucket.stop()
	s.idc.stop()
	if s.group != nil {
		_ = s.group.server.Close()
	}
}

// all lists every server that has ever lived.
func (s *Stage) all() []*Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Server(nil), s.servers...)
}

// in lists the servers that are in a phase.
func (s *Stage) in(p Phase) (list []*Server) {
	for _, srv := range s.all() {
		if srv.phase() == p {
			list = append(list, srv)
		}
	}
	return list
}

// entry is the address that the sources of a front send to.
func (s *Stage) entry(name string) string {
	switch name {
	case heavyName:
		return s.heavy.in.String()
	case sprayName:
		return s.spray.in.String()
	}
	return s.front(name).addr.String()
}

// front returns a balancer by name.
func (s *Stage) front(name string) *Balancer {
	for _, b := range s.balancers {
		if b.name == name {
			return b
		}
	}
	panic("no balancer " + name)
}
