package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// The bound for the records lost by a kill is the memory budget of the killed process, not of the next one.
func TestKillIsBoundedByItsOwnProcess(t *testing.T) {
	const budget = 8 << 20
	for name, c := range map[string]struct {
		before  func(t *testing.T, s *Spool)
		atLeast uint64
	}{
		"before the first record": {func(*testing.T, *Spool) {}, budget},
		"after one record":        {func(t *testing.T, s *Spool) { mustAppend(t, s, batch(1, 1, 10)) }, budget},
		"a batch above the budget": {func(t *testing.T, s *Spool) {
			if _, err := s.Offer(t.Context(), []segment.Record{{Data: make([]byte, budget+1)}}); err != nil {
				t.Error(err)
			}
		}, budget + 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(Options{MemoryBytes: budget})
			s, err := open("/spool", w.mem, w.index.Open, &w.opts)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			c.before(t, s)
			k := w.clone(processDies, index.Fate{})
			k.opts.MemoryBytes = minMemoryBytes
			s2, err := open("/spool", k.mem, k.index.Open, &k.opts)
			if err != nil {
				t.Fatal(err)
			}
			defer s2.Close()
			if u := s2.Ledger().Unaccounted; len(u) != 1 || u[0].AtMostBytes < c.atLeast || u[0].From.IsZero() {
				t.Errorf("unaccounted: %+v", u)
			}
			balanced(t, s2)
		})
	}
}

// An orderly end leaves no mark, and nothing to report.
func TestOrderlyEndLeavesNoLifeMark(t *testing.T) {
	d := memDir()
	s := d.open(t, Options{})
	mustAppend(t, s, batch(1, 1, 10))
	closeSpool(t, s)
	if _, err := d.fs.Stat(s.path(lifeName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the mark is still there: %v", err)
	}
	s = d.open(t, Options{})
	defer s.Close()
	if u := s.Ledger().Unaccounted; len(u) != 0 {
		t.Errorf("unaccounted: %+v", u)
	}
}

// A successor receives into memory before it has the spool. If it dies in that time, the next start reports what it may have held,
// although the spool was closed in order.
func TestSuccessorDies(t *testing.T) {
	for _, opened := range []bool{false, true} {
		w := newWorld(Options{})
		s, err := open("/spool", w.mem, w.index.Open, &w.opts)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, batch(1, 1, 10))
		s.shelf.HandOver()
		closeSpool(t, s)
		want := uint64(minMemoryBytes)
		if opened {
			w.opts.Successor = true
			s, err := open("/spool", w.mem, w.index.Open, &w.opts)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if u := s.Ledger().Unaccounted; len(u) != 0 {
				t.Errorf("the successor lives, and reports %+v", u)
			}
			want *= 2
		}
		k := w.clone(processDies, index.Fate{})
		k.opts.Successor = false
		s2, err := open("/spool", k.mem, k.index.Open, &k.opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s2.Close()
		if u := s2.Ledger().Unaccounted; len(u) != 1 || u[0].AtMostBytes != want {
			t.Errorf("opened %v: unaccounted %+v, want %d", opened, u, want)
		}
		balanced(t, s2)
	}
}

// A predecessor dies before it has closed the spool. What its successor holds is bounded too: if both die, and if the successor lives.
func TestPredecessorDies(t *testing.T) {
	for _, announced := range []bool{false, true} { // by HandOver
		w := newWorld(Options{})
		s, err := open("/spool", w.mem, w.index.Open, &w.opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		mustAppend(t, s, batch(1, 1, 10))
		if announced {
			s.shelf.HandOver()
		}
		reported := func(w *world, successor bool) (bytes uint64) {
			w.opts.Successor = successor
			s, err := open("/spool", w.mem, w.index.Open, &w.opts)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			for _, u := range s.Ledger().Unaccounted {
				bytes += u.AtMostBytes
			}
			balanced(t, s)
			return bytes
		}
		if got := reported(w.clone(processDies, index.Fate{}), false); announced && got != 2*minMemoryBytes {
			t.Errorf("both died: reported %d", got)
		}
		k := w.clone(processDies, index.Fate{})
		if got := reported(k, true); got != minMemoryBytes {
			t.Errorf("announced %v: the successor reported %d", announced, got)
		}
		if got := reported(k.clone(processDies, index.Fate{}), false); got != 3*minMemoryBytes {
			t.Errorf("announced %v: the successor died too: reported %d", announced, got)
		}
	}
}

// A process that finds a sudden end dies before the log names it. The next one reports both ends.
func TestTwoSuddenEnds(t *testing.T) {
	const budget = 8 << 20
	w := newWorld(Options{MemoryBytes: budget})
	s, err := open("/spool", w.mem, w.index.Open, &w.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mustAppend(t, s, batch(1, 1, 10))
	for ends := range uint64(maxUnaccounted + 3) {
		w = w.clone(processDies, index.Fate{})
		w.opts.MemoryBytes = minMemoryBytes
		s, err := openStill(nil, "/spool", w.mem, w.index.Open, &w.opts) // its writer does not run
		if err != nil {
			t.Fatal(err)
		}
		u := s.Ledger().Unaccounted
		sum := uint64(0)
		for _, end := range u {
			sum += end.AtMostBytes
		}
		if want := budget + ends*minMemoryBytes; sum != want || len(u) > maxUnaccounted {
			t.Fatalf("after %d ends %d entries, %d bytes, want %d", ends+1, len(u), sum, want)
		}
		if ends > 1 {
			balanced(t, s)
		}
	}
	// Once the log has the ends, no process adds them again.
	for range 2 {
		w = w.clone(processDies, index.Fate{})
		s, err := open("/spool", w.mem, w.index.Open, &w.opts)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, batch(2, 1, 10))
		mustSeal(t, s)
		closeSpool(t, s)
		sum := uint64(0)
		for _, end := range s.Ledger().Unaccounted {
			sum += end.AtMostBytes
		}
		if want := uint64(budget + (maxUnaccounted+3)*minMemoryBytes); sum != want {
			t.Errorf("%d bytes, want %d", sum, want)
		}
	}
}

// An Open that fails after an orderly end has received nothing, whatever it fails at. A later one reports no loss, and knows what a
// successor holds.
func TestOpenFailsAtMarks(t *testing.T) {
	for fail := 1; ; fail++ {
		w := newWorld(Options{})
		s, err := open("/spool", w.mem, w.index.Open, &w.opts)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, batch(1, 1, 10))
		s.shelf.HandOver()
		closeSpool(t, s)
		w.opts.Successor = true
		n := 0
		fsys := vfs.Inject(w.mem, func(op vfs.Op) error {
			if b := filepath.Base(op.Path); strings.HasPrefix(b, lifeName) || b == cleanName || filepath.Clean(op.Path) == "/spool" {
				if n++; n == fail {
					return errors.New("refused")
				}
			}
			return nil
		})
		s, err = openStill(nil, "/spool", fsys, w.index.Open, &w.opts)
		if n < fail {
			return
		}
		if err != nil {
			s, err = openStill(nil, "/spool", w.mem, w.index.Open, &w.opts)
		}
		if err != nil {
			t.Fatal(err)
		}
		if u := s.Ledger().Unaccounted; len(u) != 0 {
			t.Errorf("call %d: the same process tries again, and reports %+v", fail, u)
		}
		k := w.clone(processDies, index.Fate{})
		k.opts.Successor = false
		s, err = open("/spool", k.mem, k.index.Open, &k.opts)
		if err != nil {
			t.Fatal(err)
		}
		if u := s.Ledger().Unaccounted; len(u) != 1 || u[0].AtMostBytes != 2*minMemoryBytes {
			t.Errorf("call %d, then killed: %+v", fail, u)
		}
		closeSpool(t, s)
	}
}

// If an older copy of the clean mark has come back, it hides neither the possible loss by a later kill nor the records that were
// kept after it: with the life mark of the killed process, and without.
func TestOldCleanMark(t *testing.T) {
	for _, lifeGone := range []bool{false, true} {
		for _, later := range []int{0, 10, 3000} { // records of the killed process: none, in the same segment, in later ones
			if lifeGone && later == 0 {
				continue // then it cannot be distinguished from an orderly end
			}
			t.Run(fmt.Sprintf("%d records, no mark of the process: %v", later, lifeGone), func(t *testing.T) {
				w := newWorld(Options{Sync: SyncAlways})
				s, err := open("/spool", w.mem, w.index.Open, &w.opts)
				if err != nil {
					t.Fatal(err)
				}
				mustAppend(t, s, batch(1, 10, 100))
				closeSpool(t, s)
				old, err := vfs.ReadFile(w.mem, s.path(cleanName), 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				if s, err = open("/spool", w.mem, w.index.Open, &w.opts); err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				for n := range later / 10 {
					mustAppend(t, s, batch(11+10*n, 10, 100))
				}
				k := w.clone(processDies, index.Fate{})
				if err := vfs.WriteFileAtomic(k.mem, s.path(cleanName), old); err != nil {
					t.Fatal(err)
				}
				if lifeGone {
					if err := k.mem.Remove(s.path(lifeName)); err != nil {
						t.Fatal(err)
					}
				}
				in, err := inspect(k.mem, "/spool")
				if err != nil {
					t.Fatal(err)
				}
				if u := in.Ledger.Unaccounted; len(u) != 1 || u[0].AtMostBytes < minMemoryBytes {
					t.Errorf("unaccounted when inspected: %+v", u)
				}
				s2, err := open("/spool", k.mem, k.index.Open, &k.opts)
				if err != nil {
					t.Fatal(err)
				}
				defer s2.Close()
				if u := s2.Ledger().Unaccounted; len(u) != 1 || u[0].AtMostBytes < minMemoryBytes {
					t.Errorf("unaccounted: %+v", u)
				}
				if got := s2.Stats().Appended; got != uint64(10+later) {
					t.Errorf("%d records are left of %d", got, 10+later)
				}
				balanced(t, s2)
			})
		}
	}
}

// TestFailedOpenIsNoSuddenEnd: Open fails at each of its operations. It has received nothing, so the next Open reports no end but the one
// that there was.
func TestFailedOpenIsNoSuddenEnd(t *testing.T) {
	for _, before := range []string{"new", "closed", "killed"} {
		t.Run(before, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { failedOpen(t, before) }) })
	}
}

func failedOpen(t *testing.T, before string) {
	var reported []string // for each operation
	for at := 1; ; at++ {
		w := newWorld(Options{})
		want := 0
		if before != "new" {
			s, err := open("/spool", w.mem, w.index.Open, &w.opts)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			mustAppend(t, s, batch(1, 1, 10))
			if before == "closed" {
				closeSpool(t, s)
			} else {
				want = 1
				w = w.clone(processDies, index.Fate{})
			}
		}
		var n atomic.Int64
		var refused atomic.Pointer[vfs.Op]
		s, err := open("/spool", vfs.Inject(w.mem, func(op vfs.Op) error {
			if n.Add(1) != int64(at) {
				return nil
			}
			refused.Store(&op)
			return errors.New("refused")
		}), w.index.Open, &w.opts)
		if err == nil {
			opened := n.Load()
			_ = s.Close() // it may be what is refused
			if opened < int64(at) {
				break
			}
			continue // it goes on without that operation
		}
		if s, err = open("/spool", w.mem, w.index.Open, &w.opts); err != nil {
			t.Fatal(err)
		}
		reported = append(reported, "")
		if u := s.Ledger().Unaccounted; len(u) != want {
			reported[len(reported)-1] = fmt.Sprintf("%v refused: %+v", *refused.Load(), u)
		}
		closeSpool(t, s)
	}
	if len(reported) < 10 {
		t.Fatalf("only %d operations failed", len(reported))
	}
	for _, r := range reported {
		if r != "" {
			t.Error(r)
		}
	}
}

// TestOpeningComesBack: a process has received records and was killed, and the marks of the time when it opened the spool come back. Its end is
// reported.
func TestOpeningComesBack(t *testing.T) {
	for _, both := range []bool{false, true} {
		t.Run(fmt.Sprint("clean too: ", both), func(t *testing.T) {
			w := newWorld(Options{Sync: SyncAlways})
			s, err := open("/spool", w.mem, w.index.Open, &w.opts)
			if err != nil {
				t.Fatal(err)
			}
			mustAppend(t, s, batch(1, 10, 100))
			closeSpool(t, s)
			var life, clean []byte
			fsys := vfs.Inject(w.mem, func(op vfs.Op) error {
				if op.Kind == vfs.OpRemove && filepath.Base(op.Path) == cleanName && life == nil {
					life, _ = vfs.ReadFile(w.mem, "/spool/"+lifeName, 1<<20)
					clean, _ = vfs.ReadFile(w.mem, "/spool/"+cleanName, 1<<20)
				}
				return nil
			})
			if s, err = open("/spool", fsys, w.index.Open, &w.opts); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			mustAppend(t, s, batch(11, 10, 100))
			k := w.clone(processDies, index.Fate{})
			if life == nil || clean == nil {
				t.Fatal("no marks")
			}
			if err := vfs.WriteFileAtomic(k.mem, "/spool/"+lifeName, life); err != nil {
				t.Fatal(err)
			}
			if both {
				if err := vfs.WriteFileAtomic(k.mem, "/spool/"+cleanName, clean); err != nil {
					t.Fatal(err)
				}
			}
			d := &disk{fs: k.mem, dir: "/spool", index: k.index.Open}
			s2 := d.open(t, k.opts)
			if u := s2.Ledger().Unaccounted; len(u) != 1 || u[0].AtMostBytes < minMemoryBytes {
				t.Errorf("appended %d; unaccounted: %+v", s2.Stats().Appended, u)
			}
		})
	}
}

// Close waits for a write of the life mark, and no later one changes the directory, which another process may have by then.
func TestLifeMarkAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(Options{})
		hold := make(chan struct{})
		var held, closed atomic.Bool
		fsys := renames{w.mem, func(to string) {
			if filepath.Base(to) == lifeName && held.Load() {
				<-hold
				if closed.Load() {
					t.Error("written after Close")
				}
			}
		}}
		s, err := open("/spool", fsys, w.index.Open, &w.opts)
		if err != nil {
			t.Fatal(err)
		}
		held.Store(true)
		go s.shelf.HandOver()
		synctest.Wait()
		go func() {
			closeSpool(t, s)
			closed.Store(true)
		}()
		synctest.Wait()
		if closed.Load() {
			t.Error("Close did not wait")
		}
		close(hold)
		synctest.Wait()
		if !closed.Load() {
			t.Fatal("Close hangs")
		}
		s.shelf.HandOver()
		if _, err := w.mem.Stat(s.path(lifeName)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the mark is still there: %v", err)
		}
	})
}

// An adopter has no successor in the spool: HandOver leaves the last owner's mark as it is, and the adopter's own end names nothing.
func TestHandOverOfAnAdoptedSpool(t *testing.T) {
	d := memDir()
	s := d.open(t, Options{Destinations: []string{"a"}})
	mustAppend(t, s, batch(1, 1, 10))
	mustSeal(t, s)
	closeSpool(t, s)
	for range 2 {
		s, err := adopt("/spool", d.fs, new(index.Mem).Open, &AdoptOptions{Work: "/work", Instance: "adopter", MaxBytes: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if u := s.Ledger().Unaccounted; len(u) != 0 {
			t.Errorf("unaccounted: %+v", u)
		}
		s.shelf.HandOver()
		if _, err := s.fs.Stat(s.path(lifeName)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("there is a mark: %v", err)
		}
		closeSpool(t, s)
	}
}

// renames calls before with the new name of each file that is renamed.
type renames struct {
	vfs.FS
	before func(to string)
}

func (r renames) Rename(from, to string) error {
	r.before(to)
	return r.FS.Rename(from, to)
}
