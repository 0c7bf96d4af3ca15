package foreign

import (
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestTeller: calls are made in order, and one that panics or hangs delays only later calls.
func TestTeller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var panics []any
		var teller Teller
		panicked := func(p *PanicError) { panics = append(panics, p.Value) }
		var got []int
		hang := make(chan struct{})
		for i := range 5 {
			teller.Tell(func() {
				switch i {
				case 1:
					panic("a hook")
				case 3:
					<-hang
				}
				got = append(got, i)
			}, panicked)
		}
		began := time.Now()
		teller.Wait(time.Second)
		if took := time.Since(began); took != time.Second {
			t.Errorf("Wait returned after %v, with a call that hangs", took)
		}
		for range MaxTold + 10 {
			teller.Tell(func() {}, panicked)
		}
		if n := teller.Dropped(); n < 9 || n > 11 {
			t.Errorf("%d calls were dropped", n)
		}
		close(hang)
		teller.Wait(time.Hour)
		if !slices.Equal(got, []int{0, 2, 3, 4}) || !slices.Equal(panics, []any{any("a hook")}) {
			t.Errorf("called %v, panics %v", got, panics)
		}
		teller.Wait(time.Hour) // there is nothing to wait for
	})
}

// TestTellerGoexit: a hook that ends its goroutine does not affect the other calls, and is reported.
func TestTellerGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var teller Teller
		var got []int
		var panics []any
		for i := range 4 {
			teller.Tell(func() {
				if i%2 == 0 {
					runtime.Goexit()
				}
				got = append(got, i)
			}, func(p *PanicError) { panics = append(panics, p.Value) })
		}
		began := time.Now()
		teller.Wait(time.Minute)
		synctest.Wait()
		if took := time.Since(began); took != 0 || !slices.Equal(got, []int{1, 3}) || !slices.Equal(panics, []any{any(errGoexit), any(errGoexit)}) {
			t.Errorf("called %v, panics %v, after %v", got, panics, took)
		}
	})
}
