package spool

import (
	"errors"
	"testing"

	"github.com/penstock-go/penstock/spool/internal/index"
)

// TestDamagedFileIsNoCopy: what could be read of a damaged segment was staged. The staged file can be made again, the
// damaged one is the only copy of the rest: a full spool gives up the former, if one of them has to go.
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
