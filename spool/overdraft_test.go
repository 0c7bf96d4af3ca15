package spool

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// fatEncoder is a lineEncoder whose output is eight times the segment, as uncompressed NDJSON of small records is.
type fatEncoder struct{ lineEncoder }

func (e fatEncoder) Encode(ctx context.Context, dst io.Writer, src *segment.Reader, want *object.Encoding) (object.Encoded, error) {
	out, err := e.lineEncoder.Encode(ctx, dst, src, want)
	if err == nil {
		_, err = dst.Write(make([]byte, 7*64<<10))
	}
	return out, err
}

// A flood has filled the spool, and a staged file is larger than all the room that the reserve leaves: with the default
// options in proportion, and with the least that is allowed. Nothing is stuck, in whichever order and for whichever
// destination segments are asked for, although one destination gets nothing until the other has everything.
func TestStagedFileLargerThanReserve(t *testing.T) {
	for name, o := range map[string]Options{
		"default": {OnFull: Reject, Sync: SyncAlways, MaxBytes: 1 << 20, SegmentBytes: 64 << 10},
		"minimal": {OnFull: Reject, Sync: SyncAlways, MaxBytes: 300 << 10, SegmentBytes: 64 << 10, StageReserve: 1},
	} {
		t.Run(name, func(t *testing.T) {
			d := memDir()
			o.Destinations = []string{"up", "down"}
			s := d.open(t, o)
			defer closeSpool(t, s)
			n := fill(t, s)
			mustSeal(t, s)
			segs := s.shelf.Sealed(0, 0)
			if n == 0 || len(segs) < 2 {
				t.Fatalf("%d records in %d segments", n, len(segs))
			}
			most := int64(0)
			for _, dest := range o.Destinations {
				for i := range segs {
					// Who ships stages ahead, and for another destination again.
					for _, ahead := range []int{i + 1, 0} {
						if ahead < len(segs) {
							if _, err := s.shelf.Stage(t.Context(), segs[ahead].Number, fatEncoder{}); err != nil && !errors.Is(err, ErrFull) && !errors.Is(err, fs.ErrNotExist) {
								t.Fatalf("segment %d: %v", segs[ahead].Number, err)
							}
						}
					}
					if _, err := s.shelf.Stage(t.Context(), segs[i].Number, fatEncoder{}); err != nil {
						t.Fatalf("segment %d of %d for %s: %v", i+1, len(segs), dest, err)
					}
					most = max(most, s.Stats().Used)
					deliver(t, s, dest, segs[i].Number)
				}
			}
			until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
			balanced(t, s)
			if fat := int64(9 * 64 << 10); most > o.MaxBytes+2*fat {
				t.Errorf("%d bytes were used of %d: more than a staged file for each destination over the quota", most, o.MaxBytes)
			}
			until(t, s, "room", func() bool { return !s.Stats().Full })
			if _, err := s.Append(t.Context(), batch(n+1, 4, 1000)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A quota was lowered below the size of the spool, and damaged files, which the spool cannot remove, count against it too. The
// reserve is added on top of both, so that not only the next segment can be staged.
func TestReserveAboveWhatStays(t *testing.T) {
	d := memDir()
	o := Options{OnFull: Reject, Sync: SyncAlways, MaxBytes: 2 << 20, SegmentBytes: 64 << 10, Destinations: []string{"a"}}
	s := d.open(t, o)
	fill(t, s)
	closeSpool(t, s)
	if err := vfs.WriteFileAtomic(d.fs, s.path(damagedDir, "kept"), make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	o.MaxBytes = 1 << 20
	s = d.open(t, o)
	defer closeSpool(t, s)
	segs := s.shelf.Sealed(0, 0)
	for _, seg := range segs[len(segs)-3:] {
		if _, err := s.shelf.Stage(t.Context(), seg.Number, gzipEncoder{}); err != nil {
			t.Fatalf("segment %d of %d: %v, used %d", seg.Number, len(segs), err, s.Stats().Used)
		}
	}
}
