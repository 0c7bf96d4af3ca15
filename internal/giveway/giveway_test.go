package giveway

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := NewYielder()
		rest := func() time.Duration {
			began := time.Now()
			y.Rest()
			return time.Since(began)
		}
		if d := rest(); d != 0 {
			t.Errorf("nobody is behind: %v", d)
		}
		Behind()
		if d := rest(); d != pause {
			t.Errorf("somebody was behind once: %v", d)
		}
		if d := rest(); d != 0 {
			t.Errorf("nobody is behind any more: %v", d)
		}
		stop := make(chan struct{})
		go func() {
			for tick := time.NewTicker(pause / 4); ; {
				select {
				case <-tick.C:
					Behind()
				case <-stop:
					tick.Stop()
					return
				}
			}
		}()
		time.Sleep(pause)
		for range 3 {
			if d := rest(); d != Rest {
				t.Errorf("somebody is behind all the time: %v", d)
			}
		}
		close(stop)
		synctest.Wait()
		y.Rest()
		if d := rest(); d != 0 {
			t.Errorf("nobody is behind any more: %v", d)
		}
	})
}
