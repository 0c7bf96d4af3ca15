package segment

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Tally counts records and their payload bytes.
type Tally struct {
	Records uint64 `json:"records"`
	Bytes   uint64 `json:"bytes"`
}

// Add adds o to t.
func (t *Tally) Add(o Tally) {
	t.Records += o.Records
	t.Bytes += o.Bytes
}

// Sub returns t − o, nowhere below 0.
func (t Tally) Sub(o Tally) Tally {
	return Tally{t.Records - min(t.Records, o.Records), t.Bytes - min(t.Bytes, o.Bytes)}
}

// Account is what a listener reports to its spool: the difference since its last report. It is passed by value and
// needs no allocation.
type Account struct {
	// Received counts what reached the listener, lost records included (their bytes where seen).
	Received Tally
	// Lost counts what the listener or the kernel below it could not keep.
	Lost Losses
	// Filtered and Made count what was changed on purpose between the listener and the spool: see Ledger.
	Filtered Tally
	Made     Tally
	// Socket is the SO_COOKIE of the socket this report is about, 0 for none.
	Socket uint64
	// Drops is that socket's kernel drop counter, to which Lost[KernelOverflow] has now been accounted.
	Drops uint64
}

// Add adds the counts of o to a. Socket and Drops stay: a report is about one socket at most.
func (a *Account) Add(o Account) {
	a.Received.Add(o.Received)
	a.Lost.Add(o.Lost)
	a.Filtered.Add(o.Filtered)
	a.Made.Add(o.Made)
}

// Unaccounted marks a time for which the balance can only be bounded, since the process or the machine died: what was
// buffered then is gone. It is written by the Open that follows.
type Unaccounted struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Known counts records that a ledger block had counted as received and that are neither kept nor lost by cause.
	Known Tally `json:"known"`
	// AtMostBytes bounds what may have been taken beyond Known: the memory budget of the time.
	AtMostBytes uint64 `json:"at_most_bytes"`
}

// Delivery is the ledger's account of one destination.
type Delivery struct {
	Tally
	// Through is the sequence number up to which everything was delivered or is damaged.
	Through uint64 `json:"through"`
	// Forgotten is set for a destination that the operator gave up.
	Forgotten bool `json:"forgotten,omitempty"`
}

// Ledger holds the cumulative counters of a spool's whole life.
//
//	received + made = kept + buffered + filtered + sum(lost) + sum(unaccounted.known)
//	kept            = delivered(d) + pending(d) + damaged    for every destination d that is owed everything
//
// The first equation holds in records. It holds in bytes too if whoever changes records counts the bytes that are added as
// made, and those that are removed as filtered; an embedder's own code may not do so, and nothing depends on it.
//
// Its JSON writes counters as numbers, also those above 2^53, which Go reads exactly; other readers have to take care.
type Ledger struct {
	Version int `json:"version"`
	// Time when the counters were read.
	Time     time.Time `json:"time"`
	Received Tally     `json:"received"`
	// Made counts records beyond those received: n − 1 for a record that was split into n. Its bytes are those by which
	// records have grown.
	Made Tally `json:"made,omitzero"`
	// Filtered counts records that were dropped on purpose. Its bytes include those by which records have shrunk.
	Filtered Tally `json:"filtered,omitzero"`
	// Kept counts what was written to the log.
	Kept Tally `json:"kept"`
	// Lost by cause; a cause that never occurred is left out of the JSON.
	Lost Losses `json:"lost"`
	// Damaged counts kept records that the disk no longer returns (bytes as far as known).
	Damaged Tally `json:"damaged"`
	// Sockets holds the drop baseline per SO_COOKIE.
	Sockets      map[uint64]uint64   `json:"sockets,omitempty"`
	Unaccounted  []Unaccounted       `json:"unaccounted,omitempty"`
	Destinations map[string]Delivery `json:"destinations,omitempty"`
}

// Clone returns a copy that shares nothing with l.
func (l *Ledger) Clone() *Ledger {
	c := *l
	c.Sockets = maps.Clone(l.Sockets)
	c.Unaccounted = slices.Clone(l.Unaccounted)
	c.Destinations = maps.Clone(l.Destinations)
	return &c
}

// UnaccountedSince returns the entries that l has over an earlier ledger of the same spool: a manifest's loss lines.
func (l *Ledger) UnaccountedSince(earlier *Ledger) []Unaccounted {
	n := len(earlier.Unaccounted)
	if n == 0 {
		return slices.Clone(l.Unaccounted)
	}
	// Entries are added at the end; those at the beginning may have been joined since.
	last := earlier.Unaccounted[n-1]
	for i := len(l.Unaccounted) - 1; i >= 0; i-- {
		if u := l.Unaccounted[i]; u.To.Equal(last.To) {
			return slices.Clone(l.Unaccounted[i+1:])
		}
	}
	return slices.Clone(l.Unaccounted)
}

// Entered returns what came in: received and made.
func (l *Ledger) Entered() Tally {
	t := l.Received
	t.Add(l.Made)
	return t
}

// Settled returns what is known of what came in: kept, filtered, lost and unaccounted.
func (l *Ledger) Settled() Tally {
	t := l.Kept
	t.Add(l.Filtered)
	t.Add(l.Lost.Total())
	for _, u := range l.Unaccounted {
		t.Add(u.Known)
	}
	return t
}

// Buffered returns what was received or made and is neither kept nor filtered nor lost nor unaccounted: what waits in
// memory. It is 0, not negative, where the balance does not close.
func (l *Ledger) Buffered() Tally { return l.Entered().Sub(l.Settled()) }

// Balance checks both equations as far as the ledger alone can tell: no more records may be settled than came in, and no
// more damaged, or delivered anywhere, than was kept. What is buffered and pending is not in the ledger: its owner
// compares Buffered with what it really holds.
func (l *Ledger) Balance() error {
	var errs []error
	// Not in bytes: see Ledger.
	if s, e := l.Settled(), l.Entered(); s.Records > e.Records {
		errs = append(errs, fmt.Errorf("segment: ledger: kept, filtered, lost and unaccounted %d records, received and made %d", s.Records, e.Records))
	}
	// within reports what of the parts exceeds the whole.
	within := func(part string, p Tally, whole string, w Tally) {
		if p.Records > w.Records {
			errs = append(errs, fmt.Errorf("segment: ledger: %s %d records, %s %d", part, p.Records, whole, w.Records))
		}
		if p.Bytes > w.Bytes {
			errs = append(errs, fmt.Errorf("segment: ledger: %s %d bytes, %s %d", part, p.Bytes, whole, w.Bytes))
		}
	}
	within("damaged", l.Damaged, "kept", l.Kept)
	for _, name := range slices.Sorted(maps.Keys(l.Destinations)) {
		within("delivered to "+name, l.Destinations[name].Tally, "kept", l.Kept)
	}
	return errors.Join(errs...)
}
