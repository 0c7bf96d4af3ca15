package spool

import (
	"compress/gzip"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/giveway"
)

// gateOf is a gate of a spool of 1,000 bytes, of which some are used, on a disk that has some left.
func gateOf(used, free int64) *gate {
	s := newSpace(newSite(nil, "/spool", memDir().fs, (&Options{SegmentBytes: 100}).withDefaults()))
	s.setQuota(quota{limit: 1000, used: used, disk: diskSpace{known: true, free: free}})
	return &gate{w: io.Discard, space: s, yielder: giveway.NewYielder()}
}

// alwaysBehind says that a receiver is behind until it is stopped.
func alwaysBehind() (stop func()) {
	ended := make(chan struct{})
	go func() {
		tick := time.NewTicker(100 * time.Microsecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				giveway.Behind()
			case <-ended:
				return
			}
		}
	}()
	return func() { close(ended) }
}

// Staging gives way to receivers that cannot keep up, as long as the spool has room for their records.
func TestGateGivesWay(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	for name, c := range map[string]struct {
		used, free int64
		rests      time.Duration
	}{
		"room":               {400, 10_000, giveway.Rest},
		"crowded":            {600, 10_000, 0},
		"a small rest of it": {100, 200, giveway.Rest}, // others have filled the disk, but not in order to be staged
		"a full disk":        {100, 50, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := gateOf(c.used, c.free)
				defer g.yielder.Done()
				defer alwaysBehind()()
				time.Sleep(time.Millisecond)
				began := time.Now()
				if _, err := g.Write([]byte("a block")); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took != c.rests {
					t.Errorf("a write takes %v while a receiver is behind, want %v", took, c.rests)
				}
			})
		})
	}
}

// An encoder that writes a few hundred bytes at a time, as gzip does, does not rest more often than one that writes blocks.
func TestGateSmallWrites(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	synctest.Test(t, func(t *testing.T) {
		g := gateOf(0, 10_000)
		defer g.yielder.Done()
		defer alwaysBehind()()
		z := gzip.NewWriter(g)
		random := rand.New(rand.NewPCG(1, 2))
		began := time.Now()
		for range 100 { // for 10 ms, as time does not pass in a bubble while it compresses
			time.Sleep(100 * time.Microsecond)
			b := make([]byte, 1<<16)
			for i := range b {
				b[i] = byte(random.IntN(200))
			}
			if _, err := z.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > 12*giveway.Rest {
			t.Errorf("10 ms of work took %v", took)
		}
	})
}
