package status

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/internal/units"
	"github.com/penstock-go/penstock/ship"
)

// rank orders the levels.
var rank = map[Level]int{OK: 0, Warning: 1, Error: 2}

// findTrouble fills in Trouble and State from everything else in the snapshot, and from the adoptions that take too long.
func (s *Snapshot) findTrouble(late []drain.Adoption) {
	for i := range s.Classes {
		c := &s.Classes[i]
		c.Spool.trouble(s.add(c.Class, ""), s.Drain.Phase == drain.PhaseRun)
		c.troubleOfClass(s.Time, s.add(c.Class, ""))
		for j := range c.Listeners {
			c.Listeners[j].trouble(s.Time, s.add(c.Class, ""))
		}
		for j := range c.Destinations {
			d := &c.Destinations[j]
			d.trouble(s.add(c.Class, d.Destination))
		}
	}
	s.troubleOfProcess(s.add("", ""))
	for i := range late {
		s.add("", "")(Warning, "If it names an error, correct that: the delivery is tried again by itself. If it is being delivered, it needs time. Keep the volume: it has the only copy of its pending records.",
			"the adopted volume %s is not delivered yet: %s", Clean(late[i].Dir), Clean(late[i].Why))
	}
	slices.SortStableFunc(s.Trouble, func(a, b Trouble) int { return cmp.Compare(rank[b.Level], rank[a.Level]) })
	s.State = OK
	if len(s.Trouble) > 0 {
		s.State = s.Trouble[0].Level
	}
}

// adder adds a trouble.
type adder func(l Level, cure, what string, args ...any)

func (s *Snapshot) add(class, dest string) adder {
	return func(l Level, cure, what string, args ...any) {
		s.Trouble = append(s.Trouble, Trouble{Level: l, Class: class, Destination: dest, What: fmt.Sprintf(what, args...), Cure: cure})
	}
}

func (s *Snapshot) troubleOfProcess(add adder) {
	if s.Drain.Outcome == drain.Incomplete || s.Drain.Outcome == drain.Mismatch {
		add(Error, "Keep this host and its disk. The report names what is left and why.", "the %s ended: %s", s.Drain.Intent, s.Drain.Outcome)
	}
	if s.Panics > 0 {
		add(Warning, "The log has the stack of each: correct the program.", "code of this program panicked %d times", s.Panics)
	}
	for _, d := range s.Disks {
		switch {
		case d.Err != "":
			add(Warning, "Check the disk of "+d.Dir+" (dmesg, the cloud's volume status). Keep it: it has the only copy of what is not delivered.", "the size of the disk is unknown: %s", d.Err)
		case d.Total > 0 && d.Free < d.Total/20:
			add(Warning, "Enlarge the disk, or get the destinations to take the backlog. Delete nothing below "+d.Dir+" by hand.",
				"the disk has only %s of %s left", units.Size(d.Free), units.Size(d.Total))
		}
	}
}

func (c *Class) troubleOfClass(now time.Time, add adder) {
	if c.Down != "" {
		add(Error, "Fix what the error names; the class then starts by itself. The other classes go on.", "the class does not run: %s", c.Down)
	}
	for cause, l := range c.LostLastHour.All() {
		add(Error, cureOfLoss[cause], "%s lost in the last hour: %s", records(l.Records), cause)
	}
	for _, u := range c.Balance.Unaccounted {
		if now.Sub(u.To) < span {
			add(Warning, "Find out why the process ended (kernel log, out of memory, power). What was synced is kept.",
				"the process before was killed: what became of %s, and of at most %s more, is unknown", records(u.Known.Records), units.Size(u.AtMostBytes))
		}
	}
}

func (p *Spool) trouble(add adder, running bool) {
	switch {
	case p.Err != "":
		add(Error, "Check this host's disk (dmesg, smartctl, the cloud's volume status). Keep it: it has the only copy of what is not delivered.", "the spool takes no records: %s", p.Err)
	case p.Full:
		add(Error, "Get the destinations to take the backlog, or raise the quota or enlarge the disk. UDP is lost meanwhile; other senders wait.",
			"the spool is full: %s of %s", units.Size(p.Used), units.Size(p.Quota))
	case p.Quota > 0 && p.Used > p.Quota/10*8:
		add(Warning, "Get the destinations to take the backlog, or raise the quota or enlarge the disk.", "%s of the spool's %s are used", units.Size(p.Used), units.Size(p.Quota))
	}
	if p.Frozen != "" && running {
		add(Warning, "Nothing is deleted before every destination has confirmed it again, which goes on by itself; look at the states of the destinations.", "the spool is frozen: %s", p.Frozen)
	}
	for _, x := range p.Damages {
		if !x.GivenUp {
			add(Error, "Keep the disk and its files. When nothing more can be read from them, acknowledge the loss with collector give-up.",
				"%s of segment %d cannot be read although they were kept: %s", records(x.Records), x.Segment, x.Why)
		}
	}
	if p.Panics > 0 {
		add(Warning, "The log has the stack of each: correct the format or codec.", "the program's own encoder panicked %d times", p.Panics)
	}
}

func (l *Listener) trouble(now time.Time, add adder) {
	if l.Err != "" {
		add(Error, "Fix what the error names; the listener tries again by itself.", "%s %s cannot receive: %s", l.Network, l.Addr, l.Err)
	}
	if l.Panics > 0 {
		add(Warning, "The log has the stack of each: correct the Framer, Attributes or TLS callback.", "code of the listener %s %s panicked %d times", l.Network, l.Addr, l.Panics)
	}
	if l.CertificateEnds != nil {
		level, left := Warning, l.CertificateEnds.Sub(now)
		if left < urgent {
			level = Error
		}
		if left < soon {
			add(level, "Renew the certificate; the listener reads the new files by itself.", "the TLS certificate of %s ends at %s", l.Addr, l.CertificateEnds.Format(time.RFC3339))
		}
	}
	if r := l.Rate.Records; r != nil && l.ReceiveBuffer > 0 && *r > 0 {
		if second := *r * l.charge(); second > float64(l.ReceiveBuffer) {
			add(Warning, "Set rcvbuf= in the listener's URL, raise net.core.rmem_max, or use more sockets: a pause of this host then loses nothing.",
				"the receive buffer of %s %s lasts less than a second: %s of %s", l.Network, l.Addr, units.Size(l.ReceiveBuffer), units.Size(int64(second)))
		}
	}
	for _, a := range l.Allowances {
		if a.BandwidthIn > 0 || a.PacketRate > 0 || a.Conntrack > 0 {
			add(Warning, "Use a larger instance type: EC2 drops or delays packets before the kernel sees them.",
				"%s exceeded its allowance: bandwidth %d, packet rate %d, connections %d", a.Interface, a.BandwidthIn, a.PacketRate, a.Conntrack)
		}
	}
}

func (d *Destination) trouble(add adder) {
	switch d.State {
	case ship.StateOK:
	case ship.StateRetrying:
		add(Warning, d.Cure, "deliveries fail and are retried: %s", d.Err)
	default:
		add(Error, d.Cure, "the destination is %s: %s", d.State, d.Err)
	}
	if d.Panics > 0 {
		add(Warning, "The log has the stack of each: correct the destination's driver or signer.", "the program's own code for it panicked %d times", d.Panics)
	}
}

// A certificate that expires soon is a warning. Shortly before it expires it is an error, since senders that check it
// will then fail.
const (
	soon   = 14 * 24 * time.Hour
	urgent = 2 * 24 * time.Hour
)

// charge returns what the kernel charges the receive buffer for a datagram of this listener: see
// ingest.Stats.ReceiveBuffer.
func (l *Listener) charge() float64 {
	if *l.Rate.Bytes <= 512**l.Rate.Records {
		return 1280
	}
	return 2304
}
