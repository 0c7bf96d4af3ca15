package spool

import (
	"errors"
	"testing"

	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestDamagedFileIsNoCopy: the readable records of a damaged segment were staged. The staged file can be made again, but the
// damaged one is the only copy of the rest: if one of them must be removed, a full spool removes the staged one.
func TestDamagedFileIsNoCopy(t *testing.T) {
	d := memDir()
	d.index = new(index.Mem).Open
	o := fullOptions(Reject)
	o.Destinations = []string{"up", "down"}
	s := d.open(t, o)
	if _, err := s.Append(t.Context(), batch(1, 40, 1000)); err != nil {
		t.Fatal(err)
	}
	mustSeal(t, s)
	hurt := s.shelf.Sealed(0, 1)[0].Number
	flip(t, d, s.segPath(hurt), 20)

	n := 40
	for range 4 {
		until(t, s, "room", func() bool { return !s.Stats().Full })
		for {
			last, err := s.Append(t.Context(), batch(n+1, 4, 1000))
			if errors.Is(err, ErrFull) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			n = int(last)
		}
		mustSeal(t, s)
		c, _ := s.shelf.Chain("up")
		for _, seg := range s.shelf.Sealed(c.Segment, 0) {
			if _, err := s.shelf.Stage(t.Context(), seg.Number, gzipEncoder{}); err != nil {
				t.Fatal(err)
			}
			deliver(t, s, "up", seg.Number)
		}
	}
	wantKept := func(when string) {
		t.Helper()
		all := s.shelf.Damages()
		if len(all) != 1 || all[0].Segment != hurt || all[0].GivenUp || all[0].Records == 0 || len(all[0].Files) != 1 {
			t.Fatalf("%s: %+v", when, all)
		}
	}
	wantKept("full")
	for _, seg := range s.shelf.Sealed(0, 0) {
		if _, err := s.shelf.Stage(t.Context(), seg.Number, gzipEncoder{}); err != nil {
			t.Fatal(err)
		}
		deliver(t, s, "down", seg.Number)
	}
	wantKept("delivered")
	balanced(t, s)
	closeSpool(t, s)
}

// TestGivenUpFileStays: the operator gives up the damaged records while a destination still lacks the segment. The damaged file
// stays until the operator removes it. Records that are given up in advance acknowledge no damage.
func TestGivenUpFileStays(t *testing.T) {
	d := memDir()
	d.index = new(index.Mem).Open
	s := d.open(t, Options{Destinations: []string{"up", "down"}, SegmentBytes: minSegmentBytes, MaxBytes: 64 << 20})
	mustAppend(t, s, batch(1, 40, 1000))
	mustSeal(t, s)
	hurt := s.shelf.Sealed(0, 1)[0].Number
	giveUp := func(first, last uint64) {
		t.Helper()
		if err := giveUp(d.fs, "/spool", hurt, []segment.Range{{First: first, Last: last}}); err != nil {
			t.Fatal(err)
		}
	}
	giveUp(1, 100_000)
	flip(t, d, s.segPath(hurt), 20)
	if _, err := s.shelf.Stage(t.Context(), hurt, gzipEncoder{}); err != nil {
		t.Fatal(err)
	}
	deliver(t, s, "up", hurt)
	all := s.shelf.Damages()
	if len(all) != 1 || all[0].GivenUp {
		t.Fatalf("given up before anybody knew what: %+v", all)
	}
	giveUp(all[0].Ranges[0].First, all[0].Ranges[0].Last)
	if all := s.shelf.Damages(); !all[0].GivenUp {
		t.Fatalf("not given up: %+v", all)
	}
	deliver(t, s, "down", hurt)
	until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
	if _, err := d.fs.Stat(s.path(damagedDir, numberName(hurt)+segExt)); err != nil {
		t.Errorf("the damaged file: %v", err)
	}
	closeSpool(t, s)
}
