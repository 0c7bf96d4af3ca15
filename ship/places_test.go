package ship_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/penstock-go/penstock/ship"
)

// TestPlaces: two workers' places hold two large uploads or sixteen small ones, and no later upload overtakes a large one
// that waits.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := ship.NewPlaces(2)
		large, small := ship.Weight(1<<20+1), ship.Weight(1<<20)
		for range 8 {
			p.Enter(ctx, small)
		}
		p.Enter(ctx, large)
		entered := make(chan bool)
		go func() { entered <- p.Enter(ctx, large) }()
		for range 8 {
			synctest.Wait()
			select {
			case <-entered:
				t.Fatal("a large one enters beside a large one and small ones")
			default:
			}
			p.Leave(small)
		}
		if !<-entered {
			t.Error("a large one does not enter when there is room")
		}
		go func() { entered <- p.Enter(ctx, small) }()
		synctest.Wait()
		cancel()
		if <-entered {
			t.Error("a small one enters where there is no room")
		}
	})
}
