package ship_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// telling is a destination that verifies objects as they are read: after the last byte of a data object, it reports that the
// object is damaged.
type telling struct{ *shiptest.MemoryDestination }

func (d telling) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	r, err := d.MemoryDestination.Open(ctx, key)
	if err == nil && key[0] != '_' {
		r = told{r}
	}
	return r, err
}

type told struct{ io.ReadCloser }

func (r told) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: rotten", ship.ErrVerify)
	}
	return n, err
}

// TestOtherOwnersObjectUnreadable: two copies of a volume share the beginning of a segment. The first one's object is gone or
// damaged before the second owner has compared it. The second owner delivers all records that it cannot compare.
func TestOtherOwnersObjectUnreadable(t *testing.T) {
	for name, c := range map[string]struct {
		format, codec string
		harm          func(b []byte) []byte // nil deletes the object
		common        int                   // records that can still be read
		told          bool                  // the destination reports the damage as the object is read
	}{
		"gone":        {format.NDJSON, "zstd", nil, 0, false},
		"no codec":    {format.NDJSON, "zstd", func([]byte) []byte { return []byte("<html>") }, 0, false},
		"cut lines":   {format.Lines, "none", func(b []byte) []byte { return b[:3*len(payload(0)+"\n")] }, 3, false},
		"cut ndjson":  {format.NDJSON, "none", func(b []byte) []byte { return b[:len(b)/2] }, 2, false},
		"cut native":  {format.Native, "none", func(b []byte) []byte { return b[:len(b)/2] }, 0, false},
		"told lines":  {format.Lines, "none", func(b []byte) []byte { return b[:3*len(payload(0)+"\n")] }, 3, true},
		"no contents": {format.Lines, "none", func([]byte) []byte { return nil }, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			mem := shiptest.Memory()
			d := destinations{"s3": mem}
			if c.told {
				d["s3"] = telling{mem}
			}
			b := newBench(t, d)
			b.append(5)
			clone := filepath.Join(t.TempDir(), "clone")
			copyDir(t, clone, b.dir)
			b.append(5)
			if err := b.sp.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
			other := openBench(t, clone, d, "host-b")
			other.next = 1000
			other.segments(1, 4)
			other.ship(d, quick, func(o *ship.Options) {
				if o.Format, o.Codec = c.format, c.codec; c.codec == "none" {
					o.Level = 0
				}
			})
			other.flush()
			other.close()
			for _, key := range mem.Keys() {
				if key[0] == '_' {
					continue
				}
				body := mem.Bytes(key)
				mem.Remove(key)
				if c.harm != nil {
					mem.Set(key, c.harm(body))
				}
			}
			b.ship(d, quick)
			b.flush()
			own := slices.DeleteFunc(linesOf(t, mem, 1, 10), func(line ship.SegmentLine) bool { return line.Last != 10 })
			if len(own) != 1 || own[0].First != uint64(c.common)+1 {
				t.Fatalf("the owner must deliver from record %d to 10: %+v\n%s", c.common+1, own, b.log)
			}
		})
	}
}
