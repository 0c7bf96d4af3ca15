package status

import (
	"cmp"
	"slices"
	"time"

	"github.com/penstock-go/penstock/ingest"
)

const (
	// topSenders is how many senders of a class a Snapshot names, and how many silent ones.
	topSenders = 20
	// silentAfter is how long a sender must have been quiet to be called silent: many send a mark every few minutes only.
	silentAfter = 5 * time.Minute
	// silentLeast is how many records it must have sent before: a host that has sent a few is no source.
	silentLeast = 100
)

// sendersOf merges what the listeners of a class know of their senders.
func sendersOf(all []ingest.Sender, now time.Time) Senders {
	s := Senders{Top: []Sender{}, Silent: []Sender{}}
	for i, x := range ingest.TopSenders(all, len(all)) {
		out := Sender{Sender: x.Addr.String(), Received: x.Received, LastRecord: x.Last.UTC()}
		if i < topSenders {
			s.Top = append(s.Top, out)
		}
		if x.Received.Records >= silentLeast && now.Sub(x.Last) >= silentAfter {
			s.Silent = append(s.Silent, out)
		}
	}
	slices.SortFunc(s.Silent, func(a, b Sender) int { return cmp.Compare(a.LastRecord.UnixNano(), b.LastRecord.UnixNano()) })
	s.Silent = s.Silent[:min(topSenders, len(s.Silent))]
	return s
}
