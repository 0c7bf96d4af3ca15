package drain

import (
	"context"
	"sync"
	"testing"

	"github.com/penstock-go/penstock/spool/segment"
)

// TestBalanceWhileRecordsArrive: the account of a class that still receives is a consistent snapshot, so it balances.
func TestBalanceWhileRecordsArrive(t *testing.T) {
	w := newWorld(t)
	d, sp := w.start(Options{})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		batch := []segment.Record{{Data: []byte("a record")}}
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
	r := &run{d: d}
	for range 1000 {
		if cr, _ := r.classBalance(d.all()[0]); cr.Err != "" {
			t.Error(cr.Err)
			break
		}
	}
	close(stop)
	wg.Wait()
	if _, err := d.Stop(t.Context(), "test"); err != nil {
		t.Error(err)
	}
}
