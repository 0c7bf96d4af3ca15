package foreign

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestTeller: calls come in order, and one that panics or hangs delays nobody but the later ones.
func TestTeller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var panics []any
		teller := NewTeller(func(p *PanicError) { panics = append(panics, p.Value) })
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
			})
		}
		began := time.Now()
		teller.Wait(time.Second)
		if took := time.Since(began); took != time.Second {
			t.Errorf("Wait returned after %v, with a call that hangs", took)
		}
		for range MaxTold + 10 {
			teller.Tell(func() {})
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

// TestTellerGoexit: a hook that ends its goroutine takes only itself with it.
func TestTellerGoexit(t *testing.T) {
	called := make(chan error, 1)
	teller := NewTeller(func(*PanicError) {})
	teller.Tell(func() { called <- errors.New("told") })
	if err := <-called; err == nil {
		t.Error("not called")
	}
	teller.Wait(time.Minute)
}
