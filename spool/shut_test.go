package spool

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestShut: after Shut no batch is accepted, not even one that waits for room, and everything else continues.
func TestShut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		s := d.open(t, Options{Destinations: []string{"a"}, MaxBytes: 32 << 20, SegmentBytes: 1 << 20})
		next := 1
		for full := false; !full; {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := s.Append(ctx, batch(next, 10, 60000))
			cancel()
			if full = errors.Is(err, ErrFull); !full {
				next += 10
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		waiting := make(chan error)
		go func() {
			_, err := s.Offer(context.Background(), batch(next, 10, 60000))
			waiting <- err
		}()
		synctest.Wait()
		before := s.Stats().Appended
		s.shelf.Shut()
		s.shelf.Shut()
		if err := <-waiting; !errors.Is(err, ErrClosed) {
			t.Errorf("who waited for room: %v", err)
		}
		if _, err := s.Intake().Append(t.Context(), batch(next, 1, 10)); !errors.Is(err, ErrClosed) {
			t.Errorf("a listener: %v", err)
		}
		mustSeal(t, s)
		segs := s.shelf.Sealed(0, 0)
		deliver(t, s, "a", segs[len(segs)-1].Number)
		if st := s.Stats(); st.Appended != before || st.Pending["a"].Records != 0 {
			t.Errorf("%d were taken, %d behind Shut, %+v pending", before, st.Appended-before, st.Pending)
		}
		closeSpool(t, s)
		s = d.open(t, Options{Destinations: []string{"a"}, MaxBytes: 32 << 20, SegmentBytes: 1 << 20})
		mustAppend(t, s, batch(next, 1, 10))
		balanced(t, s)
		closeSpool(t, s)
	})
}
