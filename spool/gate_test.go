package spool

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/giveway"
)

// Staging gives way to receivers that are behind, as long as the spool has room for what they receive.
func TestGateGivesWay(t *testing.T) {
	for name, c := range map[string]struct {
		used  int64
		rests time.Duration
	}{
		"room":    {400, giveway.Rest},
		"crowded": {600, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSpace(newSite(nil, "/spool", memDir().fs, (&Options{SegmentBytes: 100}).withDefaults()))
				s.setQuota(quota{limit: 1000, used: c.used})
				g := &gate{w: io.Discard, space: s, yielder: giveway.NewYielder()}
				write := func() time.Duration {
					began := time.Now()
					if _, err := g.Write([]byte("a block")); err != nil {
						t.Fatal(err)
					}
					return time.Since(began)
				}
				write()
				stop := make(chan struct{})
				go func() {
					for tick := time.NewTicker(100 * time.Microsecond); ; {
						select {
						case <-tick.C:
							giveway.Behind()
						case <-stop:
							tick.Stop()
							return
						}
					}
				}()
				time.Sleep(time.Millisecond)
				if took := write(); took != c.rests {
					t.Errorf("a block takes %v while a receiver is behind, want %v", took, c.rests)
				}
				close(stop)
			})
		})
	}
}
