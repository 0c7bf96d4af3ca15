package spool

import (
	"errors"
	"testing"

	"github.com/penstock-go/penstock/spool/segment"
)

// TestTryOffer: a full quota and a memory budget that is used up refuse at once, and nothing of the batch is taken.
func TestTryOffer(t *testing.T) {
	for name, o := range map[string]Options{
		"quota":  {MaxBytes: 64 << 20, MemoryBytes: 256 << 20},
		"memory": {MemoryBytes: 4 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			o.Destinations, o.SegmentBytes = []string{"d"}, 1<<20
			sp, err := Open(t.TempDir(), &o)
			if err != nil {
				t.Fatal(err)
			}
			defer sp.Close()
			batch := []segment.Record{{Data: make([]byte, 1<<20)}}
			refused := func(offer func([]segment.Record) (uint64, error)) (taken uint64) {
				for range 1000 {
					last, err := offer(batch)
					if err == nil {
						taken++
						continue
					}
					if !errors.Is(err, ErrFull) || last != 0 {
						t.Fatalf("%d, %v", last, err)
					}
					return taken
				}
				t.Fatal("a thousand batches were taken")
				return 0
			}
			own := refused(sp.TryOffer)
			listeners := refused(sp.Intake().TryOffer)
			if l, n := sp.Ledger(), sp.Stats().Appended; own == 0 || l.Received.Records != own || n != own+listeners || l.Lost != (segment.Losses{}) {
				t.Errorf("%d and %d were taken, %d appended: %+v", own, listeners, n, l)
			}
		})
	}
}
