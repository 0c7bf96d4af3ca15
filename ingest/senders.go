package ingest

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// Sender is an address from which records came.
type Sender struct {
	Addr netip.Addr
	// Received counts its records; under load it is an estimate from every seventh datagram. Up to Over of these records
	// may have come from other addresses, whose place in the table this address has taken.
	Received segment.Tally
	Over     uint64
	// LastRecord is when its newest record was read.
	LastRecord time.Time
}

// Least is how many records certainly came from the address: Received minus Over. It ranks senders, since each address of a
// flood of forged addresses inherits a large count to which it has added almost nothing.
func (s *Sender) Least() uint64 { return s.Received.Records - s.Over }

// Senders are kept in a table of senderSets × senderWays, each in the set that its address hashes to.
const (
	senderSets = 64
	senderWays = 4
	// maxSenders is the most senders that Stats lists for a listener.
	maxSenders = senderSets
)

// senders counts records by the address of their sender, in memory that does not grow. It is the Space-Saving algorithm of
// Metwally, Agrawal and El Abbadi, with sets of four places as in a processor's cache, so that a new address needs no search
// of the whole table. It takes the place of the address with the fewest records in its set, and its count, which is then an
// upper bound. Up to about a hundred senders are all counted exactly; of more, the table has those with more than their share
// of a set.
//
// Of a burst of more than senderExact datagrams, only every senderStep-th is looked up, and counts for senderStep
// datagrams; the first one varies. Looking up each of them would cost 2 % of the time that a datagram takes.
type senders struct {
	sets [senderSets][senderWays]sender
	last *sender // of the record before
	turn int
}

const (
	senderExact = 8
	senderStep  = 7
)

// sender is a place in the table; free without an address.
type sender struct {
	addr           netip.Addr
	records, bytes uint64
	over           uint64 // at most so many of records came from other addresses
	at             int64  // when its newest record was read, in nanoseconds after clockBase
}

// note counts the datagrams of a burst.
func (s *senders) note(burst []segment.Record, now time.Time) {
	first, step := 0, 1
	if len(burst) > senderExact {
		step = senderStep
		s.turn = (s.turn + 1) % step
		first = s.turn
	}
	for i := first; i < len(burst); i += step {
		r := &burst[i]
		s.add(r.Src.Addr(), segment.Tally{Records: uint64(step), Bytes: uint64(step * len(r.Data))}, now)
	}
}

// add counts records of one sender. It ignores senders without an address, as on a unix socket.
func (s *senders) add(addr netip.Addr, t segment.Tally, now time.Time) {
	p := s.last
	if p == nil || p.addr != addr { // most records of a sender come in runs
		if !addr.IsValid() {
			return
		}
		p = s.place(addr)
		s.last = p
	}
	p.records += t.Records
	p.bytes += t.Bytes
	p.at = int64(now.Sub(clockBase))
}

// place returns the place of an address. If no place is free, it takes one from another address.
func (s *senders) place(addr netip.Addr) *sender {
	set := &s.sets[hashOf(addr)%senderSets]
	least := &set[0]
	for i := range set {
		p := &set[i]
		if p.addr == addr {
			return p
		}
		if p.records < least.records {
			least = p
		}
	}
	*least = sender{addr: addr, records: least.records, over: least.records}
	return least
}

// hashOf mixes the bits of an address, so that neighbours are in different sets.
func hashOf(addr netip.Addr) uint64 {
	b := addr.As16()
	hi, lo := bits.Mul64(binary.BigEndian.Uint64(b[:])^0x9e3779b97f4a7c15, binary.BigEndian.Uint64(b[8:])^0xd1b54a32d192ed03)
	return hi ^ lo ^ hi>>32
}

// list appends the senders of the table to all.
func (s *senders) list(all []Sender) []Sender {
	for i := range s.sets {
		for j := range s.sets[i] {
			if p := &s.sets[i][j]; p.addr.IsValid() {
				all = append(all, Sender{p.addr, segment.Tally{Records: p.records, Bytes: p.bytes}, p.over, clockBase.Add(time.Duration(p.at))})
			}
		}
	}
	return all
}

// TopSenders merges lists of senders, such as those of the listeners of a class, and returns the n that certainly sent the
// most: see Least.
func TopSenders(all []Sender, n int) []Sender {
	slices.SortFunc(all, func(a, b Sender) int { return a.Addr.Compare(b.Addr) })
	merged := all[:0]
	for _, s := range all {
		if k := len(merged) - 1; k >= 0 && merged[k].Addr == s.Addr {
			m := &merged[k]
			m.Received.Add(s.Received)
			m.Over += s.Over
			if s.LastRecord.After(m.LastRecord) {
				m.LastRecord = s.LastRecord
			}
			continue
		}
		merged = append(merged, s)
	}
	slices.SortStableFunc(merged, func(a, b Sender) int { return cmp.Compare(b.Least(), a.Least()) })
	return merged[:min(n, len(merged))]
}
