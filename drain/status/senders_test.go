package status

import (
	"net/netip"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestSenders: the senders of the most records come first, and those that have stopped are named, not those that never began.
func TestSenders(t *testing.T) {
	now := time.Now()
	from := func(last byte, records uint64, ago time.Duration) ingest.Sender {
		return ingest.Sender{Addr: netip.AddrFrom4([4]byte{10, 0, 0, last}), Received: segment.Tally{Records: records}, Last: now.Add(-ago)}
	}
	s := sendersOf([]ingest.Sender{from(1, 500, time.Second), from(2, 700, time.Hour), from(3, 99, time.Hour), from(4, 100, 2*time.Hour), from(1, 500, time.Minute)}, now)
	names := func(all []Sender) (out string) {
		for _, x := range all {
			out += x.Sender + " "
		}
		return out
	}
	if got, want := names(s.Top), "10.0.0.1 10.0.0.2 10.0.0.4 10.0.0.3 "; got != want {
		t.Errorf("the most came from %s, want %s", got, want)
	}
	if got, want := names(s.Silent), "10.0.0.4 10.0.0.2 "; got != want {
		t.Errorf("silent are %s, want %s", got, want)
	}
}
