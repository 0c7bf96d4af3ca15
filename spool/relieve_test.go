package spool

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"testing"

	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// gzipEncoder is a lineEncoder whose output is smaller than the segment.
type gzipEncoder struct{ lineEncoder }

func (e gzipEncoder) Encode(ctx context.Context, dst io.Writer, src *segment.Reader, want *object.Encoding) (object.Encoded, error) {
	w := gzip.NewWriter(dst)
	out, err := e.lineEncoder.Encode(ctx, w, src, want)
	if err == nil {
		err = w.Close()
	}
	out.Codec, out.Ext = "gzip", ".txt.gz"
	return out, err
}

func (gzipEncoder) Decode(src io.Reader, _ object.Encoding) (io.ReadCloser, error) {
	return gzip.NewReader(src)
}

// One destination is down. When room is needed, segments that the other one has are kept for it only as staged files, which makes
// room for more records; and it gets all of them, whatever happens in between.
func TestRawIsGivenUp(t *testing.T) {
	for _, lost := range []bool{false, true} {
		mem := new(index.Mem)
		d := memDir()
		d.index = mem.Open
		o := fullOptions(Reject)
		o.Destinations = []string{"up", "down"}
		s := d.open(t, o)
		n := 0
		for range 12 { // each time it is full again, and empties itself
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
			balanced(t, s)
		}
		if n < 1200 { // more than twice what fits as it is
			t.Errorf("%d records", n)
		}
		if st := s.Stats(); st.Used > st.Quota {
			t.Errorf("used %d of %d", st.Used, st.Quota)
		}
		first := s.shelf.Sealed(0, 1)[0].Number
		if _, err := d.fs.Stat(s.segPath(first)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the raw file is still there: %v", err)
		}
		pending := s.Stats().Pending["down"]
		closeSpool(t, s)
		if lost {
			*mem = index.Mem{}
		}

		s = d.open(t, o)
		balanced(t, s)
		if p := s.Stats().Pending["down"]; p != pending || p.Records != uint64(n) {
			t.Fatalf("pending %+v, was %+v, %d records", p, pending, n)
		}
		next := uint64(1)
		for _, seg := range s.shelf.Sealed(0, 0) {
			if seg.First != next {
				t.Errorf("segment %+v", seg)
			}
			next = seg.Last + 1
			if _, err := s.shelf.Stage(t.Context(), seg.Number, gzipEncoder{}); err != nil {
				t.Fatal(err)
			}
			deliver(t, s, "down", seg.Number)
		}
		if next != uint64(n)+1 {
			t.Errorf("the segments end before %d, %d records were kept", next, n)
		}
		until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
		balanced(t, s)
	}
}

// A staged file that does not match its record does not replace the segment's own file.
func TestRawIsKeptForBadStage(t *testing.T) {
	d := memDir()
	s := threeSegments(t, d, Options{})
	n := s.shelf.Sealed(0, 0)[0].Number
	if _, err := s.shelf.Stage(t.Context(), n, gzipEncoder{}); err != nil {
		t.Fatal(err)
	}
	flipAt(t, d, s.objPath(n), 30)
	if freed, err := s.shelf.halve(t.Context(), gzipEncoder{}, n, false); freed || err == nil {
		t.Fatalf("given up: %v, %v", freed, err)
	}
	if _, err := d.fs.Stat(s.segPath(n)); err != nil {
		t.Fatal(err)
	}
}

// wideEncoder is a lineEncoder whose output is a little larger than the segment.
type wideEncoder struct{ lineEncoder }

func (e wideEncoder) Encode(ctx context.Context, dst io.Writer, src *segment.Reader, want *object.Encoding) (object.Encoded, error) {
	out, err := e.lineEncoder.Encode(ctx, dst, src, want)
	if err == nil {
		_, err = dst.Write(make([]byte, 8<<10))
	}
	return out, err
}

// The staged files of later segments use all the room, and their destinations wait for the first
// segment. It gets its room, in whatever order they were staged, and the spool empties itself.
func TestFirstSegmentGetsRoom(t *testing.T) {
	d := memDir()
	o := fullOptions(Reject)
	o.Destinations = []string{"a", "b"}
	s := d.open(t, o)
	defer closeSpool(t, s)
	if n := fill(t, s); n == 0 {
		t.Fatal("nothing fits")
	}
	mustSeal(t, s)
	segs := s.shelf.Sealed(0, 0)
	staged, full := 0, 0
	for _, seg := range slices.Backward(segs) {
		for range 2 { // for each destination
			_, err := s.shelf.Stage(t.Context(), seg.Number, wideEncoder{})
			switch {
			case err == nil:
				staged++
			case errors.Is(err, ErrFull) && seg.Number != segs[0].Number:
				full++
			default:
				t.Fatalf("segment %d of %d: %v, after %d calls that succeeded", seg.Number, len(segs), err, staged)
			}
		}
	}
	t.Logf("%d segments, %d staged, %d found no room", len(segs), staged, full)
	for _, seg := range segs {
		for _, dest := range o.Destinations {
			if _, err := s.shelf.Stage(t.Context(), seg.Number, wideEncoder{}); err != nil {
				t.Fatalf("segment %d of %d: %v", seg.Number, len(segs), err)
			}
			deliver(t, s, dest, seg.Number)
		}
	}
	until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
	balanced(t, s)
}
