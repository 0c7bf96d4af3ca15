package spool

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestRandom drives random operations, with crashes and orderly ends between them, and checks at the end that both
// destinations have every record that was promised, once.
func TestRandom(t *testing.T) {
	seeds := 4
	if *sweepAll {
		seeds = 100 * *sweepSeeds
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			if err := random(t, uint64(seed)); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		})
		if t.Failed() {
			return
		}
	}
}

func random(t *testing.T, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(Options{
		Sync: SyncPolicy(rng.IntN(3)), Destinations: []string{"a", "b"}, Logger: slog.New(slog.DiscardHandler),
		SegmentAge: time.Duration(1+rng.IntN(5)) * time.Second,
	})
	for range 1 + rng.IntN(4) {
		o := w.opts
		s, err := open("/spool", w.mem, w.index.Open, &o)
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		w.closed = false
		if got := s.Stats().Appended; got < w.durable {
			s.Close()
			return fmt.Errorf("the log ends with %d, %d was promised", got, w.durable)
		}
		err = w.randomLife(t, s, rng)
		if err == nil && rng.IntN(2) == 0 {
			err = s.Close()
			w.closed = err == nil
			w.kept, w.durable = s.Stats().Appended, s.Stats().Appended
		} else if err == nil {
			c := vfs.Crash{Data: vfs.DataFate(rng.IntN(4)), Names: vfs.NameFate(rng.IntN(3)), Seed: rng.Uint64()}
			k := w.clone(c, index.Fate{Aged: rng.IntN(3), Lost: rng.IntN(4) == 0})
			if c.Data == vfs.DataKept && c.Names == vfs.NamesKept {
				k.durable = k.kept
			}
			s.Close()
			k.crashed = true
			w = k
		}
		if err != nil {
			s.Close()
			return err
		}
	}
	return w.verify(t, w.durable)
}

func (w *world) randomLife(t *testing.T, s *Spool, rng *rand.Rand) error {
	ctx := t.Context()
	n := s.Stats().Appended
	for range rng.IntN(60) {
		size := []int{1, 100, 2000, 70 << 10}[rng.IntN(4)]
		count := 1 + rng.IntN(20)
		if size > 10000 {
			count = 1 + rng.IntN(3)
		}
		var err error
		switch rng.IntN(12) {
		case 0, 1, 2, 3:
			if n, err = s.Append(ctx, batch(int(n)+1, count, size)); err == nil {
				w.note(func() {
					w.kept = n
					if w.opts.Sync == SyncAlways {
						w.durable = n
					}
				})
			}
		case 4, 5:
			n, err = s.Offer(ctx, batch(int(n)+1, count, size))
		case 6:
			if err = s.WaitDurable(ctx, n); err == nil {
				w.note(func() { w.kept, w.durable = n, n })
			}
		case 7:
			if err = s.Seal(ctx); err == nil {
				w.note(func() { w.kept, w.durable = n, n })
			}
		case 8, 9:
			dest := w.opts.Destinations[rng.IntN(2)]
			if segs := s.shelf.Sealed(0, 0); len(segs) > 0 {
				err = w.ship(ctx, s, dest, segs[rng.IntN(len(segs))].Number)
			}
		case 10:
			time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
		case 11:
			s.Intake().Account(segment.Account{
				Received: segment.Tally{Records: 2, Bytes: 20}, Lost: segment.Losses{segment.Truncated: {Records: 2, Bytes: 20}},
			})
		}
		if err != nil {
			return err
		}
		synctest.Wait()
		balanced(t, s)
	}
	return nil
}
