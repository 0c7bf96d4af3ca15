//go:build linux

package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/ingest/udprelay"
)

// Relay is a machine with examples/udprelay and its engine nft. The stage has two, and each is a front with sources of its own.
// heavy is in front of the balancer udp-vpn, for the source that sends half of all datagrams, and gives these the source ports
// of generations. spray replaces a balancer, and sends to the healthy servers in turn.
type Relay struct {
	name    string
	ns      *Namespace
	in      netip.AddrPort // where it takes datagrams
	port    uint16         // of its targets, too
	dir     string         // of the list and the log
	program string
	args    []string
	client  *http.Client

	mu      sync.Mutex
	targets map[netip.Addr]bool // whether each drains
	cmd     *exec.Cmd
}

// The names of the relays, which are those of their fronts.
const (
	heavyName = "udp-heavy"
	sprayName = "udp-spray"
)

// makeRelays makes the machines. A relay starts when it has a target: udprelay refuses an empty list.
func (s *Stage) makeRelays() (err error) {
	vpn := s.front("udp-vpn")
	heavy := []string{
		"-mode", "generations", "-rotate", (s.Rules.Idle + s.Rules.Idle/4).String(), "-flow-timeout", s.Rules.Idle.String(),
	}
	if s.heavy, err = s.newRelay(heavyName, []netip.Addr{vpn.addr.Addr()}, heavy); err != nil {
		return err
	}
	// The times of checks are long enough for a busy machine, on which all servers share the cores.
	spray := []string{
		"-mode", "spray", "-check", fmt.Sprintf("http://{host}:%d/readyz/%s", statusPort, classes[0]), "-check-every", "500ms", "-check-timeout", "1500ms",
	}
	if s.spray, err = s.newRelay(sprayName, ever(), spray); err != nil {
		return err
	}
	return s.heavy.use(vpn.addr.Addr(), false)
}

func (s *Stage) newRelay(name string, targets []netip.Addr, args []string) (*Relay, error) {
	f := fronts[slices.IndexFunc(fronts, func(f front) bool { return f.name == name })]
	ns, err := s.net.machine(name, wan(f.host), lan(f.host))
	if err != nil {
		return nil, err
	}
	r := &Relay{
		name: name, ns: ns, in: netip.AddrPortFrom(wan(f.host), f.port), port: f.port, dir: s.onDisk(name), client: dialer(ns),
		program: filepath.Join(filepath.Dir(s.programs[0]), "udprelay"), targets: map[netip.Addr]bool{},
	}
	// -leave: the kernel forwards on while the program is restarted.
	r.args = append([]string{"-engine", "nft", "-leave", "-listen", r.in.String(), "-targets", "file:" + r.list(), "-http", fmt.Sprintf("%v:%d", wan(f.host), statusPort)}, args...)
	for _, set := range []error{
		os.MkdirAll(r.dir, 0o755),
		ns.Set("net.ipv4.ip_forward", "1"),
		// heavy sends out of the interface through which it received: the kernel must not redirect senders to a shorter route.
		ns.Set("net.ipv4.conf.all.send_redirects", "0"), ns.Set("net.ipv4.conf.wan.send_redirects", "0"),
		r.count(targets),
	} {
		err = errors.Join(err, set)
	}
	return r, err
}

func (r *Relay) list() string { return filepath.Join(r.dir, "targets") }

// count makes the kernel of the relay's machine count in a table that the relay does not know: received datagrams, those that
// got a target, those that a rule of this table refuses (see refuse), and those sent to each target.
func (r *Relay) count(targets []netip.Addr) error {
	var b strings.Builder
	b.WriteString("table ip account {\n counter in {}\n counter aimed {}\n counter refused {}\n")
	var pairs []string
	for _, a := range targets {
		fmt.Fprintf(&b, " counter %s {}\n", counterName(a))
		pairs = append(pairs, fmt.Sprintf("%v : %q", a, counterName(a)))
	}
	fmt.Fprintf(&b, " chain in { type filter hook prerouting priority -350; ip daddr %v udp dport %d counter name in; }\n", r.in.Addr(), r.in.Port())
	fmt.Fprintf(&b, " chain aimed { type filter hook prerouting priority -250; ip daddr != %v udp dport %d counter name aimed; }\n", r.in.Addr(), r.port)
	b.WriteString(" chain refuse { type filter hook forward priority 0; }\n")
	fmt.Fprintf(&b, " chain out { type filter hook postrouting priority 300; udp dport %d counter name ip daddr map { %s }; }\n}\n", r.port, strings.Join(pairs, ", "))
	return commandIn(r.ns, b.String(), "nft", "-f", "-")
}

// refuse makes a rule on the relay's machine drop every fourth datagram that the relay forwards, or removes the rule.
func (r *Relay) refuse(on bool) error {
	if !on {
		return commandIn(r.ns, "", "nft", "flush", "chain", "ip", "account", "refuse")
	}
	return commandIn(r.ns, fmt.Sprintf("add rule ip account refuse udp dport %d numgen inc mod 4 0 counter name refused drop\n", r.port), "nft", "-f", "-")
}

// use adds a target to the list, or says there that it drains.
func (r *Relay) use(target netip.Addr, draining bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.targets[target] = draining
	return r.changed()
}

// forget takes a target from the list.
func (r *Relay) forget(target netip.Addr) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.targets, target)
	return r.changed()
}

// changed writes the list, and starts the relay if it has never run. r.mu is held.
func (r *Relay) changed() error {
	var lines []string
	for a, draining := range r.targets {
		line := netip.AddrPortFrom(a, r.port).String()
		if draining {
			line += " draining"
		}
		lines = append(lines, line)
	}
	if err := r.write(strings.Join(lines, "\n") + "\n"); err != nil || r.cmd != nil || len(lines) == 0 {
		return err
	}
	return r.start()
}

// write replaces the list.
func (r *Relay) write(text string) error {
	next := r.list() + ".next"
	return errors.Join(os.WriteFile(next, []byte(text), 0o644), os.Rename(next, r.list()))
}

// start starts the program, and waits until it forwards.
func (r *Relay) start() error {
	log, err := os.OpenFile(r.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	r.cmd = exec.Command(r.program, r.args...)
	r.cmd.Stdout, r.cmd.Stderr = log, log
	r.cmd.Env = []string{"PATH=/usr/sbin:/sbin:" + os.Getenv("PATH"), "HOME=/nonexistent"}
	if err := r.ns.Start(r.cmd); err != nil {
		return err
	}
	if err := until(20*time.Second, func() error { _, err := r.page("/readyz"); return err }); err != nil {
		text, _ := os.ReadFile(r.logFile())
		return fmt.Errorf("%s: %w\n%s", r.name, err, text)
	}
	return nil
}

func (r *Relay) logFile() string { return filepath.Join(r.dir, "log") }

// end ends the program with a signal.
func (r *Relay) end(sig syscall.Signal) error {
	if err := r.cmd.Process.Signal(sig); err != nil {
		return err
	}
	if err := r.cmd.Wait(); err != nil && sig != syscall.SIGKILL {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	return nil
}

// page asks the relay for a page. An answer that is not 200 is an error.
func (r *Relay) page(path string) (*relayState, error) {
	resp, err := r.client.Get(fmt.Sprintf("http://%v:%d%s", r.in.Addr(), statusPort, path))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	st := new(relayState)
	if path == "/status.json" {
		err = json.NewDecoder(resp.Body).Decode(st)
	}
	return st, err
}

// relayState is what a relay shows.
type relayState struct {
	Targets []struct {
		InUse bool `json:"in_use"`
	}
	Account *udprelay.Account
	Trouble []string
}

// usesAll is nil once the relay sends to n targets.
func (r *Relay) usesAll(n int) error {
	st, err := r.page("/status.json")
	if err != nil {
		return err
	}
	got := 0
	for _, t := range st.Targets {
		if t.InUse {
			got++
		}
	}
	if got != n {
		return fmt.Errorf("%s uses %d targets, not %d", r.name, got, n)
	}
	return nil
}
