package spool

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool/segment"
)

// follow checks that an iteration yields or reports every record from next to last once, in order, each with its content, and
// returns the gaps. It ends after last.
func follow(t *testing.T, records iter.Seq2[Tailed, error], next, last uint64) (gaps []GapError) {
	t.Helper()
	for r, err := range records {
		gap, isGap := errors.AsType[*GapError](err)
		switch {
		case isGap:
			if gap.First != next || gap.Last < gap.First {
				t.Fatalf("a gap from %d to %d, %d is next", gap.First, gap.Last, next)
			}
			gaps, next = append(gaps, *gap), gap.Last+1
		case err != nil:
			t.Fatalf("after record %d: %v", next-1, err)
		default:
			want := record(int(r.Seq), len(r.Data))
			if r.Seq != next || string(r.Data) != string(want.Data) || r.Time != want.Time {
				t.Fatalf("record %d with %.40q, %d is next", r.Seq, r.Data, next)
			}
			next++
		}
		if next > last {
			return gaps
		}
	}
	t.Fatalf("it ended after record %d", next-1)
	return nil
}

// TestTail: beside appends, seals and large records, every record comes once and in order, under each policy.
func TestTail(t *testing.T) {
	for _, policy := range []SyncPolicy{SyncInterval, SyncAlways, SyncNone} {
		synctest.Test(t, func(t *testing.T) {
			s := memDir().open(t, Options{Sync: policy})
			const n = 2000
			go func() {
				for i := 1; i <= n; {
					size, many := 100, 7
					if i%500 < 7 {
						size, many = 200_000, 1 // larger than a segment
					}
					many = min(many, n-i+1)
					mustAppend(t, s, batch(i, many, size))
					if i += many; i%101 == 0 {
						mustSeal(t, s)
					}
					if i%50 == 0 {
						time.Sleep(time.Second) // fake time
					}
				}
			}()
			var wg sync.WaitGroup
			for _, after := range []uint64{0, 777, n - 1} {
				wg.Go(func() {
					if gaps := follow(t, s.Tail(t.Context(), after, nil), after+1, n); len(gaps) > 0 {
						t.Errorf("gaps: %v", gaps)
					}
				})
			}
			wg.Wait()
		})
	}
}

// TestTailDir: beside a process that appends, delivers, deletes and recycles, every record is yielded or reported as gone,
// once, and nothing is ever called damaged.
func TestTailDir(t *testing.T) {
	d := &disk{fs: vfs.OS(), dir: t.TempDir(), index: memDir().index}
	s := d.open(t, Options{Destinations: []string{"a"}, MaxBytes: 8 << 20})
	const n = 6000
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 1; i <= n; i += 10 {
			mustAppend(t, s, batch(i, 10, 1000))
			if i%500 == 1 {
				mustSeal(t, s)
				if segs := s.shelf.Sealed(0, 0); len(segs) > 0 {
					deliver(t, s, "a", segs[len(segs)-1].Number)
				}
			}
		}
	})
	defer func() { close(stop); wg.Wait() }()
	var readers sync.WaitGroup
	for reader := range 3 {
		readers.Go(func() {
			gone := uint64(0)
			for _, g := range follow(t, slowly(TailDir(t.Context(), d.dir, 0, &TailOptions{Poll: time.Millisecond}), reader), 1, n) {
				if !g.Gone {
					t.Errorf("damaged: %v", &g)
				}
				gone += g.Last - g.First + 1
			}
			t.Logf("reader %d: %d of %d were gone", reader, gone, n)
		})
	}
	readers.Wait()
}

// slowly lets other goroutines run between two records, so that segments are deleted before the reader reaches them.
func slowly(records iter.Seq2[Tailed, error], by int) iter.Seq2[Tailed, error] {
	return func(yield func(Tailed, error) bool) {
		for r, err := range records {
			if by > 0 && r.Seq%uint64(64/by) == 0 {
				time.Sleep(0)
				_, _ = os.Stat("/") // a system call: others get the processor
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// TestTailRecycled: while a reader is in the middle of a segment, that segment and the next ones are deleted and their
// files are recycled. The reader neither yields their new blocks nor reports damage.
func TestTailRecycled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		s := d.open(t, Options{Destinations: []string{"a"}, SegmentBytes: 1 << 20})
		total := 0
		advance := func(records int) {
			for range records / 10 {
				mustAppend(t, s, batch(total+1, 10, 5000))
				total += 10
			}
			synctest.Wait()
			if segs := s.shelf.Sealed(0, 0); len(segs) > 0 {
				deliver(t, s, "a", segs[len(segs)-1].Number)
			}
			time.Sleep(2 * time.Second) // fake time: the keeper deletes, and prepares files for segments to come
		}
		tl := &tail{fs: d.fs, dir: d.dir, o: (*TailOptions)(nil).withDefaults(), next: 1}
		next, stop := iter.Pull2(func(yield func(Tailed, error) bool) { tl.run(t.Context(), yield) })
		defer stop()
		rest := func(yield func(Tailed, error) bool) {
			for {
				if r, err, ok := next(); !ok || !yield(r, err) {
					return
				}
			}
		}
		at, gone := uint64(1), 0
		for round := range 40 {
			advance(100 + 150*(round%7)) // 0.5 to 5 segments
			until := min(uint64(total), at+uint64(10+37*(round%5)))
			for _, g := range follow(t, rest, at, until) {
				if !g.Gone {
					t.Errorf("damaged: %v", &g)
				}
				gone, until = gone+1, max(until, g.Last)
			}
			at = until + 1
		}
		follow(t, rest, at, uint64(total))
		if gone < 5 {
			t.Errorf("only %d gaps were met", gone)
		}
	})
}

// TestTailHold: with Hold nothing is deleted before it is read; without, what was deleted is reported with its range.
func TestTailHold(t *testing.T) {
	for _, hold := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := memDir().open(t, Options{Destinations: []string{"a"}})
			segments := func(from int) {
				for i := from; i < from+30; i += 10 {
					mustAppend(t, s, batch(i, 10, 100))
					mustSeal(t, s)
				}
				segs := s.shelf.Sealed(0, 0)
				deliver(t, s, "a", segs[len(segs)-1].Number)
				time.Sleep(time.Second) // fake time: the keeper deletes
			}
			mustAppend(t, s, batch(1, 1, 100))
			next, stop := iter.Pull2(s.Tail(t.Context(), 0, &TailOptions{Hold: hold}))
			defer stop()
			if r, err, _ := next(); r.Seq != 1 || err != nil {
				t.Fatal(r.Seq, err)
			}
			segments(2)
			mustAppend(t, s, batch(32, 1, 100))
			rest := func(yield func(Tailed, error) bool) {
				for {
					if r, err, ok := next(); !ok || !yield(r, err) {
						return
					}
				}
			}
			gaps := follow(t, rest, 2, 32)
			if hold && len(gaps) > 0 || !hold && (len(gaps) != 1 || !gaps[0].Gone || gaps[0].Last != 31) {
				t.Errorf("hold %v: %v", hold, gaps)
			}
		})
	}
	for r, err := range TailDir(t.Context(), t.TempDir(), 0, &TailOptions{Hold: true}) {
		if !errors.Is(err, ErrOptions) {
			t.Errorf("%v, %v", r, err)
		}
	}
}

// TestTailDamage: damage in a sealed segment is reported with its exact range, also beside records that are gone.
func TestTailDamage(t *testing.T) {
	dir := t.TempDir()
	d := &disk{fs: vfs.OS(), dir: dir, index: memDir().index}
	s := d.open(t, Options{})
	for i := 1; i <= 300; i += 100 {
		mustAppend(t, s, batch(i, 100, 500))
		mustSeal(t, s)
	}
	mustAppend(t, s, batch(301, 100, 500))
	segs := s.shelf.Sealed(0, 0)
	file := func(i int) string { return filepath.Join(dir, segDir, numberName(segs[i].Number)+segExt) }
	path := file(1)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file(0)); err != nil {
		t.Fatal(err)
	}
	gaps := follow(t, TailDir(t.Context(), dir, 0, nil), 1, 400)
	if len(gaps) != 2 || !gaps[0].Gone || gaps[0].Last != 100 || gaps[1].Gone || gaps[1].First != 101 || gaps[1].Last != 200 || !errors.Is(&gaps[1], segment.ErrCorrupt) {
		t.Errorf("%+v", gaps)
	}
	// It does not stop at the end of the remaining segments: Stop ends after the last record.
	n := 0
	for _, err := range TailDir(t.Context(), dir, 200, &TailOptions{Stop: true}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 200 {
		t.Errorf("%d records, 200 are there", n)
	}
}

// TestTailEnds: a context, a closed spool and a directory that holds no spool end it, and say so.
func TestTailEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memDir().open(t, Options{})
		mustAppend(t, s, batch(1, 3, 10))
		last := func(records iter.Seq2[Tailed, error]) (n int, err error) {
			for _, err = range records {
				n++
			}
			return n, err
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if n, err := last(s.Tail(ctx, 0, nil)); n != 4 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d, %v", n, err)
		}
		var none context.Context
		if n, err := last(s.Tail(none, 0, nil)); n != 1 || !errors.Is(err, wait.ErrNilContext) {
			t.Errorf("%d, %v", n, err)
		}
		closeSpool(t, s)
		if n, err := last(s.Tail(t.Context(), 1, nil)); n != 3 || !errors.Is(err, ErrClosed) {
			t.Errorf("%d, %v", n, err)
		}
		if n, err := last(TailDir(t.Context(), "", 0, nil)); n != 1 || !errors.Is(err, ErrOptions) {
			t.Errorf("%d, %v", n, err)
		}
	})
	for _, err := range TailDir(t.Context(), t.TempDir(), 0, nil) {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v", err)
		}
	}
}

// watchedFS refuses everything but reads of segment files.
type watchedFS struct {
	vfs.FS
	t   *testing.T
	dir string
}

func (f watchedFS) Open(path string) (vfs.File, error) {
	if !strings.HasPrefix(path, filepath.Join(f.dir, segDir)) {
		f.t.Errorf("it opened %s", path)
	}
	return f.FS.Open(path)
}

func (f watchedFS) OpenRW(path string) (vfs.File, error) { return nil, f.refuse("OpenRW", path) }
func (f watchedFS) Create(path string) (vfs.File, error) { return nil, f.refuse("Create", path) }
func (f watchedFS) Rename(path, _ string) error          { return f.refuse("Rename", path) }
func (f watchedFS) Remove(path string) error             { return f.refuse("Remove", path) }
func (f watchedFS) MkdirAll(path string) error           { return f.refuse("MkdirAll", path) }

func (f watchedFS) refuse(call, path string) error {
	f.t.Errorf("it called %s %s", call, path)
	return fmt.Errorf("%s", call)
}

// TestTailReadsSegmentsOnly: neither the index nor anything else is opened, and nothing is written.
func TestTailReadsSegmentsOnly(t *testing.T) {
	d := memDir()
	s := d.open(t, Options{})
	mustAppend(t, s, batch(1, 100, 1000))
	mustSeal(t, s)
	mustAppend(t, s, batch(101, 100, 1000))
	o := (*TailOptions)(nil).withDefaults()
	tl := &tail{fs: watchedFS{d.fs, t, d.dir}, dir: d.dir, o: o, next: 1}
	follow(t, func(yield func(Tailed, error) bool) { tl.run(t.Context(), yield) }, 1, 200)
}

// lateFS shows a file as it was before it was cut to its length, until its end has been looked at, once for each time that
// late is set.
type lateFS struct {
	vfs.FS
	late *bool
}

func (f lateFS) Open(path string) (vfs.File, error) {
	file, err := f.FS.Open(path)
	return lateFile{file, f.late}, err
}

type lateFile struct {
	vfs.File
	late *bool
}

func (f lateFile) Size() (int64, error) {
	n, err := f.File.Size()
	if *f.late {
		n += minSegmentBytes
	}
	return n, err
}

func (f lateFile) ReadAt(b []byte, off int64) (int, error) {
	if n, err := f.File.Size(); err == nil && *f.late && off >= n {
		*f.late = false
		clear(b)
		return len(b), nil
	}
	return f.File.ReadAt(b, off)
}

// TestTailCut: a segment that is cut to its length between the look at its size and the read is read to its end.
func TestTailCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		s := d.open(t, Options{Destinations: []string{"a"}})
		late := false
		tl := &tail{fs: lateFS{d.fs, &late}, dir: d.dir, o: (*TailOptions)(nil).withDefaults(), next: 1}
		next, stop := iter.Pull2(func(yield func(Tailed, error) bool) { tl.run(t.Context(), yield) })
		defer stop()
		rest := func(yield func(Tailed, error) bool) {
			for {
				if r, err, ok := next(); !ok || !yield(r, err) {
					return
				}
			}
		}
		mustAppend(t, s, batch(1, 10, 100))
		follow(t, rest, 1, 10)
		mustAppend(t, s, batch(11, 10, 100))
		mustSeal(t, s)
		mustAppend(t, s, batch(21, 10, 100))
		late = true
		if gaps := follow(t, rest, 11, 30); len(gaps) > 0 || late {
			t.Errorf("%v", gaps)
		}
	})
}

// TestTailAfterAll: no record has a number above the largest one, so Tail and TailDir yield nothing after it. Adding 1 to it
// gave 0, and both began again at record 1.
func TestTailAfterAll(t *testing.T) {
	d := &disk{fs: vfs.OS(), dir: t.TempDir(), index: memDir().index}
	s := d.open(t, Options{Destinations: []string{"a"}})
	mustAppend(t, s, batch(1, 10, 100))
	mustSeal(t, s)
	mustAppend(t, s, batch(11, 10, 100))
	o := &TailOptions{Stop: true}
	for name, records := range map[string]iter.Seq2[Tailed, error]{
		"Tail":    s.Tail(t.Context(), math.MaxUint64, o),
		"TailDir": TailDir(t.Context(), d.dir, math.MaxUint64, o),
	} {
		for r, err := range records {
			t.Fatalf("%s yields record %d, %v", name, r.Seq, err)
		}
	}
}
