package ship_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
)

// badDisk refuses reads.
type badDisk struct {
	mu      sync.Mutex
	refuses func(vfs.Op) bool // nil: none
	refused int
}

// breakReads makes the disk refuse reads until it is mended.
func (d *badDisk) breakReads(refuses func(vfs.Op) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuses = refuses
}

func (d *badDisk) hook(op vfs.Op) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if op.Kind != vfs.OpRead || d.refuses == nil || !d.refuses(op) {
		return nil
	}
	d.refused++
	return syscall.EIO
}

// at returns a function that selects the reads which touch the place of some bytes in a file.
func at(t *testing.T, path, text string) func(vfs.Op) bool {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	place := bytes.Index(b, []byte(text))
	if place < 0 {
		t.Fatalf("%q is not in %s", text, path)
	}
	return func(op vfs.Op) bool {
		return op.Path == path && op.Off <= int64(place) && op.Off+int64(op.Len) > int64(place)
	}
}

// segmentFile returns the path of the only segment file that holds a record.
func segmentFile(t *testing.T, dir, text string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "seg", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(text)) {
			return path
		}
	}
	t.Fatalf("no segment holds %q", text)
	return ""
}

// large makes room for a thousand records several times in a segment.
func large(o *spool.Options) { o.SegmentBytes = 1 << 20 }

// parted makes a spool whose volume was restored in place from a snapshot. In the snapshot, its active segment has 1,000
// records. Before the restore, the spool had delivered 2,500 more records in that segment; now it has 2,000 others there. The
// three thousands are far enough apart on the disk not to share a sector.
func parted(t *testing.T, d destinations) *bench {
	t.Helper()
	b := openBench(t, t.TempDir(), d, "host-a", large)
	b.append(1000)
	b.close()
	snapshot := filepath.Join(t.TempDir(), "snapshot")
	copyDir(t, snapshot, b.dir)

	b = openBench(t, b.dir, d, "host-a", large)
	b.next = 5000
	b.append(2500)
	if err := b.sp.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.ship(d, bubble)
	b.flush()
	b.close()
	files, err := filepath.Glob(filepath.Join(b.dir, "*"))
	for _, file := range files {
		err = errors.Join(err, os.RemoveAll(file))
	}
	if err = errors.Join(err, os.CopyFS(b.dir, os.DirFS(snapshot))); err != nil {
		t.Fatal(err)
	}

	b = openBench(t, b.dir, d, "host-a", large)
	b.append(1000)
	b.append(1000)
	if err := b.sp.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOwnSegmentRefused: while another owner's manifest is compared, the disk permanently refuses a part of this spool's own
// segment. What staging decides about that part after a minute of retries holds here too: the destination is not blocked, and
// everything that can be read is delivered.
func TestOwnSegmentRefused(t *testing.T) {
	for name, from := range map[string]int{"common records": 500, "records of its own": 1500, "the last records": 2500} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := new(badDisk)
				defer vfs.Interpose(disk.hook)()
				mem := shiptest.Memory()
				d := destinations{"s3": mem}
				b := parted(t, d)
				defer b.close()
				disk.breakReads(at(t, segmentFile(t, b.dir, payload(from)), payload(from)))
				b.ship(d, bubble)
				time.Sleep(5 * time.Minute)
				b.flush()
				if disk.refused == 0 {
					t.Error("the disk has refused nothing")
				}
				if l := b.sp.Ledger(); l.Damaged.Records == 0 || l.Damaged.Records > 1000 {
					t.Errorf("%d records are damaged", l.Damaged.Records)
				}
				// The block of the refused record is missing, and all others of the 2,000 records are there.
				stated := uint64(0)
				for _, line := range linesOf(t, mem, 1, 3000) {
					if line.Last == 3000 {
						stated += line.Records
					}
				}
				if want := map[int]uint64{500: 2000, 1500: 1000, 2500: 1000}[from]; stated != want {
					t.Errorf("%d records of its own are delivered, want %d\n%s", stated, want, b.log)
				}
			})
		})
	}
}

// TestOwnSegmentDamagedAfterStaging: this spool has staged a segment, and its own file is damaged afterwards. The staged file
// has the records that differ from the other owner's. Treated as damaged, they would count as delivered.
func TestOwnSegmentDamagedAfterStaging(t *testing.T) {
	for _, how := range []string{"flipped", "refused"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := new(badDisk)
				defer vfs.Interpose(disk.hook)()
				mem, idc := shiptest.Memory(), shiptest.Memory()
				d := destinations{"s3": mem}
				b := parted(t, d)
				b.close()
				// At another destination everything of this spool is delivered.
				down := shiptest.Faulty(mem, func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(errors.New("down")) })
				b = openBench(t, b.dir, destinations{"s3": down, "idc": idc}, "host-a", large)
				defer func() { b.close() }()
				b.ship(destinations{"s3": down, "idc": idc}, bubble)
				b.until("idc has everything", func() bool { return b.s.Stats()["idc"].Pending.Records == 0 })
				if err := b.stop(); err != nil {
					t.Fatal(err)
				}
				path := segmentFile(t, b.dir, payload(2500))
				if how == "flipped" {
					file, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					for _, i := range []int{1500, 2500} {
						file[bytes.Index(file, []byte(payload(i)))] ^= 1
					}
					if err := os.WriteFile(path, file, 0o600); err != nil {
						t.Fatal(err)
					}
				} else {
					one, two := at(t, path, payload(1500)), at(t, path, payload(2500))
					disk.breakReads(func(op vfs.Op) bool { return one(op) || two(op) })
				}
				both := destinations{"s3": mem, "idc": idc}
				b.ship(both, bubble)
				time.Sleep(5 * time.Minute)
				b.flush()
				own := uint64(0)
				for _, line := range linesOf(t, mem, 1, 3000) {
					if line.Last == 3000 {
						own += line.Records
					}
				}
				if own != 2000 {
					t.Errorf("%d of its 2,000 own records are delivered\n%s", own, b.log)
				}
			})
		})
	}
}

// TestIdentityAfterRefusal: the disk refuses to read a record once, while the next identity is derived from it. The name is
// the same as the one that another copy with the same records derives.
func TestIdentityAfterRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := new(badDisk)
		defer vfs.Interpose(disk.hook)()
		mem := shiptest.Memory()
		d := destinations{"s3": mem}
		b := parted(t, d)
		twin := filepath.Join(t.TempDir(), "twin")
		copyDir(t, twin, b.dir)
		once := false
		disk.breakReads(func(op vfs.Op) bool {
			// Refuse a block, but neither header nor footer.
			if once || !strings.HasPrefix(op.Path, b.dir) || filepath.Ext(op.Path) != ".seg" || op.Off < 4096 || op.Off > 50_000 ||
				!strings.Contains(b.log.String(), "has continued this chain differently") {
				return false
			}
			once = true
			return true
		})
		b.ship(d, bubble)
		b.flush()
		one, err := b.sp.Shelf().Chain("s3")
		if err != nil || !once {
			t.Fatalf("%v, refused %v\n%s", err, once, b.log)
		}
		b.close()
		c := openBench(t, twin, d, "host-a", large)
		c.ship(d, bubble)
		c.flush()
		two, err := c.sp.Shelf().Chain("s3")
		if err != nil || one.Spool != two.Spool {
			t.Errorf("the identities are %s and %s, %v", one.Spool, two.Spool, err)
		}
		c.close()
	})
}

// TestStagedFileRefused: the disk permanently refuses a part of a staged file that was read and checked before. The upload
// must not fail at the same place permanently: staging makes the file again.
func TestStagedFileRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := new(badDisk)
		defer vfs.Interpose(disk.hook)()
		mem := shiptest.Memory()
		f := shiptest.Faulty(mem, func(c shiptest.Call) shiptest.Fault {
			if isData(c) {
				return shiptest.FailBefore(errors.New("down"))
			}
			return shiptest.Fault{}
		})
		d := destinations{"s3": f}
		b := newBench(t, d)
		defer b.close()
		b.segments(1, 100)
		b.ship(d, bubble)
		b.until("the segment is staged", func() bool { return b.sp.Stats().Staged == 1 })
		objects, err := filepath.Glob(filepath.Join(b.dir, "stage", "*.obj"))
		if err != nil || len(objects) != 1 {
			t.Fatalf("%q, %v", objects, err)
		}
		bad, err := os.Stat(objects[0])
		if err != nil {
			t.Fatal(err)
		}
		disk.breakReads(func(op vfs.Op) bool { // this file, not another one of its name
			now, err := os.Stat(objects[0])
			return op.Path == objects[0] && err == nil && os.SameFile(bad, now)
		})
		f.SetPlan(nil)
		time.Sleep(5 * time.Minute)
		b.flush()
		b.audit(mem)
		if disk.refused == 0 {
			t.Error("the disk has refused nothing")
		}
	})
}

// TestProposalRefused: the disk permanently refuses to read the proposed manifest, which may have arrived. The destination is
// asked for it, as if the file were damaged.
func TestProposalRefused(t *testing.T) {
	for _, arrived := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			disk := new(badDisk)
			defer vfs.Interpose(disk.hook)()
			mem := shiptest.Memory()
			lost := make(chan []byte, 100)
			f := spy{mem, lost}
			b := newBench(t, destinations{"s3": f})
			b.segments(1, 10)
			b.ship(destinations{"s3": f}, bubble)
			first := <-lost
			// As long as this process runs, it has the manifest in memory.
			next := filepath.Join(b.dir, "chain", "s3.next")
			disk.breakReads(func(op vfs.Op) bool { return op.Path == next })
			if time.Sleep(time.Minute); len(lost) == 0 {
				t.Errorf("the manifest is not sent again\n%s", b.log)
			}
			if err := b.stop(); err != nil {
				t.Fatal(err)
			}
			b.segments(3, 10)
			b.close()
			if arrived {
				o := ship.BytesObject(object.ManifestKey("vpn", b.sp.Stats().Spool, 1, 1), b.sp.Stats().Spool, first)
				if _, err := mem.Put(t.Context(), o, io.NewSectionReader(bytes.NewReader(first), 0, o.Size)); err != nil {
					t.Fatal(err)
				}
			}
			d := destinations{"s3": mem}
			b2 := openBench(t, b.dir, d, "host-a")
			defer b2.close()
			b2.ship(d, bubble)
			time.Sleep(5 * time.Minute)
			b2.flush()
			b2.audit(mem)
		})
	}
}
