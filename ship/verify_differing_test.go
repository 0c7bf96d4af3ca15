package ship_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestVerifyDamagedSinceDelivery: after one destination has received a segment, its stage record is lost and some of its records are
// damaged here. It is staged again with fewer records for the other destination. The object of before is right, and a
// verification says so, in whichever epoch its line is; otherwise the spool would never delete anything again. If the object is
// not what its line states, or lacks a record that is still here, that is a mismatch.
func TestVerifyDamagedSinceDelivery(t *testing.T) {
	const lost = 15 // the number of the record that is damaged
	for _, c := range []struct {
		name   string
		hosts  []string // each opens the spool after the damage
		format string
		alter  func(b *bench, s3 *shiptest.MemoryDestination, line *ship.SegmentLine)
		wrong  bool
	}{
		{name: "right", hosts: []string{"host-a"}},
		{name: "of the epoch before", hosts: []string{"host-b"}},
		{name: "of an older epoch", hosts: []string{"host-b", "host-c"}},
		{name: "in a full spool", hosts: []string{"host-b"}},
		{name: "in Lines", hosts: []string{"host-a"}, format: format.Lines},
		{name: "in Native", hosts: []string{"host-a"}, format: format.Native},
		{"altered, in a full spool", []string{"host-b"}, "", func(_ *bench, s3 *shiptest.MemoryDestination, line *ship.SegmentLine) {
			s3.Set(line.Key, flip(s3.Bytes(line.Key)))
		}, true},
		{"altered", []string{"host-a"}, "", func(_ *bench, s3 *shiptest.MemoryDestination, line *ship.SegmentLine) {
			s3.Set(line.Key, flip(s3.Bytes(line.Key)))
		}, true},
		{"a damaged record altered", []string{"host-a"}, "", func(_ *bench, s3 *shiptest.MemoryDestination, line *ship.SegmentLine) {
			s3.Set(line.Key, bytes.Replace(s3.Bytes(line.Key), []byte(payload(lost)), []byte("another 1"), 1))
		}, true},
		{"a record altered", []string{"host-b", "host-c"}, "", func(_ *bench, s3 *shiptest.MemoryDestination, line *ship.SegmentLine) {
			s3.Set(line.Key, bytes.Replace(s3.Bytes(line.Key), []byte(payload(12)), []byte("another 1"), 1))
		}, true},
		{"a record less", []string{"host-b", "host-c"}, "", func(_ *bench, s3 *shiptest.MemoryDestination, line *ship.SegmentLine) {
			s3.Set(line.Key, without(s3.Bytes(line.Key), payload(12)))
		}, true},
		{"a record less, and a line that says so", []string{"host-b"}, "", func(b *bench, s3 *shiptest.MemoryDestination, line *ship.SegmentLine) {
			stateLess(b, s3, line, payload(12))
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := new(fullDisk)
			defer vfs.Interpose(disk.hook)()
			s3, idc := shiptest.Memory(), shiptest.Memory()
			down := shiptest.Faulty(idc, func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(errors.New("down")) })
			options := func(o *ship.Options) {
				quick(o)
				uncompressed(o)
				o.Format = c.format
			}
			b := newBench(t, destinations{"s3": s3, "idc": idc})
			for range 3 {
				for range 9 { // a block each
					b.append(1)
					if err := b.sp.WaitDurable(t.Context(), uint64(b.next)); err != nil {
						t.Fatal(err)
					}
				}
				b.segments(1, 1)
			}
			b.ship(destinations{"s3": s3, "idc": down}, options)
			b.until("s3 has it", func() bool { return b.s.Stats()["s3"].PendingSegments == 0 })
			b.close()
			line := linesOf(t, s3, 11, 20)[0]
			if c.alter != nil {
				c.alter(b, s3, &line)
			}
			before := s3.Bytes(line.Key)
			damageRecord(t, b.dir, line.Segment, lost)

			for i, host := range c.hosts {
				last := i == len(c.hosts)-1
				d := destinations{"s3": s3, "idc": down}
				if last {
					d["idc"] = idc
				}
				b = openBench(t, b.dir, d, host)
				b.freeze()
				b.ship(d, options)
				b.segments(1, 1) // so that s3's chain goes on in this epoch
				if !last {
					b.until("s3 has it", func() bool { return b.s.Stats()["s3"].PendingSegments == 0 })
					b.close()
				}
			}
			b.flush()
			if have := b.sp.Shelf().Sealed(line.Segment-1, 1)[0]; have.Records != 9 {
				t.Fatalf("%d records are left of the segment", have.Records)
			}
			if strings.Contains(c.name, "full") {
				staged := filepath.Join(b.dir, "stage", fmt.Sprintf("%016x.obj", line.Segment))
				disk.full.Store(&staged)
				if err := os.Remove(staged); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			found, err := b.s.Verify(ctx)
			v := found["s3"]
			named := slices.ContainsFunc(v.Mismatches, func(m ship.Mismatch) bool { return m.Segment == line.Segment })
			if errors.Is(err, ship.ErrVerify) != c.wrong || named != c.wrong || v.Restored != 0 || v.Err != nil {
				t.Errorf("%+v, %v", v, err)
			}
			if v := found["idc"]; len(v.Mismatches) > 0 || v.Err != nil {
				t.Errorf("the other one: %+v", v)
			}
			if !bytes.Equal(s3.Bytes(line.Key), before) {
				t.Error("the object was changed")
			}
			if warned := len(b.lines("keep it, it may be the only copy")) > 0; warned == c.wrong {
				t.Errorf("warned: %v", warned)
			}
		})
	}
}

// damageRecord flips a bit in a record of a sealed segment, and one in its stage record.
func damageRecord(t *testing.T, dir string, number uint64, record int) {
	t.Helper()
	path := filepath.Join(dir, "seg", fmt.Sprintf("%016x.seg", number))
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(content, []byte(payload(record)))
	if at < 0 {
		t.Fatalf("%s does not contain record %d", path, record)
	}
	content[at] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	damaged(t, filepath.Join(dir, "stage", fmt.Sprintf("%016x.json", number)))
}

// fullDisk has no room for one staged file, once full is its path.
type fullDisk struct{ full atomic.Pointer[string] }

func (d *fullDisk) hook(op vfs.Op) error {
	if path := d.full.Load(); path != nil && op.Kind == vfs.OpWrite && strings.HasPrefix(op.Path, *path) {
		return syscall.ENOSPC
	}
	return nil
}

// without returns NDJSON without one record.
func without(content []byte, payload string) []byte {
	var kept []byte
	for l := range bytes.Lines(content) {
		if !strings.Contains(string(l), `"`+payload+`"`) {
			kept = append(kept, l...)
		}
	}
	return kept
}

// stateLess removes a record from an object, and states it as damaged in the line of its manifest, as one who may write at the
// destination can.
func stateLess(b *bench, s3 *shiptest.MemoryDestination, line *ship.SegmentLine, payload string) {
	body := without(s3.Bytes(line.Key), payload)
	s3.Set(line.Key, body)
	for _, key := range s3.Keys() {
		if !strings.HasPrefix(key, object.ManifestPrefix) || !strings.HasSuffix(key, ".jsonl") {
			continue
		}
		m, err := ship.DecodeManifest(bytes.NewReader(s3.Bytes(key)))
		if err != nil {
			b.t.Fatal(err)
		}
		i := slices.IndexFunc(m.Segments, func(l ship.SegmentLine) bool { return l.Key == line.Key })
		if i < 0 {
			continue
		}
		r, err := s3.Stat(b.t.Context(), line.Key)
		if err != nil {
			b.t.Fatal(err)
		}
		l := &m.Segments[i]
		l.Gaps, l.Records, l.Bytes = []segment.Range{{First: 13, Last: 13}}, l.Records-1, l.Bytes-uint64(len(payload))
		l.RawBytes, l.Size, l.Receipt = int64(len(body)), int64(len(body)), &r
		l.RawSHA256, l.SHA256 = hexOf(sha256.Sum256(body)), hexOf(sha256.Sum256(body))
		encoded, err := m.Encode()
		if err != nil {
			b.t.Fatal(err)
		}
		s3.Set(key, encoded)
		return
	}
	b.t.Fatalf("no manifest names %s", line.Key)
}
