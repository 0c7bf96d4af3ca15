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
	// silentAfter is how long a sender must have been quiet to count as silent: many send only a mark every few minutes.
	silentAfter = 5 * time.Minute
	// establishedLeast is how many records a sender must certainly have sent to count as a source that should continue.
	establishedLeast = 1000
)

// Established reports whether this is certainly a source of records: it has certainly sent a thousand, and more than may
// have come from other addresses. An address that was forged a few times is not established. Only an established sender is
// listed when it becomes silent, and gets metrics of its own.
func (s *Sender) Established() bool {
	return s.Received.Records >= establishedLeast && s.Over < s.Received.Records
}

// sendersOf merges the senders of the listeners of a class.
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
