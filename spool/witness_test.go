package spool

import (
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// The last sync before a spool falls silent is noted outside of the segment, however soon it came after the previous one: if
// the file is gone after a kill, all of its records are reported by number.
func TestSilentSpoolHasItsLastSyncNoted(t *testing.T) {
	for _, appends := range []int{1, 2, 7} {
		synctest.Test(t, func(t *testing.T) {
			h, none := NewMemHost(), func(vfs.Op) error { return nil }
			o := &Options{Class: "vpn", Destinations: []string{"a"}, Sync: SyncAlways, SegmentAge: time.Hour}
			sp, err := h.Open(none, nil, o)
			if err != nil {
				t.Fatal(err)
			}
			for i := range appends {
				mustAppend(t, sp, batch(1+i, 1, 100))
				synctest.Wait()
			}
			time.Sleep(touchEvery)
			synctest.Wait()
			left := h.Clone()
			path := "/spool/seg/" + numberName(sp.journal.active.number) + segExt
			closeSpool(t, sp)
			if err := left.Files().Remove(path); err != nil {
				t.Fatal(err)
			}
			sp, err = left.Open(none, nil, o)
			if err != nil {
				t.Fatal(err)
			}
			defer closeSpool(t, sp)
			want := segment.Range{First: 1, Last: uint64(appends)}
			if d := sp.damages.list(); len(d) != 1 || len(d[0].Ranges) != 1 || d[0].Ranges[0] != want {
				t.Errorf("after %d appends, damage %+v, want %v", appends, d, want)
			}
		})
	}
}

// Appends wait for only one sync of the note of a segment, that of its beginning: the notes of each 10 ms become durable with the
// sync once a second.
func TestAppendsWaitForNoNote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var syncs atomic.Int64
		h := NewMemHost()
		sp, err := h.Open(func(op vfs.Op) error {
			if op.Kind == vfs.OpSync && strings.HasSuffix(op.Path, begunName) {
				syncs.Add(1)
			}
			return nil
		}, nil, &Options{Sync: SyncAlways, SegmentAge: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		defer closeSpool(t, sp)
		mustAppend(t, sp, batch(1, 1, 100))
		time.Sleep(markEvery + markEvery/2) // in the middle between two notes that are made durable
		first := syncs.Load()
		for i := range 40 {
			mustAppend(t, sp, batch(2+i, 1, 100))
			time.Sleep(touchEvery)
		}
		if n := syncs.Load() - first; n != 0 {
			t.Errorf("%d syncs of the note in 0.4 s", n)
		}
		time.Sleep(markEvery)
		if n := syncs.Load() - first; n != 1 {
			t.Errorf("%d syncs of the note after a second, want 1", n)
		}
	})
}

// Whatever a power cut leaves of notes that no sync has followed, there is one, and it is not older than the last that is durable.
func TestPowerCutLeavesANote(t *testing.T) {
	for _, refused := range []bool{false, true} { // a write of a note, in the middle
		mem := vfs.NewMem()
		if err := mem.MkdirAll("/d"); err != nil {
			t.Fatal(err)
		}
		var fail atomic.Bool
		fsys := vfs.Inject(mem, func(op vfs.Op) error {
			if op.Kind == vfs.OpWrite && fail.Load() {
				return &vfs.Fault{Err: errors.New("refused"), Bytes: op.Len / 2}
			}
			return nil
		})
		w := new(witness)
		if err := w.open(fsys, "/d", "/d/"+begunName, nil); err != nil {
			t.Fatal(err)
		}
		if err := w.startSegment(begun{Spool: "s", Segment: 1, First: 1, Next: 1, Instance: strings.Repeat("i", 2000)}); err != nil {
			t.Fatal(err)
		}
		if err := w.sync(); err != nil {
			t.Fatal(err)
		}
		durable := uint64(1)
		for i := range uint64(30) {
			p := progress{1, int64(4096 * i), place{seq: i + 1, bytes: 50 * i}}
			fail.Store(refused && i%4 == 3)
			w.mu.Lock()
			err := w.note(p, false)
			w.mu.Unlock()
			if (err != nil) != fail.Load() {
				t.Fatal(err)
			}
			fail.Store(false)
			for seed := range uint64(20) {
				k := mem.CrashClone(vfs.Crash{Data: vfs.DataTorn, Names: vfs.NamesKept, Seed: seed})
				if b, err := loadBegun(k, "/d/"+begunName, "s"); err != nil || b == nil || b.Next < durable {
					t.Fatalf("note %d, refused %t, seed %d: %+v, %v; %d is durable", i, refused, seed, b, err, durable)
				}
			}
			switch {
			case i%8 == 7:
				if err := w.flush(); err != nil {
					t.Fatal(err)
				}
			case i%10 == 9: // the process is killed, and its successor goes on
				w.close()
				last, err := loadBegun(fsys, "/d/"+begunName, "s")
				if err != nil || last == nil {
					t.Fatalf("%+v, %v", last, err)
				}
				w = new(witness)
				if err := w.open(fsys, "/d", "/d/"+begunName, last); err != nil {
					t.Fatal(err)
				}
			}
			if w.safe {
				durable = w.last.Next
			}
		}
		w.close()
	}
}

// duringSync is a file that does something else while it is synced.
type duringSync struct {
	vfs.File
	do  func()
	err error
}

func (f duringSync) Sync() error {
	f.do()
	return errors.Join(f.err, f.File.Sync())
}

// beginWitness opens a witness of a segment whose beginning is noted and not yet durable.
func beginWitness(t *testing.T) (w *witness, path string) {
	t.Helper()
	dir := t.TempDir()
	w, path = new(witness), filepath.Join(dir, begunName)
	if err := w.open(vfs.OS(), dir, path, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	if err := w.startSegment(begun{Spool: "s", Segment: 1, First: 1, Next: 1}); err != nil {
		t.Fatal(err)
	}
	return w, path
}

// A note that is written while the keeper syncs the file is not durable by that: the note of a new segment needs the next sync, and
// progress waits, so that the page that is being synced does not change.
func TestNoteDuringSync(t *testing.T) {
	w, _ := beginWitness(t)
	if err := w.sync(); err != nil {
		t.Fatal(err)
	}
	f := w.f
	w.f = duringSync{File: f, do: func() {
		turn := w.last.Turn
		w.at = time.Time{}
		if err := w.touch(progress{1, 8192, place{seq: 9}}); err != nil || w.last.Turn != turn || w.held.number != 1 {
			t.Errorf("%v, %+v: progress is noted while the file is synced", err, w.last)
		}
	}}
	if err := w.mark(1, 4096, place{seq: 5}, false); err != nil || !w.safe {
		t.Fatalf("%v, safe %t", err, w.safe)
	}
	w.f = duringSync{File: f, do: func() {
		if err := w.startSegment(begun{Spool: "s", Segment: 2, First: 10, Next: 10}); err != nil {
			t.Error(err)
		}
	}}
	if err := w.mark(1, 12288, place{seq: 9}, false); err != nil || w.safe || !w.owed.Load() || w.last.Segment != 2 {
		t.Fatalf("%v, safe %t, owed %t, %+v", err, w.safe, w.owed.Load(), w.last)
	}
	w.f = f
	if err := w.sync(); err != nil || !w.safe || w.owed.Load() {
		t.Fatalf("%v, safe %t, owed %t", err, w.safe, w.owed.Load())
	}
}

// A beginning whose sync failed is owed, and written and synced again by the next commit.
func TestBeginningIsOwedAfterAFailedSync(t *testing.T) {
	w, _ := beginWitness(t)
	f := w.f
	w.f = duringSync{File: f, do: func() {}, err: errors.New("refused")}
	if err := w.sync(); err == nil || w.safe || !w.owed.Load() {
		t.Fatalf("%v, safe %t, owed %t", err, w.safe, w.owed.Load())
	}
	w.f = f
	if err := w.sync(); err != nil || !w.safe || w.owed.Load() || w.last.Segment != 1 {
		t.Fatalf("%v, safe %t, owed %t", err, w.safe, w.owed.Load())
	}
}

// A beginning that was refused is noted with the first progress of its segment.
func TestRefusedBeginningIsNotedLater(t *testing.T) {
	w, path := beginWitness(t)
	f := w.f
	w.f = refusing{f}
	if err := w.startSegment(begun{Spool: "s", Segment: 2, First: 9, Next: 9}); err == nil {
		t.Fatal("nothing was refused")
	}
	w.f = f
	if err := w.mark(1, 4096, place{seq: 8}, true); err != nil { // its segment is sealed first
		t.Fatal(err)
	}
	if err := w.mark(2, 4096, place{seq: 12}, false); err != nil || !w.safe {
		t.Fatalf("%v, safe %t", err, w.safe)
	}
	if b, err := loadBegun(vfs.OS(), path, "s"); err != nil || b.Segment != 2 || b.First != 9 || b.Next != 13 {
		t.Errorf("%+v, %v", b, err)
	}
}
