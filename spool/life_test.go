package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// wantUsed checks the account of the quota against the files.
func wantUsed(t testing.TB, s *Spool) {
	t.Helper()
	var sum int64
	for _, dir := range []string{segDir, stageDir, freeDir} {
		entries, err := s.fs.ReadDir(s.path(dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if filepath.Ext(e.Name()) == recExt {
				continue
			}
			fi, err := s.fs.Stat(s.path(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			sum += fi.Size()
		}
	}
	if used := s.Stats().Used; used != sum {
		t.Errorf("used %d, the files have %d", used, sum)
	}
}

func TestUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		for range 3 {
			s := d.open(t, Options{Destinations: []string{"a"}})
			synctest.Wait()
			wantUsed(t, s)
			for range 20 {
				mustAppend(t, s, batch(1, 10, 1000))
			}
			synctest.Wait()
			wantUsed(t, s)
			mustSeal(t, s)
			stageAll(t, s)
			synctest.Wait()
			wantUsed(t, s)
			deliver(t, s, "a", s.shelf.Sealed(0, 0)[1].Number)
			synctest.Wait()
			wantUsed(t, s)
			mustAppend(t, s, batch(1, 10, 1000))
			synctest.Wait()
			wantUsed(t, s)
			closeSpool(t, s)
		}
	})
}

func TestSegmentAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memDir().open(t, Options{SegmentAge: time.Minute})
		defer s.Close()
		time.Sleep(3 * time.Minute)
		if n := len(s.shelf.Sealed(0, 0)); n != 0 {
			t.Fatalf("%d segments without records", n)
		}
		created := time.Now()
		mustAppend(t, s, batch(1, 1, 100))
		time.Sleep(59 * time.Second)
		if n := len(s.shelf.Sealed(0, 0)); n != 0 {
			t.Fatal("sealed too early")
		}
		time.Sleep(2 * time.Second)
		segs := s.shelf.Sealed(0, 0)
		if len(segs) != 1 || !segs[0].Created.Equal(created) {
			t.Fatalf("segments %+v", segs)
		}
		// A loss is reported in time, too.
		s.Intake().Account(segment.Account{Received: segment.Tally{Records: 1}, Lost: segment.Losses{segment.Reset: {Records: 1}}})
		time.Sleep(2 * time.Minute)
		segs = s.shelf.Sealed(segs[0].Number, 0)
		if len(segs) != 1 || segs[0].Records != 0 || segs[0].Last != segs[0].First-1 || segs[0].Lost[segment.Reset].Records != 1 {
			t.Fatalf("segments %+v", segs)
		}
		time.Sleep(5 * time.Minute)
		if n := len(s.shelf.Sealed(segs[0].Number, 0)); n != 0 {
			t.Fatalf("%d segments more, without anything new", n)
		}
	})
}

func TestSealNothing(t *testing.T) {
	s := memDir().open(t, Options{})
	mustSeal(t, s)
	mustAppend(t, s, batch(1, 1, 10))
	mustSeal(t, s)
	mustSeal(t, s)
	if n := len(s.shelf.Sealed(0, 0)); n != 1 {
		t.Fatalf("%d segments", n)
	}
}

// The sync that makes a written record durable begins within the interval, and there is none without need.
func TestSyncInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		var mu sync.Mutex
		var syncs []time.Time
		d.fs = vfs.Inject(d.fs, func(op vfs.Op) error {
			if op.Kind == vfs.OpSync && strings.HasSuffix(op.Path, numberName(1)+segExt) {
				mu.Lock()
				defer mu.Unlock()
				syncs = append(syncs, time.Now())
			}
			return nil
		})
		s := d.open(t, Options{SyncInterval: 10 * time.Millisecond, SegmentAge: time.Hour})
		defer s.Close()
		mustAppend(t, s, batch(1, 1, 100))
		time.Sleep(5 * time.Second) // with the ledger
		mu.Lock()
		syncs = nil
		mu.Unlock()
		start := time.Now()
		mustAppend(t, s, batch(2, 1, 100))
		time.Sleep(9 * time.Millisecond)
		if st := s.Stats(); st.Written != 2 || st.Durable != 1 {
			t.Fatalf("stats %+v", st)
		}
		time.Sleep(2 * time.Millisecond)
		if st := s.Stats(); st.Durable != 2 {
			t.Fatalf("stats %+v", st)
		}
		time.Sleep(time.Hour / 2)
		mu.Lock()
		defer mu.Unlock()
		if len(syncs) != 1 || syncs[0].Sub(start) > 10*time.Millisecond {
			t.Fatalf("syncs at %v, began at %v", syncs, start)
		}
	})
}

// An early sync is worth it when somebody waits for it.
func TestWaitDurableSyncsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memDir().open(t, Options{SyncInterval: time.Hour})
		defer s.Close()
		start := time.Now()
		last, err := s.Offer(t.Context(), batch(1, 3, 100))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.WaitDurable(t.Context(), last); err != nil {
			t.Fatal(err)
		}
		if !time.Now().Equal(start) {
			t.Errorf("waited %v", time.Since(start))
		}
		if err := s.WaitDurable(t.Context(), last+1); err == nil {
			t.Error("waited for what nobody took")
		}
	})
}

func TestMemoryIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memDir().open(t, Options{MemoryBytes: 8 << 20, SyncInterval: time.Second, MaxBytes: 1 << 30})
		for i := range 60 {
			if _, err := s.Offer(t.Context(), batch(64*i+1, 64, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		s.journal.mu.Lock()
		defer s.journal.mu.Unlock()
		if n := len(s.journal.tail.free) + len(s.journal.tail.chunks); n > 1 {
			t.Errorf("%d chunks are kept", n)
		}
	})
}

func TestLargeRecords(t *testing.T) {
	s := memDir().open(t, Options{MaxBytes: 256 << 20})
	big := make([]byte, segment.MaxRecord)
	for i := range big {
		big[i] = byte(i * 7)
	}
	b := []segment.Record{{Data: []byte("small")}, {Data: big}, {}, {Data: big[:1<<20]}, {Data: []byte("last")}}
	mustAppend(t, s, b)
	mustSeal(t, s)
	i := 0
	for _, seg := range s.shelf.Sealed(0, 0) {
		f, err := s.fs.Open(s.segPath(seg.Number))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := segment.NewReader(f, seg.Size, nil)
		if err != nil {
			t.Fatal(err)
		}
		for {
			seq, rec, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil || seq != uint64(i+1) || !bytes.Equal(rec.Data, b[i].Data) {
				t.Fatalf("record %d is different: %d, %v", i+1, seq, err)
			}
			i++
		}
	}
	if i != len(b) {
		t.Errorf("%d records", i)
	}
	balanced(t, s)
}

func TestClosed(t *testing.T) {
	s := memDir().open(t, Options{Destinations: []string{"a"}})
	mustAppend(t, s, batch(1, 1, 10))
	for range 2 {
		closeSpool(t, s)
	}
	ctx := t.Context()
	_, aerr := s.Append(ctx, batch(2, 1, 10))
	_, oerr := s.Offer(ctx, batch(2, 1, 10))
	_, serr := s.shelf.Stage(ctx, 1, lineEncoder{})
	for _, err := range []error{aerr, oerr, serr, s.Seal(ctx), s.shelf.Propose("a", []byte("m"), false), s.shelf.Ack("a", Chain{})} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	if err := s.WaitDurable(ctx, 1); err != nil {
		t.Errorf("what is durable: %v", err)
	}
}

// Close ends the appends that wait for room, and keeps the records of the others.
func TestCloseWhileBusy(t *testing.T) {
	d := memDir()
	s := d.open(t, Options{Sync: SyncAlways})
	var wg sync.WaitGroup
	var mu sync.Mutex
	kept := uint64(0)
	for range 4 {
		wg.Go(func() {
			for {
				last, err := s.Append(context.Background(), batch(1, 3, 100))
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				kept = max(kept, last)
				mu.Unlock()
			}
		})
	}
	for s.Stats().Durable < 50 {
		c := s.shelf.Changed()
		mustSeal(t, s)
		<-c
	}
	closeSpool(t, s)
	wg.Wait()
	s = d.open(t, Options{})
	if got := s.Stats().Appended; got < kept {
		t.Fatalf("the log ends with %d, %d was kept", got, kept)
	}
	if u := s.Ledger().Unaccounted; len(u) > 0 {
		t.Fatalf("unaccounted %+v", u)
	}
	balanced(t, s)
}

// Everything at once: writers at both doors, sealing, staging, delivering.
func TestConcurrent(t *testing.T) {
	d := memDir()
	s := d.open(t, Options{Destinations: []string{"a", "b"}, MaxBytes: 32 << 20})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writers, others sync.WaitGroup
	const each = 60
	for w := range 6 {
		writers.Go(func() {
			for i := range each {
				b := []segment.Record{{Data: fmt.Appendf(nil, "writer %d record %d %01000d", w, i, 0)}, {Data: []byte("x")}}
				put := s.Append
				if w%2 == 0 {
					put = s.Offer
				}
				if _, err := put(ctx, b); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	others.Go(func() {
		for ctx.Err() == nil {
			if err := s.Seal(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			s.Stats()
		}
	})
	got := map[string]map[uint64]string{"a": {}, "b": {}}
	for name := range got {
		others.Go(func() {
			for ctx.Err() == nil {
				c := s.shelf.Changed()
				ch, _ := s.shelf.Chain(name)
				for _, seg := range s.shelf.Sealed(ch.Segment, 0) {
					rec, err := s.shelf.Stage(ctx, seg.Number, lineEncoder{})
					if err != nil {
						if ctx.Err() == nil {
							t.Error(err)
						}
						return
					}
					readStaged(t, s, rec, got[name])
					deliver(t, s, name, seg.Number)
				}
				select {
				case <-c:
				case <-ctx.Done():
				}
			}
		})
	}
	writers.Wait()
	mustSeal(t, s)
	until(t, s, "everything delivered and deleted", func() bool { return s.Stats().Segments == 0 })
	cancel()
	others.Wait()
	for name, records := range got {
		if len(records) != 6*each*2 {
			t.Errorf("%s has %d records", name, len(records))
		}
	}
	balanced(t, s)
	wantUsedNow(t, s)
}

func wantUsedNow(t *testing.T, s *Spool) {
	t.Helper()
	closeSpool(t, s)
	wantUsed(t, s)
}

func TestStageUnknown(t *testing.T) {
	s := memDir().open(t, Options{})
	if _, err := s.shelf.Stage(t.Context(), 7, lineEncoder{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, _, err := s.shelf.OpenStaged(7); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
