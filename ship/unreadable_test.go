package ship_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestOtherOwnersObjectUnreadable: the object of a segment that two copies of a volume have begun together is gone, or
// damaged, before the second owner has compared it. The owner delivers all that it cannot compare.
func TestOtherOwnersObjectUnreadable(t *testing.T) {
	for name, c := range map[string]struct {
		format, codec string
		harm          func(b []byte) []byte // nil deletes the object
		common        int                   // records that can still be read
	}{
		"gone":        {format.NDJSON, "zstd", nil, 0},
		"no codec":    {format.NDJSON, "zstd", func([]byte) []byte { return []byte("<html>") }, 0},
		"cut lines":   {format.Lines, "none", func(b []byte) []byte { return b[:3*len(payload(0)+"\n")] }, 3},
		"cut ndjson":  {format.NDJSON, "none", func(b []byte) []byte { return b[:len(b)/2] }, 2},
		"cut native":  {format.Native, "none", func(b []byte) []byte { return b[:len(b)/2] }, 0},
		"no contents": {format.Lines, "none", func([]byte) []byte { return nil }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			mem := shiptest.Memory()
			d := destinations{"s3": mem}
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
