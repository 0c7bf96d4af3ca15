package ship_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestVerifyStagedAgain: a stage record is lost after one destination has received the segment, and the settings have changed
// since. The object is verified there under the key in the chain, and not stored a second time, even if the chain lists it in
// an earlier epoch.
func TestVerifyStagedAgain(t *testing.T) {
	for _, c := range []struct {
		host string
		gone bool
	}{{"host-a", false}, {"host-a", true}, {"host-b", false}, {"host-b", true}} {
		gone := c.gone
		s3, idc := shiptest.Memory(), shiptest.Memory()
		down := shiptest.Faulty(idc, func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(errors.New("down")) })
		b := newBench(t, destinations{"s3": s3, "idc": idc})
		b.segments(3, 10)
		b.ship(destinations{"s3": s3, "idc": down})
		b.until("s3 has it", func() bool { return b.s.Stats()["s3"].PendingSegments == 0 })
		b.close()
		object := lines(auditChain(t, s3, b.sp.Stats().Spool, 30))[1].Key
		if gone {
			s3.Remove(object)
		}
		records, err := filepath.Glob(filepath.Join(b.dir, "stage", "*.json"))
		if err != nil || len(records) != 3 {
			t.Fatalf("stage records %q, %v", records, err)
		}
		damaged(t, records[1])

		d := destinations{"s3": s3, "idc": idc}
		b = openBench(t, b.dir, d, c.host)
		b.freeze()
		b.ship(d, quick, func(o *ship.Options) { o.Format = format.Lines })
		b.flush()
		found, err := b.s.Verify(t.Context())
		if v := found["s3"]; v.Restored != 0 || (err != nil) != gone || gone && len(v.Mismatches) != 1 {
			t.Errorf("%+v: %+v, %v", c, v, err)
		}
		objects := 0
		for _, key := range s3.Keys() {
			if strings.HasPrefix(key, "class=") {
				objects++
			}
		}
		if (objects == 3) == gone {
			t.Errorf("%+v: %d objects", c, objects)
		}
		b.close()
	}
}

// damaged flips a bit in the middle of a file.
func damaged(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, flip(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestVerifyNeedsNoStagedFile: the size and checksum that a destination reports are compared with the stage record. Staged
// files, for which a full spool may have no room, are not made again for that.
func TestVerifyNeedsNoStagedFile(t *testing.T) {
	s3 := shiptest.Memory()
	d := destinations{"s3": s3}
	b := newBench(t, d)
	b.freeze()
	b.segments(3, 10)
	b.ship(d)
	b.flush()
	objects := func() []string {
		list, err := filepath.Glob(filepath.Join(b.dir, "stage", "*.obj"))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if len(objects()) != 3 {
		t.Fatalf("staged files: %q", objects())
	}
	for _, path := range objects() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	found, err := b.s.Verify(t.Context())
	if v := found["s3"]; err != nil || v.Objects != 3 || len(objects()) != 0 {
		t.Errorf("%+v, %v, staged again: %q", v, err, objects())
	}
}
