package ship_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/segment"
)

// noise appends segments of n bytes that do not compress.
func (b *bench) noise(segments, n int) {
	b.t.Helper()
	rng := rand.NewChaCha8([32]byte{})
	for range segments {
		data := make([]byte, n)
		rng.Read(data)
		for i := range data { // one byte of output for each
			data[i] = 'a' + data[i]%26
		}
		if _, err := b.sp.Append(b.t.Context(), []segment.Record{{Time: 1, Data: data}}); err != nil {
			b.t.Fatal(err)
		}
		if err := b.sp.Seal(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
	}
}

// delivered waits until a destination has everything, and returns how long that took.
func (b *bench) delivered(name string) time.Duration {
	b.t.Helper()
	begin := time.Now()
	for b.s.Stats()[name].PendingSegments > 0 {
		<-ship.Changed(b.s)
	}
	return time.Since(begin)
}

func uncompressed(o *ship.Options) { o.Codec, o.Level = "none", 0 }

// near checks that a time is no shorter than the rate demands, and little longer.
func near(t *testing.T, what string, took, want time.Duration) {
	t.Helper()
	if took < want-200*time.Millisecond || took > want+want/10+2*time.Second { // the burst before the limit applies; the chain's linger
		t.Errorf("%s took %v, want about %v", what, took, want)
	}
}

// TestLimit: a limit applies to one destination only, and Flush lifts it.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s3, idc := shiptest.Memory(), shiptest.Memory()
		d := destinations{"s3": s3, "idc": idc}
		b := newBench(t, d)
		defer b.close()
		b.ship(d, uncompressed, func(o *ship.Options) {
			o.Limits = map[string][]*ship.Limiter{"idc": {ship.NewLimiter(100 << 10), ship.NewLimiter(1 << 20)}}
		})
		b.noise(50, 40_000)
		if took := b.delivered("s3"); took > 5*time.Second {
			t.Errorf("the other destination took %v", took)
		}
		near(t, "2 MB at 100 KiB/s", b.delivered("idc"), 2_000_000*time.Second/(100<<10))

		b.noise(200, 40_000)
		begin := time.Now()
		b.flush()
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("Flush took %v: the limit was not lifted", took)
		}
		b.noise(20, 40_000)
		near(t, "after Flush, 0.8 MB", b.delivered("idc"), 800_000*time.Second/(100<<10))
		if _, err := b.s.Verify(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestLimitShared: two classes share a destination's limit, and one of them also has a lower limit of its own.
func TestLimitShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, own := ship.NewLimiter(200<<10), ship.NewLimiter(50<<10)
		var benches []*bench
		for _, limits := range [][]*ship.Limiter{{shared}, {shared, own}} {
			d := destinations{"idc": shiptest.Memory()}
			b := newBench(t, d)
			defer b.close()
			b.noise(50, 40_000)
			b.ship(d, uncompressed, func(o *ship.Options) { o.Limits = map[string][]*ship.Limiter{"idc": limits} })
			benches = append(benches, b)
		}
		var wg sync.WaitGroup
		var took [2]time.Duration
		for i, b := range benches {
			wg.Go(func() { took[i] = b.delivered("idc") })
		}
		wg.Wait()
		// The class with the lower limit needs 39 s; the other one gets the remaining 150 KiB/s.
		near(t, "the class without a limit of its own", took[0], 2_000_000*time.Second/(150<<10))
		near(t, "the class with one", took[1], 2_000_000*time.Second/(50<<10))
	})
}

// TestLimitCancelled: Run ends without waiting for a limit.
func TestLimitCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := destinations{"idc": shiptest.Memory()}
		b := newBench(t, d)
		defer b.close()
		b.noise(20, 60_000)
		b.ship(d, uncompressed, func(o *ship.Options) {
			o.Limits = map[string][]*ship.Limiter{"idc": {ship.NewLimiter(1)}}
		})
		time.Sleep(10 * time.Second)
		begin := time.Now()
		if err := b.stop(); err != nil || time.Since(begin) > time.Second {
			t.Errorf("the end took %v, %v", time.Since(begin), err)
		}
	})
}

// TestLimitOptions: limits that make no sense are refused.
func TestLimitOptions(t *testing.T) {
	d := destinations{"idc": shiptest.Memory()}
	b := newBench(t, d)
	for name, limits := range map[string][]*ship.Limiter{"s3": {ship.NewLimiter(1)}, "idc": {nil}} {
		if _, err := ship.New(b.sp, &ship.Options{Destinations: d, Limits: map[string][]*ship.Limiter{name: limits}}); err == nil {
			t.Errorf("limits of %s are taken", name)
		}
	}
}
