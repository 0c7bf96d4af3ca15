package spool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

func fullOptions(p FullPolicy) Options {
	return Options{OnFull: p, MaxBytes: 1 << 20, Sync: SyncAlways, Destinations: []string{"a"}, StageReserve: 256 << 10}
}

// fill appends until the quota is used up and returns how many records were kept.
func fill(t *testing.T, s *Spool) int {
	t.Helper()
	n := 0
	for {
		s.journal.mu.Lock()
		room := s.journal.hasRoom(4 * 1100)
		s.journal.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // the room may go meanwhile, to a spare
		if !room {
			cancel() // Block would wait
		}
		_, err := s.Append(ctx, batch(n+1, 4, 1000))
		cancel()
		if errors.Is(err, ErrFull) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		n += 4
	}
}

func TestFullReject(t *testing.T) {
	d := memDir()
	s := d.open(t, fullOptions(Reject))
	n := fill(t, s)
	if !s.Stats().Full {
		t.Error("Stats do not say that the spool is full")
	}
	if _, err := s.Offer(t.Context(), batch(1, 5, 1000)); !errors.Is(err, ErrFull) {
		t.Errorf("Offer to a full spool: %v", err)
	}
	l := s.Ledger()
	if want := (segment.Loss{Records: 9, Bytes: 9000}); l.Lost[segment.SpoolFull] != want {
		t.Errorf("lost %+v, want %+v", l.Lost[segment.SpoolFull], want)
	}
	balanced(t, s)
	// Everything still works without new room, and gives it back.
	mustSeal(t, s)
	wantRecords(t, stageAll(t, s), n, 1000)
	if st := s.Stats(); st.Used > st.Quota {
		t.Errorf("used %d of %d", st.Used, st.Quota)
	}
	segs := s.shelf.Sealed(0, 0)
	deliver(t, s, "a", segs[len(segs)-1].Number)
	until(t, s, "room", func() bool { return !s.Stats().Full })
	if _, err := s.Append(t.Context(), batch(n+1, 4, 1000)); err != nil {
		t.Fatal(err)
	}
	balanced(t, s)
}

func TestFullBlock(t *testing.T) {
	d := memDir()
	s := d.open(t, fullOptions(Block))
	n := fill(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Append(ctx, batch(1, 4, 1000))
	if !errors.Is(err, ErrFull) || !errors.Is(err, context.Canceled) {
		t.Errorf("Append to a full spool with a context that has ended: %v", err)
	}
	done := make(chan error)
	go func() {
		_, err := s.Offer(t.Context(), batch(n+1, 4, 1000))
		done <- err
	}()
	mustSeal(t, s)
	segs := s.shelf.Sealed(0, 0)
	deliver(t, s, "a", segs[len(segs)-1].Number)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := s.WaitDurable(t.Context(), uint64(n+4)); err != nil {
		t.Fatal(err)
	}
	if l := s.Ledger(); l.Lost.Total() != (segment.Tally{}) {
		t.Errorf("lost %+v", l.Lost)
	}
	balanced(t, s)
}

func TestQuotaTooSmall(t *testing.T) {
	_, err := memDir().tryOpen(t, Options{MaxBytes: 200 << 10})
	if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "raise MaxBytes") {
		t.Fatalf("error %v", err)
	}
}

func TestBatchTooLong(t *testing.T) {
	s := memDir().open(t, fullOptions(Block))
	for _, b := range [][]segment.Record{
		{{Data: make([]byte, segment.MaxRecord+1)}},
		{{Data: make([]byte, 1<<20)}},
	} {
		if _, err := s.Append(t.Context(), b); !errors.Is(err, ErrTooLong) {
			t.Errorf("%v", err)
		}
	}
	if l := s.Ledger(); l.Received != (segment.Tally{}) {
		t.Errorf("received %+v", l.Received)
	}
}

// Datagrams that the kernel drops while a listener waits for room count as spool_full.
func TestKernelDropsWhileFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memDir().open(t, fullOptions(Block))
		defer s.Close()
		in := s.Intake()
		report := func() {
			in.Account(segment.Account{
				Received: segment.Tally{Records: 10}, Socket: 7, Drops: 10,
				Lost: segment.Losses{segment.KernelOverflow: {Records: 10, BytesUnknown: true}},
			})
		}
		lost := func() (kernel, full uint64) {
			l := s.Ledger()
			return l.Lost[segment.KernelOverflow].Records, l.Lost[segment.SpoolFull].Records
		}
		report()
		if k, f := lost(); k != 10 || f != 0 {
			t.Fatalf("lost %d, %d", k, f)
		}
		fill(t, s)
		report() // the last Append of fill waited
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go in.Offer(ctx, batch(1, 4, 1000))
		synctest.Wait()
		report()
		if k, f := lost(); k != 10 || f != 20 {
			t.Fatalf("lost %d, %d", k, f)
		}
		<-ctx.Done()
		synctest.Wait()
		report() // it waited since the last report
		time.Sleep(time.Second)
		report() // it did not
		if k, f := lost(); k != 20 || f != 30 {
			t.Fatalf("lost %d, %d", k, f)
		}
	})
}

// While the disk stalls, Offer accepts records until the memory budget is used up, and then waits.
func TestOfferBudget(t *testing.T) {
	s, stall := stalled(t, Options{MemoryBytes: 2 << 20, SyncInterval: time.Millisecond})
	n := 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for s.Stats().Buffered.Bytes < 1<<20 {
		if _, err := s.Offer(ctx, batch(n+1, 16, 1000)); err != nil {
			t.Fatal(err)
		}
		n += 16
	}
	done := make(chan int)
	go func() {
		for {
			if _, err := s.Offer(ctx, batch(n+1, 16, 1000)); err != nil {
				done <- n
				return
			}
			n += 16
		}
	}()
	stall.waiting(t, s)
	cancel()
	n = <-done
	if got := s.Stats().Buffered.Bytes; got > 2<<20 {
		t.Errorf("%d bytes are buffered, more than the budget", got)
	}
	stall.end()
	if err := s.WaitDurable(t.Context(), uint64(n)); err != nil {
		t.Fatal(err)
	}
	balanced(t, s)
	mustSeal(t, s)
	wantRecords(t, stageAll(t, s), n, 1000)
}

// TestRejectedTellsListeners: a listener must not offer records again that were counted as lost, and only those.
func TestRejectedTellsListeners(t *testing.T) {
	says := func(err error) bool {
		var r interface{ Rejected() bool }
		return errors.As(err, &r) && r.Rejected()
	}
	if !says(rejected{ErrFull}) || !errors.Is(rejected{ErrFull}, ErrFull) {
		t.Error("a rejection does not say so")
	}
	if says(ErrFull) || says(fmt.Errorf("%w: %w", ErrFull, context.Canceled)) {
		t.Error("a batch that was not counted passes for counted")
	}
}

// TestLastCall: appends that wait for room when the process ends are accepted, and everything can still be staged.
func TestLastCall(t *testing.T) {
	s := memDir().open(t, fullOptions(Block))
	n := fill(t, s)
	done := make(chan error)
	go func() {
		_, err := s.Append(t.Context(), batch(n+1, 4, 1000))
		done <- err
	}()
	s.shelf.LastCall()
	s.shelf.LastCall()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mustSeal(t, s)
	wantRecords(t, stageAll(t, s), n+4, 1000)
	if st := s.Stats(); st.Used > st.Quota {
		t.Errorf("used %d of %d", st.Used, st.Quota)
	}
	balanced(t, s)
}

// The file system is filled to the last block that appends may have, by small records that do not compress, with nothing
// staged. Once a destination is there the spool empties by itself.
func TestFullDiskEmpties(t *testing.T) {
	for _, quota := range []int64{8 << 20 / 10 * 9, 1 << 30} { // what is the default, and far more than there is
		fsys := vfs.NewMem()
		fsys.SetCapacity(8 << 20)
		d := memDir()
		d.fs = fsys
		s := d.open(t, Options{
			OnFull: Reject, MaxBytes: quota, Sync: SyncAlways, Destinations: []string{"a", "b"}, SegmentBytes: 256 << 10,
		})
		rng := rand.NewChaCha8([32]byte{1})
		n := uint64(0)
		for {
			b := make([]segment.Record, 100)
			for i := range b {
				b[i].Data = make([]byte, 64)
				rng.Read(b[i].Data)
			}
			last, err := s.Append(t.Context(), b)
			n = max(n, last)
			if errors.Is(err, ErrFull) || errors.Is(err, ErrFailing) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if n < 10_000 {
			t.Fatalf("full with %d records", n)
		}
		mustSeal(t, s)
		// The second destination has nothing yet when the first one has everything: no segment can be deleted until then.
		empty(t, s, "a")
		empty(t, s, "b")
		until(t, s, "everything deleted", func() bool { return s.Stats().Segments == 0 })
		if d := s.Ledger().Destinations["b"]; d.Records != n {
			t.Errorf("delivered %d of %d", d.Records, n)
		}
		balanced(t, s)
	}
}

// empty stages and delivers every segment to a destination, one after the other.
func empty(t *testing.T, s *Spool, dest string) {
	t.Helper()
	c, err := s.shelf.Chain(dest)
	if err != nil {
		t.Fatal(err)
	}
	for _, seg := range s.shelf.Sealed(c.Segment, 0) {
		rec, err := s.shelf.Stage(t.Context(), seg.Number, lineEncoder{})
		if err != nil {
			t.Fatal(err)
		}
		readStaged(t, s, rec, map[uint64]string{})
		deliver(t, s, dest, seg.Number)
	}
}

// A spool of the smallest quota that was emptied opens again, whatever its pool and damaged files take.
func TestSmallestQuotaOpensAgain(t *testing.T) {
	d := memDir()
	o := Options{OnFull: Reject, Sync: SyncAlways, MaxBytes: 512 << 10, SegmentBytes: 64 << 10, Destinations: []string{"a"}}
	s := d.open(t, o)
	fill(t, s)
	mustSeal(t, s)
	for _, seg := range s.shelf.Sealed(0, 0) {
		if _, err := s.shelf.Stage(t.Context(), seg.Number, gzipEncoder{}); err != nil {
			t.Fatal(err)
		}
		deliver(t, s, "a", seg.Number)
	}
	until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
	closeSpool(t, s)
	if q := s.space.usage(); q.pooled() == 0 {
		t.Fatal("the pool is empty")
	}
	if err := vfs.WriteFileAtomic(d.fs, s.path(damagedDir, "kept"), make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	s = d.open(t, o)
	closeSpool(t, s)
}
