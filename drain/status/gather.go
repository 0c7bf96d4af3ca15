package status

import (
	"cmp"
	"encoding/hex"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// Snapshot gathers everything. It accesses no disk, and is cheap enough to call each second.
func (w *Watch) Snapshot() *Snapshot {
	now, st := time.Now(), w.d.Stats()
	s := &Snapshot{
		Version: 1, Time: now.UTC(), Instance: Clean(st.Instance), Build: w.build, Started: w.started.UTC(),
		NotReady: text(w.d.Ready("")), Drain: endOf(&st), Panics: st.Panics,
		Trouble: []Trouble{}, Classes: []Class{}, Disks: []Disk{}, Adoptions: []drain.Adoption{},
	}
	for _, c := range st.Classes {
		gathered := w.class(c, now)
		w.history.fill(&gathered, st.Phase == drain.PhaseRun, now)
		s.Classes = append(s.Classes, gathered)
	}
	for name, err := range st.Down {
		i := slices.IndexFunc(s.Classes, func(c Class) bool { return c.Class == name })
		if i < 0 {
			i = len(s.Classes)
			s.Classes = append(s.Classes, emptyClass(name))
		}
		s.Classes[i].Down = text(err)
	}
	slices.SortFunc(s.Classes, func(a, b Class) int { return cmp.Compare(a.Class, b.Class) })
	for _, a := range st.Adoptions {
		a.Why = Clean(a.Why)
		s.Adoptions = append(s.Adoptions, a)
	}
	s.Disks = w.disksOf(s.Classes)
	s.findTrouble(w.adopted.late(s.Adoptions, now))
	return s
}

// emptyClass returns a class of which nothing is known; its lists are [] in JSON, not null.
func emptyClass(name string) Class {
	return Class{
		Class: name, Balance: Balance{Unaccounted: []segment.Unaccounted{}}, Listeners: []Listener{}, Destinations: []Destination{},
		Spool: Spool{Damages: []Damage{}}, Senders: Senders{Top: []Sender{}, Silent: []Sender{}},
	}
}

// class gathers one class. Both balances come from one consistent snapshot.
func (w *Watch) class(dc drain.Class, now time.Time) Class {
	sp := dc.Shipper.Spool()
	st, ledger := sp.Snapshot()
	c := emptyClass(st.Class)
	c.Balance = Balance{
		Received: ledger.Received, Made: ledger.Made, Kept: ledger.Kept, Buffered: st.Buffered, Filtered: ledger.Filtered, Lost: ledger.Lost,
		Damaged: ledger.Damaged, Rewriting: st.Rewriting, Unaccounted: append(c.Balance.Unaccounted, ledger.Unaccounted...),
	}
	c.Spool = w.spool(sp, &st)
	var senders []ingest.Sender
	for _, in := range dc.Inputs {
		if l, ok := in.(ingest.Listener); ok {
			st := l.Stats()
			c.Listeners = append(c.Listeners, listener(l, &st))
			senders = append(senders, st.Senders...)
		}
	}
	c.Senders = sendersOf(senders, now)
	c.LastRecord = moment(st.LastAppend) // for a program that appends by itself
	for _, l := range c.Listeners {
		if l.LastRecord != nil && (c.LastRecord == nil || l.LastRecord.After(*c.LastRecord)) {
			c.LastRecord = l.LastRecord
		}
	}
	stats := dc.Shipper.Stats()
	for _, name := range slices.Sorted(maps.Keys(stats)) {
		d := stats[name]
		d.Delivered, d.Pending = ledger.Destinations[name].Tally, st.Pending[name]
		c.Destinations = append(c.Destinations, destination(name, d, now))
	}
	return c
}

// spool gathers the state of a spool.
func (w *Watch) spool(sp *spool.Spool, st *spool.Stats) Spool {
	s := Spool{
		Spool: st.Spool, Epoch: st.Epoch, Dir: Clean(sp.Dir()), Appended: st.Appended, Written: st.Written, Durable: st.Durable,
		Segments: st.Segments, Staged: st.Staged, Used: st.Used, Quota: st.Quota, Full: st.Full, Err: text(st.Err),
		Frozen: Clean(sp.Shelf().Frozen()), Panics: st.Panics, Damages: []Damage{},
		MemoryUsed: st.Memory.Used, MemoryQuota: st.Memory.Size, Append: newLatency(st.Times.Append), Sync: newLatency(st.Times.Sync),
	}
	seen, _ := w.disks.get(sp.Dir())
	for _, x := range seen.damages {
		s.Damages = append(s.Damages, Damage{x.Segment, x.Records, x.Found.UTC(), Clean(x.Why), x.GivenUp})
	}
	return s
}

// listener gathers one listener.
func listener(l ingest.Listener, st *ingest.Stats) Listener {
	addr := l.Addr()
	out := Listener{
		Network: network(addr), Addr: Clean(addr.String()), Received: st.Received, Lost: st.Lost, InHand: st.InHand,
		LastRecord: moment(st.LastRecord), Err: text(l.Ready()), Queue: st.Queued, ReceiveBuffer: int64(st.ReceiveBuffer),
		DropsKnown: st.DropsKnown, Stream: Stream{st.Conns, st.Refused, st.Resets}, Panics: st.Panics,
		ProxyMalformed: st.ProxyMalformed, ProxyIgnored: st.ProxyIgnored, Allowances: []Allowance{},
		Sockets: []Socket{}, CertificateEnds: moment(st.TLSExpires),
	}
	for _, s := range st.Sockets {
		out.Sockets = append(out.Sockets, Socket{s.Queued, int64(s.Buffer), int64(s.Requested), s.Drops})
	}
	for _, a := range st.Allowances {
		out.Allowances = append(out.Allowances, Allowance(a))
	}
	return out
}

func network(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.Network()
}

// destination gathers one destination of a class.
func destination(name string, st ship.DestinationStats, now time.Time) Destination {
	c := st.Chain
	d := Destination{
		Destination: name, State: st.State, Delivered: st.Delivered, Pending: st.Pending, PendingSegments: st.PendingSegments,
		Since: moment(st.Since), NextAttempt: moment(st.NextAttempt), BytesPerSecond: st.BytesPerSecond, SentBytes: st.SentBytes, Verified: st.Verified,
		Panics: st.Panics, LastSuccess: moment(st.LastSuccess), Failures: map[ship.Failure]uint64{}, Put: newLatency(st.Put),
		Verify: newLatency(st.Verify), Chain: Chain{Epoch: c.Epoch, Next: c.Next, Segment: c.Segment, Through: c.Through, Joined: c.Joined, Final: c.Final},
	}
	maps.Copy(d.Failures, st.Failures)
	if st.ETA >= 0 && st.State == ship.StateOK { // a failing destination still has the rate from before the failure
		d.UntilEmpty = seconds(st.ETA)
	}
	if st.State != ship.StateOK {
		d.Err, d.Cure = text(st.Err), cure(st.State, st.Err)
	}
	if st.Chain.Hash != [32]byte{} {
		d.Chain.Hash = hex.EncodeToString(st.Chain.Hash[:])
	}
	switch {
	case st.Pending.Records == 0:
		d.Lag = new(float64)
	case !st.Oldest.IsZero():
		d.Lag = seconds(now.Sub(st.Oldest))
	}
	return d
}

// disksOf groups the spools by file system.
func (w *Watch) disksOf(classes []Class) []Disk {
	disks, at := []Disk{}, map[string]int{}
	for _, c := range classes {
		seen, ok := w.disks.get(c.Spool.Dir)
		if !ok {
			continue
		}
		id := cmp.Or(seen.volume, c.Spool.Dir)
		i, known := at[id]
		if !known {
			i = len(disks)
			at[id] = i
			disks = append(disks, Disk{Dir: c.Spool.Dir, Total: seen.total, Free: seen.free, Err: text(seen.err)})
		}
		disks[i].Classes = append(disks[i].Classes, c.Class)
		if disks[i].UntilFull == nil && seen.err == nil {
			disks[i].UntilFull = w.history.diskTrend(c.Class, seen.free)
		}
	}
	// A disk that fills up before the quota is used up blocks the same appends.
	for _, d := range disks {
		for i := range classes {
			if p := &classes[i].Spool; d.UntilFull != nil && slices.Contains(d.Classes, classes[i].Class) && (p.UntilFull == nil || *d.UntilFull < *p.UntilFull) {
				p.UntilFull = d.UntilFull
			}
		}
	}
	return disks
}

// endOf returns the Drainer's own state.
func endOf(st *drain.Stats) Drain {
	d := Drain{
		Phase: st.Phase, Intent: st.Intent, Trigger: Clean(st.Trigger), Started: moment(st.Started), Deadline: moment(st.Deadline),
		Idle: st.Idle.Seconds(), Phases: []drain.Phase{}, Outcome: st.Outcome, Retained: st.Retained,
	}
	for _, p := range st.Phases {
		p.Err = Clean(p.Err)
		d.Phases = append(d.Phases, p)
	}
	return d
}

// moment returns a time in UTC, nil for the zero time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func seconds(d time.Duration) *float64 {
	s := max(0, d.Seconds())
	return &s
}
