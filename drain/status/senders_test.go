package status

import (
	"net/netip"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestSenders: the senders that have certainly sent the most come first, and those that have stopped are listed as silent,
// except for those with few records or with a count that is mostly that of other addresses.
func TestSenders(t *testing.T) {
	now := time.Now()
	from := func(last byte, own, over uint64, ago time.Duration) ingest.Sender {
		return ingest.Sender{Addr: netip.AddrFrom4([4]byte{10, 0, 0, last}), Received: segment.Tally{Records: own + over}, Over: over, LastRecord: now.Add(-ago)}
	}
	s := sendersOf([]ingest.Sender{
		from(1, 5000, 0, time.Second), from(2, 7000, 6999, time.Hour), from(3, 999, 0, time.Hour), from(4, 1000, 0, 2*time.Hour),
		from(1, 5000, 0, time.Minute), from(5, 1, 1e6, time.Second), from(6, 2000, 2000, time.Hour),
	}, now)
	names := func(all []Sender) (out string) {
		for _, x := range all {
			out += x.Sender + " "
		}
		return out
	}
	if got, want := names(s.Top), "10.0.0.1 10.0.0.2 10.0.0.6 10.0.0.4 10.0.0.3 10.0.0.5 "; got != want {
		t.Errorf("the most came from %s, want %s", got, want)
	}
	if got, want := names(s.Silent), "10.0.0.4 10.0.0.2 "; got != want {
		t.Errorf("silent are %s, want %s", got, want)
	}
	if x := s.Top[1]; x.Received.Records != 7000 || x.Over != 6999 {
		t.Errorf("the second one is %+v", x)
	}
}
