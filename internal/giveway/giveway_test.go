package giveway

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// work is a Yielder that works for a while, and then rests if a rest is due.
func work(y *Yielder, d time.Duration) (rested time.Duration) {
	time.Sleep(d)
	began := time.Now()
	if y.Due() {
		y.Rest()
	}
	return time.Since(began)
}

// always calls Behind until it is stopped.
func always(every time.Duration) (stop func()) {
	ended := make(chan struct{})
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				Behind()
			case <-ended:
				return
			}
		}
	}()
	return func() { close(ended); synctest.Wait() }
}

func TestRest(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	synctest.Test(t, func(t *testing.T) {
		y := NewYielder()
		defer y.Done()
		if d := work(y, pause); d != 0 {
			t.Errorf("nobody is behind: %v", d)
		}
		Behind()
		if d := work(y, pause); d != quiet*pause {
			t.Errorf("somebody was behind once: %v", d)
		}
		if d := work(y, pause); d != 0 {
			t.Errorf("nobody is behind any more: %v", d)
		}
		stop := always(2 * pause) // as a listener with large bursts
		for range 3 {
			if d := work(y, 3*pause); d != Rest {
				t.Errorf("somebody is behind all the time: %v", d)
			}
		}
		stop()
		work(y, pause)
		if d := work(y, pause); d != 0 {
			t.Errorf("nobody is behind any more: %v", d)
		}
	})
}

// However small the writes of an encoder are, it keeps a tenth of its speed.
func TestSmallWrites(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	synctest.Test(t, func(t *testing.T) {
		defer always(pause / 4)()
		y := NewYielder()
		defer y.Done()
		var rested time.Duration
		for range 1000 {
			rested += work(y, pause/100)
		}
		if rested < 8*Rest || rested > 10*Rest {
			t.Errorf("it rested for %v in 10 ms of work", rested)
		}
	})
}

// With enough processors for all, no Yielder rests.
func TestProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	synctest.Test(t, func(t *testing.T) {
		defer always(pause / 4)()
		all := []*Yielder{NewYielder(), NewYielder()}
		if d := work(all[0], pause); d != 0 {
			t.Errorf("two encoders on four processors: %v", d)
		}
		all = append(all, NewYielder())
		if d := work(all[0], pause); d != Rest {
			t.Errorf("three encoders on four processors: %v", d)
		}
		for _, y := range all {
			y.Done()
		}
	})
}
