package monitor

import (
	"context"
	"sync"
	"testing"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestBalanceCloses: both equations hold exactly in every scrape while records arrive, are sealed and are delivered.
func TestBalanceCloses(t *testing.T) {
	w := newWorld(t)
	sp := w.class("vpn", spool.Options{SegmentBytes: 64 << 10}, nil)
	batch := []segment.Record{{Data: make([]byte, 70)}, {Data: make([]byte, 30)}}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := sp.Offer(context.Background(), batch); err != nil {
				t.Error(err)
				return
			}
		}
	})
	delivered := 0.0
	for n := 0; n < 50 || delivered == 0; n++ {
		v := w.values()
		of := func(name string) float64 { return v["penstock_"+name+`{class="vpn"}`] }
		lost := 0.0
		for cause := range segment.NumCauses {
			lost += v[`penstock_lost_records_total{cause="`+cause.String()+`",class="vpn"}`]
		}
		entered, kept := of("received_records_total")+of("made_records_total"), of("kept_records_total")
		settled := kept + of("buffered_records") + of("filtered_records_total") + of("unaccounted_records_total") + lost
		if entered != settled { // no listener has anything in hand
			t.Fatalf("received and made %v, settled %v", entered, settled)
		}
		for _, dest := range []string{"s3", "idc"} {
			at := func(name string) float64 {
				return v["penstock_"+name+`{class="vpn",destination="`+dest+`"}`]
			}
			delivered = at("delivered_records_total")
			if joined := at("chain_joined_sequence"); joined != 1 {
				t.Fatalf("%s is owed what comes from %v on", dest, joined)
			}
			if sum := delivered + at("pending_records") + of("damaged_records"); sum != kept {
				t.Fatalf("kept %v, delivered, pending and damaged at %s %v", kept, dest, sum)
			}
		}
	}
}
