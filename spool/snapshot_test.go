package spool

import (
	"sync"
	"testing"
)

// TestSnapshotCloses: Stats and Ledger of one Snapshot are of the same moment, so that both balances close while records come in.
func TestSnapshotCloses(t *testing.T) {
	s := memDir().open(t, Options{Destinations: []string{"s3"}, MaxBytes: 1 << 30})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for b := batch(0, 3, 20); ; {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.Offer(t.Context(), b); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 5000 {
		st, l := s.Snapshot()
		if l.Received.Records != l.Kept.Records+st.Buffered.Records || st.Buffered != l.Buffered() {
			t.Errorf("received %d, kept %d, buffered %d", l.Received.Records, l.Kept.Records, st.Buffered.Records)
			break
		}
		if p := st.Pending["s3"]; p != l.Kept {
			t.Errorf("pending %v, kept %v", p, l.Kept)
			break
		}
	}
	close(stop)
	wg.Wait()
}
