package spool

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// Only a destination that has everything may say so, and only while nothing is open.
func TestIdle(t *testing.T) {
	d := memDir()
	s := d.open(t, Options{Destinations: []string{"a", "b"}})
	idle := func(name string) bool {
		t.Helper()
		_, ok, err := s.shelf.Idle(name)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !idle("a") {
		t.Error("an empty spool is idle")
	}
	mustAppend(t, s, batch(1, 10, 100))
	if idle("a") {
		t.Error("records are not sealed")
	}
	mustSeal(t, s)
	if idle("a") {
		t.Error("a sealed segment is not delivered")
	}
	stageAll(t, s)
	deliver(t, s, "a", s.shelf.Sealed(0, 0)[0].Number)
	until(t, s, "it is known", func() bool { return idle("a") })
	if idle("b") {
		t.Error("b has nothing")
	}
	if _, _, err := s.shelf.Idle("c"); err == nil {
		t.Error("c is no destination")
	}
}

// Idle's promise holds whatever the clock does: after a restart, and when all delivered segments are deleted.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(Options{Destinations: []string{"a"}})
		s, err := open("/spool", w.mem, w.index.Open, &w.opts)
		if err != nil {
			t.Fatal(err)
		}
		created := func() time.Time {
			t.Helper()
			mustAppend(t, s, batch(int(s.Stats().Appended)+1, 1, 100))
			mustSeal(t, s)
			all := s.shelf.Sealed(0, 0)
			return all[len(all)-1].Created
		}
		// The clock cannot be set back here; to have promised a time that is still to come is the same.
		ahead := time.Now().Add(40 * time.Minute).UTC()
		s.journal.mu.Lock()
		s.journal.begun = ahead
		s.journal.mu.Unlock()
		promised, ok, err := s.shelf.Idle("a")
		if err != nil || !ok || !promised.Equal(ahead) {
			t.Fatalf("%v, %v, %v", promised, ok, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = open("/spool", w.mem, w.index.Open, &w.opts); err != nil {
			t.Fatal(err)
		}
		if at := created(); at.Before(promised) {
			t.Errorf("a segment begins at %v, none was to begin before %v", at, promised)
		}
		stageAll(t, s)
		deliver(t, s, "a", s.shelf.Sealed(0, 0)[0].Number)
		for s.Stats().Segments > 0 {
			<-s.shelf.Changed()
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = open("/spool", w.mem, w.index.Open, &w.opts); err != nil {
			t.Fatal(err)
		}
		if at := created(); at.Before(promised) {
			t.Errorf("with everything deleted, a segment begins at %v, none was to begin before %v", at, promised)
		}
		// A clock that was wrong by more than a day does not count permanently.
		s.journal.mu.Lock()
		s.journal.begun = time.Now().Add(48 * time.Hour)
		s.journal.mu.Unlock()
		if at := created(); at.After(time.Now()) {
			t.Errorf("a segment begins at %v", at)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A sudden end is reported once, with the segment that follows it.
func TestUnaccountedInSegment(t *testing.T) {
	w := newWorld(Options{Destinations: []string{"a"}})
	s, err := open("/spool", w.mem, w.index.Open, &w.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mustAppend(t, s, batch(1, 10, 100))
	mustSeal(t, s)
	k := w.clone(crashes[0], index.Fate{})
	s2, err := open("/spool", k.mem, k.index.Open, &k.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s2.Close()
	var all []segment.Unaccounted
	for range 3 {
		mustAppend(t, s2, batch(int(s2.Stats().Appended)+1, 5, 100))
		mustSeal(t, s2)
	}
	for _, seg := range s2.shelf.Sealed(0, 0) {
		all = append(all, seg.Unaccounted...)
	}
	want := s2.Ledger().Unaccounted
	if len(all) != 1 || len(want) != 1 || !all[0].To.Equal(want[0].To) || all[0].AtMostBytes != want[0].AtMostBytes {
		t.Errorf("the segments tell of %+v, the ledger of %+v", all, want)
	}
}

// TestSince: segments that a chain does not cover are created at the time that Since returns, or later. It returns none if the first of
// them is missing.
func TestSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(Options{Destinations: []string{"a"}})
		s, err := open("/spool", w.mem, w.index.Open, &w.opts)
		if err != nil {
			t.Fatal(err)
		}
		since := func(want time.Time) {
			t.Helper()
			if got, err := s.shelf.Since("a"); err != nil || !got.Equal(want) {
				t.Errorf("%v, %v, not %v", got, err, want)
			}
		}
		hour := func() time.Time {
			time.Sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour)))
			return time.Now()
		}
		hour()
		since(time.Now())
		first := hour()
		mustAppend(t, s, batch(1, 10, 100))
		hour()
		since(first)
		mustSeal(t, s)
		since(first)
		second := hour()
		mustAppend(t, s, batch(11, 10, 100))
		since(first)
		mustSeal(t, s)
		all := s.shelf.Sealed(0, 0)
		stageAll(t, s)
		deliver(t, s, "a", all[0].Number)
		since(second)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, seg := range all {
			_ = w.mem.Remove(s.segPath(seg.Number))
			_ = w.mem.Remove(s.objPath(seg.Number))
			_ = w.mem.Remove(s.recPath(seg.Number))
		}
		if s, err = open("/spool", w.mem, w.index.Open, &w.opts); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, batch(21, 10, 100))
		since(time.Time{})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
