package audit_test

import (
	"context"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// sumless is a place that keeps no checksums.
type sumless struct{ *shiptest.MemoryDestination }

func (s sumless) Stat(ctx context.Context, key string) (ship.Receipt, error) {
	r, err := s.MemoryDestination.Stat(ctx, key)
	r.Checksum = ""
	return r, err
}

// TestContestedDuplicates: of several lines that name an object, each states its size, and one cannot excuse its absence.
func TestContestedDuplicates(t *testing.T) {
	build := func(related bool, change func(at *shiptest.MemoryDestination, s *ship.SegmentLine)) places {
		p := newPlaces()
		newChain(t, p, "idc", nil).add(3, nil).by("a").whole(30, nil).add(0, final)
		first := newChain(t, p, "s3", nil).add(3, nil)
		second := first.branch(2, "a", 3, 20)
		if related {
			first, second = second, first
		}
		honest := func(m *ship.Manifest) { m.Segments[0].Receipt.Method = "read-back" }
		first.by("a").whole(30, honest).add(0, final)
		second.by("a").whole(30, func(m *ship.Manifest) {
			honest(m)
			change(p["s3"], &m.Segments[0])
		}).add(0, final)
		return p
	}
	for _, related := range []bool{false, true} {
		p := build(related, func(_ *shiptest.MemoryDestination, s *ship.SegmentLine) {
			s.Size++
			s.Receipt.Size++
		})
		r, err := p.auditWith(t, sumless{p["s3"]})
		if err != nil {
			t.Fatal(err)
		}
		wants(t, r, audit.Damaged, audit.LineWrong, audit.ObjectAltered, audit.RecordsDoubled)

		p = build(related, func(at *shiptest.MemoryDestination, s *ship.SegmentLine) {
			at.Remove(s.Key)
			s.MinTime, s.MaxTime = testTime.Add(-48*time.Hour), testTime.Add(-48*time.Hour)
		})
		r, err = p.auditWith(t, sumless{p["s3"]}, func(o *audit.Options) { o.Since = testTime.Add(-24 * time.Hour) })
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range []string{audit.LineWrong, audit.ObjectMissing} {
			if f := finding(t, r, code, "s3"); f.Verdict != audit.Damaged || f.First != 21 {
				t.Errorf("%+v", f)
			}
		}
	}
}
