package spool

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// slowDisk is a disk that takes its time to sync a segment.
type slowDisk struct {
	vfs.FS
	wait    func()       // how it does
	syncing atomic.Int64 // syncs that run
	syncs   atomic.Int64
	ahead   atomic.Int64 // writes while one ran
}

// yield lets others run.
func yield() {
	for range 200 {
		runtime.Gosched()
	}
}

type slowFile struct {
	vfs.File
	d *slowDisk
}

func (d *slowDisk) slow(path string, f vfs.File, err error) (vfs.File, error) {
	if err != nil || !strings.HasSuffix(path, segExt) {
		return f, err
	}
	return slowFile{f, d}, nil
}

func (d *slowDisk) Create(path string) (vfs.File, error) {
	f, err := d.FS.Create(path)
	return d.slow(path, f, err)
}

func (d *slowDisk) OpenRW(path string) (vfs.File, error) {
	f, err := d.FS.OpenRW(path)
	return d.slow(path, f, err)
}

func (f slowFile) Sync() error {
	f.d.syncs.Add(1)
	f.d.syncing.Add(1)
	defer f.d.syncing.Add(-1)
	f.d.wait()
	return f.File.Sync()
}

func (f slowFile) WriteAt(p []byte, off int64) (int, error) {
	if f.d.syncing.Load() > 0 {
		f.d.ahead.Add(1)
	}
	return f.File.WriteAt(p, off)
}

// crowd is goroutines that append at the same time.
type crowd struct {
	mu    sync.Mutex
	acked map[string]bool
	errs  []error
	then  func(acked int) // called after each append
}

// append lets n goroutines append some batches of 8 KB each, until one of theirs fails or ctx has ended. Append itself looks at ctx only
// where it waits.
func (c *crowd) append(ctx context.Context, s *Spool, n, batches int) {
	c.acked = make(map[string]bool)
	var wg sync.WaitGroup
	for w := range n {
		wg.Go(func() {
			for b := range batches {
				if ctx.Err() != nil {
					return
				}
				records := make([]segment.Record, 8)
				for i := range records {
					records[i].Data = fmt.Appendf(nil, "%d %d %d %01000d", w, b, i, 0)
				}
				_, err := s.Append(ctx, records)
				c.mu.Lock()
				for _, r := range records {
					if err == nil {
						c.acked[string(r.Data)] = true
					}
				}
				if err != nil {
					c.errs = append(c.errs, err)
				}
				n := len(c.acked)
				c.mu.Unlock()
				if c.then != nil {
					c.then(n)
				}
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}

// check finds, once and in the order of each writer, every record that was acknowledged in what a power cut leaves of the disk.
func (c *crowd) check(t *testing.T, mem *vfs.Mem) {
	t.Helper()
	s := (&disk{fs: mem.CrashClone(vfs.Crash{}), dir: "/spool", index: new(index.Mem).Open}).open(t, Options{})
	defer closeSpool(t, s)
	found := make(map[string]bool)
	last := make(map[int][2]int)
	if n := s.Stats().Appended; n > 0 {
		for r, err := range s.Tail(t.Context(), 0, nil) {
			if err != nil {
				t.Fatal(err)
			}
			var w int
			var at [2]int
			if _, err := fmt.Sscan(string(r.Data), &w, &at[0], &at[1]); err != nil {
				t.Fatal(err)
			}
			if before, ok := last[w]; found[string(r.Data)] || ok && (at[0] < before[0] || at[0] == before[0] && at[1] <= before[1]) {
				t.Fatalf("record %d %v comes after %v", w, at, before)
			}
			found[string(r.Data)], last[w] = true, at
			if r.Seq == n {
				break
			}
		}
	}
	for data := range c.acked {
		if !found[data] {
			t.Fatalf("record %.20s was acknowledged and is lost", data)
		}
	}
}

// divide has a crowd divided for good.
func divide(s *Spool) {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	s.journal.forms = formChoice{divided: true, better: true, wait: 1 << 30}
}

// crowdOptions are the options of a spool that has room for the records of a crowd.
func crowdOptions() Options {
	return Options{Sync: SyncAlways, SegmentBytes: 1 << 20, MemoryBytes: 8 << 20, MaxBytes: 256 << 20}
}

// A crowd that is divided writes while the disk syncs, and each sync serves a good part of it.
func TestCrowdIsDivided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		d := &slowDisk{FS: mem, wait: func() { time.Sleep(time.Millisecond) }}
		o := crowdOptions()
		o.SegmentBytes = 64 << 20 // one for all: the end of one would wait for a lock, which stops the time of a bubble
		o.MaxBytes = 1 << 30
		s := (&disk{fs: d, dir: "/spool", index: new(index.Mem).Open}).open(t, o)
		divide(s)
		processor := make(chan struct{}, 1) // the one of all, which each append takes for 50 µs
		c := crowd{then: func(int) {
			processor <- struct{}{}
			time.Sleep(50 * time.Microsecond)
			<-processor
		}}
		c.append(t.Context(), s, 32, 150)
		if len(c.errs) > 0 || len(c.acked) != 32*150*8 {
			t.Fatalf("%d acknowledged, %v", len(c.acked), c.errs)
		}
		if n := d.ahead.Load(); n < 100 {
			t.Errorf("%d writes while the disk synced", n)
		}
		if n, most := d.syncs.Load(), int64(32*150/(32/crowdParts)+20); n > most {
			t.Errorf("%d syncs for %d appends of 32 writers, want %d at most", n, 32*150, most)
		}
		c.check(t, mem)
		closeSpool(t, s)
	})
}

// The form that serves more is found, whichever it is, and again when that changes; tries of the other one become rare.
func TestFormChoice(t *testing.T) {
	for name, serves := range map[string][2]float64{ // appends a second: together, divided
		"together":             {6000, 4000},
		"divided":              {4000, 6000},
		"together, by little":  {5000, 4600},
		"no difference at all": {5000, 5000},
	} {
		t.Run(name, func(t *testing.T) {
			var f formChoice
			now := time.Unix(0, 0)
			run := func(syncs int, serves [2]float64) (tries int) {
				for range syncs {
					if f.divided != f.better {
						tries++
					}
					n, rate := uint64(32), serves[0]
					if f.divided {
						n, rate = 16, serves[1]
					}
					now = now.Add(time.Duration(float64(n) / rate * float64(time.Second)))
					f.note(n, now)
				}
				return tries
			}
			better := func(serves [2]float64) bool { return serves[1] > formGain*serves[0] }
			run(10*formWindow, serves)
			if f.better != better(serves) {
				t.Errorf("divided %t after ten windows: %+v", f.better, f)
			}
			if n := run(1000*formWindow, serves); n > 1000*formWindow/40 {
				t.Errorf("%d of %d syncs were tries", n, 1000*formWindow)
			}
			other := [2]float64{serves[1], serves[0]}
			run(2*formLast*formWindow, other)
			if want := better(other); f.better != want && other[0] != other[1] && (want || other[0] > formGain*other[1]) {
				t.Errorf("divided %t after it has become worse: %+v", f.better, f)
			}
			before := f.better
			for range 200 * formWindow { // in bursts of five syncs, a second apart, or between which there is no crowd
				run(5, serves)
				if now = now.Add(time.Second); now.Unix()%2 == 0 {
					f.left()
				}
			}
			if want := better(serves); f.better != want && (f.better != before || serves[0] != serves[1] && (want || serves[0] > formGain*serves[1])) {
				t.Errorf("pauses have decided: %+v", f)
			}
		})
	}
}

// When a crowd has left, the remaining appends sync for themselves, as without a crowd.
func TestCrowdLeaves(t *testing.T) {
	mem := vfs.NewMem()
	s := (&disk{fs: &slowDisk{FS: mem, wait: yield}, dir: "/spool", index: new(index.Mem).Open}).open(t, crowdOptions())
	divide(s)
	for _, n := range []int{1, 40, 1, 3, 13, 2} {
		var c crowd
		c.append(t.Context(), s, n, 7)
		if len(c.errs) > 0 {
			t.Fatal(c.errs)
		}
		for held := true; held; runtime.Gosched() { // the relay may still be about to give its role up
			s.journal.mu.Lock()
			held = s.journal.syncer.busy || s.journal.writer.busy || len(s.journal.syncer.waiting.parked) > 0
			s.journal.mu.Unlock()
		}
	}
	closeSpool(t, s)
}

// A write or a sync that fails while there is a crowd loses no acknowledged record, and blocks no append.
func TestCrowdOnFailingDisk(t *testing.T) {
	for _, kind := range []vfs.Kind{vfs.OpWrite, vfs.OpSync} {
		for _, times := range []int64{1, 3} { // a bad sector, a disk that refuses for a while
			for at := int64(1); at < 30; at += 2 {
				mem := vfs.NewMem()
				var n atomic.Int64
				d := &slowDisk{wait: yield, FS: vfs.Inject(mem, func(op vfs.Op) error {
					if op.Kind == kind && strings.HasSuffix(op.Path, segExt) {
						if k := n.Add(1); k >= at && k < at+times {
							return &vfs.Fault{Err: syscall.EIO, Bytes: op.Len / 2}
						}
					}
					return nil
				})}
				s, err := (&disk{fs: d, dir: "/spool", index: new(index.Mem).Open}).tryOpen(t, crowdOptions())
				if err != nil {
					continue // the first segment could not be made
				}
				divide(s)
				ctx, enough := context.WithCancel(t.Context())
				c := crowd{then: func(acked int) {
					if n.Load() >= at+times && acked >= 960 {
						enough()
					}
				}}
				c.append(ctx, s, 24, 1_000_000)
				enough()
				for _, err := range c.errs {
					if !errors.Is(err, ErrFailing) && !errors.Is(err, context.Canceled) {
						t.Fatal(err)
					}
				}
				if n.Load() < at {
					t.Error("the fault was not met")
				}
				c.check(t, mem)
				_ = s.Close()
			}
		}
	}
}

// Close while there is a crowd ends all appends, and acknowledged records are there afterwards.
func TestCloseAmidACrowd(t *testing.T) {
	for _, after := range []int{0, 8, 1000, 3000, 10000} {
		mem := vfs.NewMem()
		s := (&disk{fs: &slowDisk{FS: mem, wait: yield}, dir: "/spool", index: new(index.Mem).Open}).open(t, crowdOptions())
		divide(s)
		var once sync.Once
		var wg sync.WaitGroup
		c := crowd{then: func(acked int) {
			if acked >= after {
				once.Do(func() { wg.Go(func() { _ = s.Close() }) })
			}
		}}
		c.append(t.Context(), s, 32, 1_000_000)
		wg.Wait()
		closeSpool(t, s)
		if len(c.errs) != 32 {
			t.Errorf("%d of 32 writers were ended: %v", len(c.errs), c.errs)
		}
		for _, err := range c.errs {
			if !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
		c.check(t, mem)
	}
}
