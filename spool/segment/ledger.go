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

// Sub returns t − o, with 0 instead of negative numbers.
func (t Tally) Sub(o Tally) Tally {
	return Tally{t.Records - min(t.Records, o.Records), t.Bytes - min(t.Bytes, o.Bytes)}
}

// Account is a listener's report to its spool: the difference since its last report. It is passed by value and
// needs no allocation.
type Account struct {
	// Received counts the records that reached the listener, including lost ones (and their bytes if seen).
	Received Tally
	// Lost counts the records that the listener or the kernel could not keep.
	Lost Losses
	// Filtered and Made count the records that were dropped or added on purpose between the listener and the spool: see Ledger.
	Filtered Tally
	Made     Tally
	// Socket is the SO_COOKIE of the socket this report is about, 0 for none.
	Socket uint64
	// Drops is that socket's kernel drop counter, to which Lost[KernelOverflow] has now been accounted.
	Drops uint64
}

// Add adds the counts of o to a. Socket and Drops do not change: a report is about one socket at most.
func (a *Account) Add(o Account) {
	a.Received.Add(o.Received)
	a.Lost.Add(o.Lost)
	a.Filtered.Add(o.Filtered)
	a.Made.Add(o.Made)
}

// Unaccounted is a period in which the process or the machine died, so that records in memory were lost. Their number can only be
// bounded. The next Open adds it.
type Unaccounted struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Known counts records that a ledger block had counted as received and that are neither kept nor lost by cause.
	Known Tally `json:"known"`
	// AtMostBytes is an upper bound of the bytes of records that may have been accepted beyond Known: the memory budget at that time.
	AtMostBytes uint64 `json:"at_most_bytes"`
}

// Delivery is the ledger's entry for one destination.
type Delivery struct {
	Tally
	// Through is the sequence number up to which every record was delivered or is damaged.
	Through uint64 `json:"through"`
	// Forgotten is set for a destination that the operator gave up.
	Forgotten bool `json:"forgotten,omitempty"`
}

// Ledger holds the cumulative counters of a spool's whole life.
//
//	received + made = kept + buffered + filtered + sum(lost) + sum(unaccounted.known)
//	kept            = delivered(d) + pending(d) + damaged    for every destination d that is owed everything
//
// The first equation holds in records. It holds in bytes too if code that changes records counts added bytes as
// made, and removed bytes as filtered. An embedder's code may not do so, and nothing depends on it.
//
// In its JSON, counters are numbers, even above 2^53, which Go reads exactly but other readers may not.
type Ledger struct {
	Version int `json:"version"`
	// Time when the counters were read.
	Time     time.Time `json:"time"`
	Received Tally     `json:"received"`
	// Made counts records that were added to the received ones: n − 1 for a record that was split into n. Its bytes are those by which
	// records have grown.
	Made Tally `json:"made,omitzero"`
	// Filtered counts records that were dropped on purpose. Its bytes include those by which records have shrunk.
	Filtered Tally `json:"filtered,omitzero"`
	// Kept counts the records that were written to the log.
	Kept Tally `json:"kept"`
	// Lost by cause; a cause that never occurred is left out of the JSON.
	Lost Losses `json:"lost"`
	// Damaged counts kept records that can no longer be read (bytes as far as known).
	Damaged Tally `json:"damaged"`
	// Sockets holds the kernel drop counter that was last accounted for, by SO_COOKIE.
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

// UnaccountedSince returns the entries that l has and an earlier ledger of the same spool does not: a manifest's loss lines.
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

// Settled returns the part of Entered whose outcome is known: kept, filtered, lost and unaccounted.
func (l *Ledger) Settled() Tally {
	t := l.Kept
	t.Add(l.Filtered)
	t.Add(l.Lost.Total())
	for _, u := range l.Unaccounted {
		t.Add(u.Known)
	}
	return t
}

// Buffered returns the records that were received or made and are neither kept nor filtered nor lost nor unaccounted: they wait in
// memory. It is 0, not negative, if the ledger does not balance.
func (l *Ledger) Buffered() Tally { return l.Entered().Sub(l.Settled()) }

// Balance checks both equations as far as possible with the ledger alone: no more records may be settled than came in, and no
// more may be damaged, or delivered to one destination, than were kept. The ledger does not count buffered and pending records: its
// owner must compare Buffered with the records in its memory.
func (l *Ledger) Balance() error {
	var errs []error
	// Not in bytes: see Ledger.
	if s, e := l.Settled(), l.Entered(); s.Records > e.Records {
		errs = append(errs, fmt.Errorf("segment: ledger: kept, filtered, lost and unaccounted %d records, received and made %d", s.Records, e.Records))
	}
	// within adds an error for each count of a part that exceeds the whole.
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
