package spool

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
)

// waiters begins n Appends of a batch each, numbered from first on, and returns the channel of their results. They are all
// parked when it returns.
func waiters(ctx context.Context, s *Spool, first, n, records, size int) <-chan error {
	results := make(chan error, n)
	for i := range n {
		go func() {
			last, err := s.Append(ctx, batch(first+i*records, records, size))
			if last > 0 {
				err = nil // taken: see Append
			}
			results <- err
		}()
		synctest.Wait() // so that they are in order
	}
	return results
}

// The listeners hold more records at the end than half of the reserve for staging. The records are kept nevertheless, once; and
// the spool can still be emptied, also by the next process.
func TestLastCallKeepsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		o := Options{MaxBytes: 1 << 20, Sync: SyncAlways, Destinations: []string{"a"}, StageReserve: 256 << 10, SegmentAge: time.Hour}
		s := d.open(t, o)
		n := fill(t, s)
		const conns, records = 16, 60
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		first := waiters(ctx, s, n+1, conns, records, 1000)
		s.shelf.LastCall()
		for range conns {
			if err := <-first; err != nil {
				t.Fatalf("in hand at the first call: %v", err)
			}
		}
		n += conns * records
		// The listeners read on until they have to end, and the second call takes what they have in hand then.
		second := waiters(ctx, s, n+1, conns, records, 1000)
		s.shelf.LastCall()
		cancel() // at the same moment
		for range conns {
			if err := <-second; err != nil {
				t.Fatalf("in hand at the second call: %v", err)
			}
		}
		n += conns * records
		if _, err := s.Append(ctx, batch(n+1, records, 1000)); !errors.Is(err, ErrFull) {
			t.Errorf("what came after the last call: %v", err)
		}
		balanced(t, s)
		closeSpool(t, s)

		s = d.open(t, o)
		defer s.Close()
		if l := s.Ledger(); len(l.Unaccounted) != 0 {
			t.Errorf("a sudden end that never happened: %+v", l.Unaccounted)
		}
		if st := s.Stats(); !st.Full || st.Used <= st.Quota-o.StageReserve {
			t.Errorf("%+v", st)
		}
		mustSeal(t, s)
		once := map[string]bool{} // they were woken together, in whatever order
		for _, payload := range stageAll(t, s) {
			once[payload] = true
		}
		if len(once) != n || s.Ledger().Kept.Records != uint64(n) {
			t.Errorf("%d different records of %d kept, want %d", len(once), s.Ledger().Kept.Records, n)
		}
		segs := s.shelf.Sealed(0, 0)
		deliver(t, s, "a", segs[len(segs)-1].Number)
		synctest.Wait()
		if st := s.Stats(); st.Full {
			t.Errorf("full after everything was delivered: %+v", st)
		}
		balanced(t, s)
	})
}

// The disk limits the records kept over the quota: staging and sealing need its last blocks.
func TestLastCallLeavesTheReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		mem.SetCapacity(1200 << 10)
		d := memDir()
		d.fs = mem
		o := Options{MaxBytes: 1 << 20, Sync: SyncAlways, Destinations: []string{"a"}, StageReserve: 256 << 10, SegmentAge: time.Hour}
		s := d.open(t, o)
		defer s.Close()
		n := fill(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		results := waiters(ctx, s, n+1, 16, 60, 1000)
		time.Sleep(2 * time.Second) // the disk is looked at
		s.shelf.LastCall()
		synctest.Wait()
		cancel()
		kept := 0
		for range 16 {
			switch err := <-results; {
			case err == nil:
				kept++
			case !errors.Is(err, ErrFull):
				t.Errorf("append: %v", err)
			}
		}
		if kept == 0 || kept == 16 {
			t.Errorf("%d of 16 batches were kept", kept)
		}
		balanced(t, s)
		mustSeal(t, s)
		if got := stageAll(t, s); len(got) != n+kept*60 {
			t.Errorf("%d records staged, want %d", len(got), n+kept*60)
		}
	})
}
