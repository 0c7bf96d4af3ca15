package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// The chain state of one of two destinations is damaged or gone: nothing counts as delivered to it that is still here,
// nothing is taken for missing that was deleted, and the accounts are right.
func TestLostChainState(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		for _, lose := range []string{"a", "b"} { // a has more than b
			t.Run(fmt.Sprintf("damaged %v, of %s", damaged, lose), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { lostChainState(t, damaged, lose) })
			})
		}
	}
}

func lostChainState(t *testing.T, damaged bool, lose string) {
	d := memDir()
	o := Options{Destinations: []string{"a", "b"}}
	s := d.open(t, o)
	for i := range 4 {
		mustAppend(t, s, batch(1+10*i, 10, 300))
		mustSeal(t, s)
	}
	segs := s.shelf.Sealed(0, 0)
	deliver(t, s, "a", segs[2].Number)
	deliver(t, s, "b", segs[0].Number)
	until(t, s, "deleted", func() bool { return s.Stats().Segments == 3 })
	want := s.Stats().Pending["b"]
	if err := s.shelf.Propose(lose, []byte("under way"), false); err != nil {
		t.Fatal(err)
	}
	path := s.chainPath(lose)
	closeSpool(t, s)
	if damaged {
		flipAt(t, d, path, 20)
	} else if err := d.fs.Remove(path); err != nil {
		t.Fatal(err)
	}
	// Without the index and the clean mark only the segments show which records there are.
	d.index = new(index.Mem).Open
	if err := d.fs.Remove(s.path(cleanName)); err != nil {
		t.Fatal(err)
	}

	// The same records are still pending for it.
	if _, err := d.tryOpen(t, Options{Destinations: []string{map[string]string{"a": "b", "b": "a"}[lose]}}); !errors.Is(err, ErrPending) {
		t.Fatalf("opened without %s: %v", lose, err)
	}
	s = d.open(t, o)
	c, err := s.shelf.Chain(lose)
	if err != nil || c.Segment < segs[0].Number || c.Segment >= segs[1].Number || c.Through != 10 || c.Joined != 1 || c.Next != 0 {
		t.Fatalf("chain %+v, %v", c, err)
	}
	if p := s.Stats().Pending[lose]; p != want {
		t.Errorf("pending %+v, want %+v", p, want)
	}
	if _, err := s.shelf.Proposed(lose); err == nil {
		t.Error("what was proposed to follow the lost state is still proposed")
	}
	balanced(t, s)
	if l := s.Ledger(); l.Damaged != (segment.Tally{}) || l.Destinations[lose].Records != 10 {
		t.Errorf("ledger %+v", l)
	}
	if n := len(s.shelf.Sealed(0, 0)); n != 3 {
		t.Errorf("%d segments", n)
	}
	for _, dest := range o.Destinations {
		deliver(t, s, dest, segs[3].Number)
	}
	until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
	balanced(t, s)
}

// The only destination's state is gone when no segment is left either: numbers are not given a second time.
func TestLostChainStateOfEmptySpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		s := threeSegments(t, d, Options{})
		last := lastSegment(s)
		deliver(t, s, "a", last)
		until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
		path := s.chainPath("a")
		closeSpool(t, s)
		flipAt(t, d, path, 20)
		if err := d.fs.Remove(s.path(cleanName)); err != nil {
			t.Fatal(err)
		}
		d.index = new(index.Mem).Open
		s = d.open(t, Options{Destinations: []string{"a"}})
		if c, err := s.shelf.Chain("a"); err != nil || c.Segment < last || c.Through != 30 || c.Joined != 1 {
			t.Fatalf("chain %+v, %v", c, err)
		}
		if got := mustAppend(t, s, batch(31, 1, 500)); got != 31 {
			t.Errorf("record %d", got)
		}
		mustSeal(t, s)
		if n := lastSegment(s); n <= last {
			t.Errorf("segment %d after %d", n, last)
		}
		balanced(t, s)
	})
}

// After a kill, both chain states are damaged, and so is the only file of a segment that one destination lacks, or nothing is left of that
// segment but a staged file without its record. Its records are reported as damaged, and not taken for deleted ones.
func TestLostChainStatesAndSegment(t *testing.T) {
	for _, staged := range []bool{false, true} {
		t.Run(fmt.Sprintf("a staged file %v", staged), func(t *testing.T) { testLostChainStatesAndSegment(t, staged) })
	}
}

func testLostChainStatesAndSegment(t *testing.T, staged bool) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		o := Options{Destinations: []string{"a", "b"}}
		s := d.open(t, o)
		for i := range 3 {
			mustAppend(t, s, batch(1+10*i, 10, 300))
			mustSeal(t, s)
		}
		segs := s.shelf.Sealed(0, 0)
		deliver(t, s, "a", segs[1].Number)
		deliver(t, s, "b", segs[0].Number)
		until(t, s, "deleted", func() bool { return s.Stats().Segments == 2 })
		closeSpool(t, s)
		if err := d.fs.Remove(s.path(cleanName)); err != nil {
			t.Fatal(err)
		}
		if staged {
			if err := errors.Join(d.fs.Remove(s.segPath(segs[1].Number)), vfs.WriteFileAtomic(d.fs, s.objPath(segs[1].Number), []byte("content"))); err != nil {
				t.Fatal(err)
			}
		} else {
			f, err := d.fs.OpenRW(s.segPath(segs[1].Number))
			if err == nil {
				err = errors.Join(f.Truncate(100), f.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range o.Destinations {
			flipAt(t, d, s.chainPath(name), 20)
		}
		s = d.open(t, o)
		balanced(t, s)
		hole := s.shelf.Sealed(0, 1)[0]
		if want := (segment.Range{First: 11, Last: 20}); len(hole.Gaps) != 1 || hole.Gaps[0] != want || hole.Number <= segs[0].Number || hole.Number >= segs[2].Number {
			t.Errorf("the oldest segment is %+v", hole)
		}
		if l := s.Ledger(); l.Damaged.Records != 10 {
			t.Errorf("damaged: %+v", l.Damaged)
		}
		for _, name := range o.Destinations {
			deliver(t, s, name, segs[2].Number)
		}
		until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
		balanced(t, s)
	})
}

// A kill interrupts the deletion of segments that every destination has: the index still lists them. A chain state is damaged too.
// Nothing is missing, and nothing is reported.
func TestLostChainStateAfterInterruptedDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, ix := memDir(), new(index.Mem)
		d.index = ix.Open
		o := Options{Destinations: []string{"a", "b"}}
		s := d.open(t, o)
		for i := range 3 {
			mustAppend(t, s, batch(1+10*i, 10, 300))
			mustSeal(t, s)
		}
		segs := s.shelf.Sealed(0, 0)
		for _, name := range o.Destinations {
			deliver(t, s, name, segs[1].Number)
		}
		until(t, s, "deleted", func() bool { return s.Stats().Segments == 1 })
		listed := 0
		for aged := 0; listed < 3; aged++ {
			old := ix.Crash(index.Fate{Aged: aged})
			x, _, err := old.Open(d.fs, d.dir, slog.Default())
			if err != nil {
				t.Fatal(err)
			}
			listed = 0
			_ = x.Load(func(string, []byte) error { listed++; return nil })
			_ = x.Close()
			d.index = old.Open
		}
		closeSpool(t, s)
		if err := d.fs.Remove(s.path(cleanName)); err != nil {
			t.Fatal(err)
		}
		flipAt(t, d, s.chainPath("a"), 20)
		s = d.open(t, o)
		balanced(t, s)
		if l := s.Ledger(); l.Damaged.Records != 0 || len(s.damages.list()) != 0 {
			t.Errorf("damaged: %+v, %+v", l.Damaged, s.damages.list())
		}
		if first := s.shelf.Sealed(0, 1)[0]; first.Number != segs[2].Number {
			t.Errorf("the oldest segment is %+v", first)
		}
	})
}
