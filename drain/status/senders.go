package status

import (
	"cmp"
	"slices"
	"time"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/segment"
)

const (
	// topSenders is how many senders of a class a Snapshot names, and how many silent ones.
	topSenders = 20
	// silentAfter is how long a sender must have been quiet to be called silent: many send a mark every few minutes only.
	silentAfter = 5 * time.Minute
	// establishedLeast is how many records a sender must certainly have sent to count as a source that should go on.
	establishedLeast = 1000
)

// Established reports whether this is a source of records beyond doubt: it has certainly sent a thousand, and more than may
// have been others'. An address that somebody forged a few times is not. Only an established sender is missed when it is
// silent, and gets metrics of its own.
func (s *Sender) Established() bool {
	return s.Received.Records >= establishedLeast && s.Over < s.Received.Records
}

// sendersOf merges what the listeners of a class know of their senders.
func sendersOf(all []ingest.Sender, now time.Time) Senders {
	s := Senders{Top: []Sender{}, Silent: []Sender{}}
	for i, x := range ingest.TopSenders(all, len(all)) {
		out := Sender{
			Sender: x.Addr.String(), Received: segment.Tally{Records: x.Least(), Bytes: x.Received.Bytes}, Over: x.Over, LastRecord: x.LastRecord.UTC(),
		}
		if i < topSenders {
			s.Top = append(s.Top, out)
		}
		if out.Established() && now.Sub(x.LastRecord) >= silentAfter {
			s.Silent = append(s.Silent, out)
		}
	}
	slices.SortFunc(s.Silent, func(a, b Sender) int { return cmp.Compare(a.LastRecord.UnixNano(), b.LastRecord.UnixNano()) })
	s.Silent = s.Silent[:min(topSenders, len(s.Silent))]
	return s
}
