//go:build linux

package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/spool/segment"
)

// Check is one thing that must hold at the end.
type Check struct {
	What   string
	OK     bool
	Detail string
}

// Verdict is the result of a run.
type Verdict struct {
	Checks  []Check
	Audit   *audit.Result
	Sent    map[string]uint64 // by run
	Dropped map[string]uint64 // datagrams by cause
	// Arrived and Bound are for the killed servers: datagrams that their processes had read and that are nowhere, and how many
	// that may be by the servers' own account.
	Arrived, Bound uint64
	Servers        []ServerVerdict
	Relays         []RelayVerdict

	ways []way
}

// ServerVerdict is the account of one server.
type ServerVerdict struct {
	Slot     int
	Instance string
	Killed   bool
	Account  Account
	Lines    map[string]uint64 // datagrams that each destination has of it
	Kept     uint64
	Lost     uint64
	Bound    uint64
}

func (v *Verdict) check(ok bool, what, format string, args ...any) {
	v.Checks = append(v.Checks, Check{what, ok, fmt.Sprintf(format, args...)})
}

// OK reports whether every check holds.
func (v *Verdict) OK() bool {
	return !slices.ContainsFunc(v.Checks, func(c Check) bool { return !c.OK })
}

// judge compares what was sent, what kernels and collectors have counted, and what the destinations hold. Every server has ended.
func (s *Stage) judge(feeds []*Feed, probe *Probe) (*Verdict, error) {
	v := &Verdict{Sent: map[string]uint64{}, Dropped: map[string]uint64{}}
	for _, f := range feeds {
		v.Sent[f.Run] = f.Sent.Load()
	}
	if probe != nil {
		v.Sent[probe.Run] = probe.sent
	}
	contents, err := s.contents(v)
	if err != nil {
		return v, err
	}
	for _, c := range contents {
		v.check(c.Repeated == 0 && c.Foreign == 0, c.Name+": no record number twice, no foreign line", "%d repeated, %d foreign, %d objects", c.Repeated, c.Foreign, c.Objects)
		var found, doubled, altered uint64
		for _, t := range c.Runs {
			found, doubled, altered = found+t.Found, doubled+t.Duplicate, altered+t.Altered
		}
		v.check(doubled == 0 && altered == 0, c.Name+": no line twice or altered", "%d lines, %d doubled, %d altered", found, doubled, altered)
	}
	fwd, err := s.forwarded()
	if err != nil {
		return v, err
	}
	for _, srv := range s.all() {
		if err := v.server(s, srv, fwd, contents); err != nil {
			return v, err
		}
	}
	if err := v.relays(s, feeds, fwd); err != nil {
		return v, err
	}
	v.datagrams(s, feeds, fwd, contents)
	if err := v.checkWays(s.linkDrops); err != nil {
		return v, err
	}
	for _, c := range contents {
		for _, f := range feeds {
			if !isUDP(f.Run) {
				v.stream(c, f.Run, f.Unconfirmed())
			}
		}
		if probe != nil {
			v.stream(c, probe.Run, probe.unconfirmed)
		}
	}
	return v, nil
}

// contents reads both destinations, while the auditor does the same: each of the three takes minutes after a long run.
func (s *Stage) contents(v *Verdict) ([]*Content, error) {
	audited := make(chan error, 1)
	go func() { audited <- s.audit(v) }()
	places := []struct{ name, dir string }{{"idc", s.onDisk("idc/data")}, {"s3", s.onDisk("s3/penstock")}}
	contents, errs := make([]*Content, len(places)), make([]error, len(places))
	var wg sync.WaitGroup
	for i, p := range places {
		wg.Go(func() { contents[i], errs[i] = readContent(p.name, p.dir, v.Sent) })
	}
	wg.Wait()
	return contents, errors.Join(append(errs, <-audited)...)
}

// audit runs the auditor with every instance that has ever lived.
func (s *Stage) audit(v *Verdict) error {
	expect := s.onDisk("expect")
	var names []string
	for _, srv := range s.all() {
		names = append(names, srv.instance.ID())
	}
	if err := os.WriteFile(expect, []byte(strings.Join(names, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(filepath.Dir(s.programs[0]), "audit"), "-deep", "-json", "-expect", expect, "-at", s.idc.url, "-at", s.bucket.url)
	cmd.Env = append(os.Environ(), s.bucket.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := s.group.ns.Start(cmd); err != nil {
		return err
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	v.Audit = new(audit.Result)
	if err := json.Unmarshal(stdout.Bytes(), v.Audit); err != nil {
		return fmt.Errorf("audit: %w\n%s%s", err, stdout.String(), stderr.String())
	}
	var findings []string
	for _, f := range v.Audit.Findings {
		findings = append(findings, fmt.Sprintf("%s %s %s %s: %s", f.Place, f.Class, f.Spool, f.Code, f.Detail))
	}
	v.check(err == nil && v.Audit.Verdict == audit.Complete, "the auditor: complete, with every instance", "%s; %d instances, %d chains, %d objects; %s",
		v.Audit.Verdict, len(names), len(v.Audit.Chains), v.Audit.Objects, strings.Join(findings[:min(len(findings), 5)], "; "))
	return nil
}

// server checks the balance of one server.
func (v *Verdict) server(s *Stage, srv *Server, fwd map[string]forwarded, contents []*Content) error {
	a, err := s.account(srv, fwd)
	if err != nil {
		return err
	}
	r := ServerVerdict{Slot: srv.slot, Instance: srv.instance.ID(), Killed: srv.killed(), Account: a, Lines: map[string]uint64{}}
	var overflow uint64
	for _, class := range classes {
		l := srv.ended[class]
		r.Kept += l.Kept.Records
		r.Lost += l.Lost.Total().Records
		overflow += l.Lost[segment.KernelOverflow].Records + l.Lost[segment.SpoolFull].Records
		for _, u := range l.Unaccounted {
			r.Bound += u.Known.Records + u.AtMostBytes/lineSize
		}
		for _, c := range contents {
			var all uint64
			for run, n := range c.Lines[l.Spool] {
				all += n
				if isUDP(run) {
					r.Lines[c.Name] += n
				}
			}
			v.check(all == l.Kept.Records && l.Delivered[c.Name].Records == l.Kept.Records && l.Pending[c.Name].Records == 0,
				fmt.Sprintf("%v, class %s: everything that it kept is at %s once", srv, class, c.Name),
				"kept %d, delivered %d, pending %d, found %d", l.Kept.Records, l.Delivered[c.Name].Records, l.Pending[c.Name].Records, all)
		}
	}
	for _, c := range contents {
		read, there := a.Kernel.Read, r.Lines[c.Name]
		if r.Killed {
			v.check(there <= read && read-there <= r.Bound, fmt.Sprintf("%v, killed: what is missing at %s is within the bound", srv, c.Name),
				"its process had read %d, found %d, missing %d, bound %d", read, there, read-there, r.Bound)
		} else {
			v.check(read == there, fmt.Sprintf("%v: every datagram that its kernel handed over is at %s", srv, c.Name), "handed over %d, found %d", read, there)
		}
	}
	if !r.Killed {
		lost := srv.ended["apart"].Lost
		v.check(lost.Total().Records == 0, fmt.Sprintf("%v: the isolated class has lost nothing", srv), "%s", lost.Text())
		v.check(a.Kernel.NoRoom == overflow && r.Bound == 0, fmt.Sprintf("%v: every datagram that its kernel dropped is counted", srv),
			"kernel %d, collector %d; unaccounted for %d", a.Kernel.NoRoom, overflow, r.Bound)
		v.check(a.InSocket() == 0 && a.Forwarded >= a.Input, fmt.Sprintf("%v: nothing is left in a socket", srv), "forwarded %d, input %d, %+v", a.Forwarded, a.Input, a.Kernel)
		v.way(srv.String(), a.OnTheWay(), srv.ns)
	} else {
		v.drop("sent to a killed server that no longer answered", a.OnTheWay())
		v.drop("in a killed server's sockets", a.InSocket())
		v.drop("in a killed server's memory", a.Kernel.Read-r.Lines[contents[0].Name])
		v.Arrived += a.Kernel.Read - r.Lines[contents[0].Name]
		v.Bound += r.Bound
	}
	v.drop("no room in the socket (kernel)", a.Kernel.NoRoom)
	v.drop("no socket (kernel)", a.Kernel.NoPort)
	v.drop("other errors (kernel)", a.Kernel.OtherLost)
	v.Servers = append(v.Servers, r)
	return nil
}

func (v *Verdict) drop(cause string, n uint64) {
	if n > 0 {
		v.Dropped[cause] += n
	}
}

// datagrams checks that each datagram that was sent is at the destinations, or counted as dropped.
func (v *Verdict) datagrams(s *Stage, feeds []*Feed, fwd map[string]forwarded, contents []*Content) {
	var sent uint64
	for _, f := range feeds {
		if !isUDP(f.Run) {
			continue
		}
		sent += f.Sent.Load()
		if f.Run == heavyName || f.Run == sprayName { // see relays
			continue
		}
		b, into, way := fwd[f.Run], f.Sent.Load(), []*Namespace{f.ns, s.front(f.Run).ns}
		if f.Run == "udp-vpn" {
			into, way = into+fwd[heavyName].Out(), append(way, s.heavy.ns)
		}
		v.check(into >= b.In, f.Run+": the balancer has not seen more than was sent", "sent %d, seen %d", into, b.In)
		v.way(f.Run+": from the clients", into-min(into, b.In), way...)
		v.drop("no target (balancer)", b.NoTarget)
		v.check(b.In == b.NoTarget+b.Out(), f.Run+": the balancer has passed on every datagram that had a target", "seen %d, no target %d, passed on %d", b.In, b.NoTarget, b.Out())
	}
	var dropped uint64
	for _, n := range v.Dropped {
		dropped += n
	}
	for _, c := range contents {
		var found uint64
		for run, t := range c.Runs {
			if isUDP(run) {
				found += t.Found
			}
		}
		v.check(sent-found == dropped, "every datagram that was sent is at "+c.Name+", or was dropped and counted", "sent %d, found %d, dropped %d %v", sent, found, dropped, v.Dropped)
	}
}

// stream checks that only lines are missing that the receiver has never confirmed.
func (v *Verdict) stream(c *Content, run string, unconfirmed []uint64) {
	t := c.Runs[run]
	may := map[uint64]bool{}
	for _, n := range unconfirmed {
		may[n] = true
	}
	missing := t.FirstMissing(int(t.Missing()))
	var wrong []uint64
	for _, n := range missing {
		if !may[n] {
			wrong = append(wrong, n)
		}
	}
	v.check(len(wrong) == 0, fmt.Sprintf("%s: every confirmed line is at %s", run, c.Name), "sent %d, found %d, unconfirmed %d, missing though confirmed %v",
		v.Sent[run], t.Found, len(unconfirmed), wrong[:min(len(wrong), 10)])
}

// killed reports whether the server was killed.
func (s *Server) killed() bool {
	return slices.ContainsFunc(s.Life(), func(st Step) bool { return st.Phase == Killed })
}
