package spool

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestPowerCutsInRecovery cuts the power a second time, before each operation of the recovery from the first.
func TestPowerCutsInRecovery(t *testing.T) {
	t.Parallel()
	for _, policy := range []SyncPolicy{SyncAlways, SyncNone} {
		t.Run(fmt.Sprint("policy ", policy), func(t *testing.T) {
			w := newWorld(Options{Sync: policy, Destinations: []string{"a", "b"}})
			step := 48
			if *sweepAll {
				step = 1
			}
			cuts := 0
			hook := func(op vfs.Op) error {
				if !op.Kind.Mutates() || (op.N+int(policy))%step != 0 || t.Failed() {
					return nil
				}
				c := crashes[op.N/step%2]
				c.Seed = uint64(op.N)
				k := w.clone(c, index.Fate{Lost: op.N/step%3 == 0, Aged: op.N / step % 3})
				k.closed = false
				n, err := k.cutAgain(t)
				if cuts += n; err != nil {
					t.Errorf("before operation %d (%s %s), %s: %v", op.N, op.Kind, op.Path, c, err)
				}
				return nil
			}
			if err := w.script(t.Context(), vfs.Inject(w.mem, hook), 2); err != nil && !t.Failed() {
				t.Error(err)
			}
			if t.Logf("%d power cuts", cuts); cuts == 0 {
				t.Error("no power was cut")
			}
		})
	}
}

// cutAgain opens a spool that a power cut left, and verifies what further ones would leave of that.
func (w *world) cutAgain(t *testing.T) (cuts int, err error) {
	o := w.opts
	var mu sync.Mutex
	opening := true
	hook := func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if !opening || !op.Kind.Mutates() || err != nil {
			return nil
		}
		c := crashes[op.N%len(crashes)]
		c.Seed = uint64(op.N)
		cuts++
		k := w.clone(c, index.Fate{Aged: op.N % 2})
		if verr := k.verify(t, w.durable); verr != nil {
			err = fmt.Errorf("and before operation %d (%s %s) of the recovery, %s: %w", op.N, op.Kind, op.Path, c, verr)
		}
		return nil
	}
	s, oerr := open("/spool", vfs.Inject(w.mem, hook), w.index.Open, &o)
	mu.Lock()
	opening = false
	mu.Unlock()
	if oerr != nil {
		return cuts, errors.Join(err, oerr)
	}
	return cuts, errors.Join(err, s.Close())
}

// The clean mark says where the log ends. If Open cannot remove it, Open fails: otherwise a later Open would
// use it, and cut off the records that were appended since.
func TestCleanMarkStays(t *testing.T) {
	d := memDir()
	s := d.open(t, Options{Destinations: []string{"a"}})
	mustAppend(t, s, batch(1, 10, 100))
	closeSpool(t, s)
	mem := d.fs
	d.fs = vfs.Inject(mem, func(op vfs.Op) error {
		if op.Kind == vfs.OpRemove && strings.HasSuffix(op.Path, cleanName) {
			return syscall.EIO
		}
		return nil
	})
	if _, err := d.tryOpen(t, Options{Destinations: []string{"a"}}); !errors.Is(err, syscall.EIO) {
		t.Fatalf("opened with %v", err)
	}
	d.fs = mem
	s = d.open(t, Options{Destinations: []string{"a"}})
	mustAppend(t, s, batch(11, 10, 100))
	mustSeal(t, s)
	wantRecords(t, stageAll(t, s), 20, 100)
}

// noRaw makes a spool of three segments, of the second of which only the staged file is left.
func noRaw(t *testing.T) (*disk, *Spool, Segment) {
	t.Helper()
	d := memDir()
	s := threeSegments(t, d, Options{})
	seg := s.shelf.Sealed(0, 0)[1]
	if _, err := s.shelf.Stage(t.Context(), seg.Number, gzipEncoder{}); err != nil {
		t.Fatal(err)
	}
	if freed, err := s.shelf.halve(t.Context(), gzipEncoder{}, seg.Number, false); !freed || err != nil {
		t.Fatal(freed, err)
	}
	return d, s, seg
}

// The record of a staged file that is all there is left of a segment is damaged: the records are reported as lost, and
// the file is kept for people.
func TestStageRecordDamaged(t *testing.T) {
	for _, lost := range []bool{false, true} {
		d, s, seg := noRaw(t)
		closeSpool(t, s)
		flipAt(t, d, s.recPath(seg.Number), 100)
		if lost {
			d.index = new(index.Mem).Open
		}
		s = d.open(t, Options{Destinations: []string{"a"}})
		wantGap(t, s, stageAll(t, s), 11, 20, 30)
		names, err := d.fs.ReadDir(s.path(damagedDir))
		if err != nil || len(names) != 3 || !strings.HasSuffix(names[1].Name(), objExt) {
			t.Errorf("set aside: %v, %v", names, err)
		}
	}
}

// A stage record of a newer program's is neither damage nor a reason to touch the file beside it.
func TestStageRecordNewer(t *testing.T) {
	for _, raw := range []bool{false, true} {
		var d *disk
		var s *Spool
		var seg Segment
		if raw {
			d = memDir()
			s = threeSegments(t, d, Options{})
			seg = s.shelf.Sealed(0, 0)[1]
			if _, err := s.shelf.Stage(t.Context(), seg.Number, gzipEncoder{}); err != nil {
				t.Fatal(err)
			}
		} else {
			d, s, seg = noRaw(t)
		}
		rec, err := s.stageRecord(seg.Number)
		if err != nil {
			t.Fatal(err)
		}
		rec.Version = 2
		js, err := statefile.Seal(rec)
		if err != nil {
			t.Fatal(err)
		}
		if err := vfs.WriteFileAtomic(d.fs, s.recPath(seg.Number), js); err != nil {
			t.Fatal(err)
		}
		if _, err := s.shelf.Stage(t.Context(), seg.Number, gzipEncoder{}); !errors.Is(err, statefile.ErrNewer) {
			t.Errorf("staged with %v", err)
		}
		closeSpool(t, s)
		d.index = new(index.Mem).Open
		if _, err := d.tryOpen(t, Options{Destinations: []string{"a"}}); !errors.Is(err, statefile.ErrNewer) {
			t.Errorf("opened with %v", err)
		}
		if _, err := d.fs.Stat(s.objPath(seg.Number)); err != nil {
			t.Error(err)
		}
	}
}

// The identity is found in segments whose headers are longer than a page: otherwise they would count as another spool's.
func TestIdentityInLongHeaders(t *testing.T) {
	d := memDir()
	s := d.open(t, Options{Destinations: []string{"a"}})
	for i := range uint64(400) {
		s.Intake().Account(segment.Account{Socket: 1e15 + i, Drops: i})
	}
	mustAppend(t, s, batch(1, 10, 100))
	mustSeal(t, s)
	mustAppend(t, s, batch(11, 10, 100))
	mustSeal(t, s)
	first := s.shelf.Sealed(0, 1)[0]
	id := s.Stats().Spool
	closeSpool(t, s)
	// Those with short headers go, as if they had been delivered.
	if err := errors.Join(d.fs.Remove(s.segPath(first.Number)), d.fs.Remove(s.path(identityName)), d.fs.Remove(s.path(cleanName))); err != nil {
		t.Fatal(err)
	}
	s = d.open(t, Options{Destinations: []string{"a"}})
	if got := s.Stats().Spool; got != id {
		t.Errorf("spool %s, was %s", got, id)
	}
}

// Open returns the disk's error if two segment files have each other's names and the disk refuses to rename them. The next Open
// finds both as they were.
func TestSwappedOnADiskThatRefusesNames(t *testing.T) {
	d := memDir()
	mem := d.fs.(*vfs.Mem)
	s := d.open(t, Options{Destinations: []string{"a"}})
	for i := range 3 {
		mustAppend(t, s, batch(1+10*i, 10, 100))
		mustSeal(t, s)
	}
	segs := s.shelf.Sealed(0, 0)
	closeSpool(t, s)
	one, two := s.segPath(segs[0].Number), s.segPath(segs[1].Number)
	for _, r := range [][2]string{{one, "/spool/x"}, {two, one}, {"/spool/x", two}} {
		if err := mem.Rename(r[0], r[1]); err != nil {
			t.Fatal(err)
		}
	}
	d.index = new(index.Mem).Open // lost, so that every segment is looked at
	refused := errors.New("refused")
	for only := range 4 { // the first three renames, and all
		n := 0
		d.fs = vfs.Inject(mem, func(op vfs.Op) error {
			if op.Kind == vfs.OpRename && strings.HasSuffix(op.Path, segExt) {
				if n++; n == only || only == 0 {
					return refused
				}
			}
			return nil
		})
		if _, err := d.tryOpen(t, Options{Destinations: []string{"a"}}); !errors.Is(err, refused) {
			t.Fatalf("rename %d: %v", only, err)
		}
	}
	d.fs = mem
	s = d.open(t, Options{Destinations: []string{"a"}})
	follow(t, s.Tail(t.Context(), 0, nil), 1, 30)
	closeSpool(t, s)
}

// TestDeletedSegmentUnderAnotherName: a file has old contents of an earlier segment, which every destination has and whose file was
// deleted. The file's own records are damaged under the number of their segment, so that the chain continues.
func TestDeletedSegmentUnderAnotherName(t *testing.T) {
	for _, again := range []bool{false, true} { // under its own name, beside a segment that is missing
		testDeletedSegment(t, again)
	}
}

func testDeletedSegment(t *testing.T, again bool) {
	d := memDir()
	s := d.open(t, Options{Destinations: []string{"a"}})
	var b []byte
	for i := range 3 {
		mustAppend(t, s, batch(1+10*i, 10, 100))
		if i == 0 { // without a footer
			var err error
			if b, err = vfs.ReadFile(d.fs, s.segPath(s.journal.active.number), 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		mustSeal(t, s)
	}
	segs := s.shelf.Sealed(0, 0)
	deliver(t, s, "a", segs[0].Number)
	until(t, s, "deleted", func() bool { return s.Stats().Segments == 2 })
	closeSpool(t, s)
	path := s.segPath(segs[1].Number)
	if again {
		if err := d.fs.Remove(path); err != nil {
			t.Fatal(err)
		}
		path = s.segPath(segs[0].Number)
	}
	if err := errors.Join(vfs.WriteFileAtomic(d.fs, path, b), d.fs.Remove(s.path(cleanName))); err != nil {
		t.Fatal(err)
	}
	d.index = new(index.Mem).Open // lost, so that every segment is looked at
	s = d.open(t, Options{Destinations: []string{"a"}})
	defer closeSpool(t, s)
	x := s.shelf.damages.list()
	if len(x) != 1 || x[0].Segment <= segs[0].Number || x[0].Segment >= segs[2].Number || !slices.Equal(x[0].Ranges, []segment.Range{{First: 11, Last: 20}}) {
		t.Fatalf("%+v", x)
	}
	for _, n := range []uint64{x[0].Segment, segs[2].Number} {
		deliver(t, s, "a", n)
	}
	if p := s.Stats().Pending["a"].Records; p != 0 {
		t.Errorf("%d records are pending", p)
	}
}

// TestMostDelivered: what a destination has and what it is still sent was kept, but a segment of which it has a part counts once.
func TestMostDelivered(t *testing.T) {
	parts := []*part{
		{number: 3, sealed: &sealed{Segment: Segment{Number: 3, First: 11, Last: 20, Bytes: 100}}},
		{number: 4, sealed: &sealed{Segment: Segment{Number: 4, First: 21, Last: 30, Bytes: 200}}},
	}
	for _, c := range []struct {
		segment, through, want uint64
	}{
		{2, 10, 1300}, {3, 20, 1200}, {4, 30, 1000}, {2, 15, 1200}, {3, 25, 1000},
	} {
		d := &destination{chain: Chain{Segment: c.segment, Through: c.through}, delivered: segment.Tally{Bytes: 1000}}
		r := &recovery{s: &Spool{shelf: &Shelf{dests: map[string]*destination{"a": d}}}, parts: parts}
		if got := r.mostDelivered(); got != c.want {
			t.Errorf("chain at segment %d through %d: %d, want %d", c.segment, c.through, got, c.want)
		}
	}
}

// TestFooterLost: the newest segment was offered to a destination, and its file loses its footer, or comes back from the time before. What is
// kept from then on is in another segment, since the destination still acknowledges the old end.
func TestFooterLost(t *testing.T) {
	for _, indexed := range []bool{false, true} {
		for _, staged := range []string{"no", "yes", "unknown"} {
			if !indexed && staged == "no" {
				continue // nobody else knows that it was sealed
			}
			t.Run(fmt.Sprintf("index %v, staged %v", indexed, staged), func(t *testing.T) {
				w := newWorld(Options{Destinations: []string{"a"}, Sync: SyncAlways})
				s, err := open("/spool", w.mem, w.index.Open, &w.opts)
				if err != nil {
					t.Fatal(err)
				}
				mustAppend(t, s, batch(1, 10, 100))
				n := s.journal.active.number
				path := s.segPath(n)
				b, err := vfs.ReadFile(w.mem, path, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				mustSeal(t, s)
				if staged == "yes" {
					if _, err := s.shelf.Stage(t.Context(), n, lineEncoder{}); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.shelf.Propose("a", fmt.Appendf(nil, "manifest, to segment %d", n), false); err != nil {
					t.Fatal(err)
				}
				closeSpool(t, s)
				k := w.clone(processDies, index.Fate{})
				if !indexed {
					k.index = newWorld(k.opts).index
				}
				if err := k.mem.Remove("/spool/" + cleanName); err != nil {
					t.Fatal(err)
				}
				if err := vfs.WriteFileAtomic(k.mem, path, b); err != nil {
					t.Fatal(err)
				}
				var opened atomic.Bool
				fsys := vfs.Inject(k.mem, func(op vfs.Op) error {
					if staged == "unknown" && !opened.Load() && op.Kind == vfs.OpStat && strings.Contains(op.Path, stageDir+"/") {
						return syscall.EIO
					}
					return nil
				})
				if s, err = open("/spool", fsys, k.index.Open, &k.opts); err != nil {
					t.Fatal(err)
				}
				opened.Store(true)
				mustAppend(t, s, batch(11, 10, 100))
				mustSeal(t, s)
				deliver(t, s, "a", n)
				if l := s.Ledger(); s.Stats().Pending["a"].Records != 10 || l.Damaged.Records != 0 {
					t.Errorf("pending %+v, damaged %+v, sealed %+v", s.Stats().Pending, l.Damaged, s.shelf.Sealed(0, 0))
				}
				balanced(t, s)
				closeSpool(t, s)
			})
		}
	}
}

// TestNewestComesBack: an old copy of the newest segment, without its footer, comes back when every destination has that segment. The next
// records are in another segment, and are delivered.
func TestNewestComesBack(t *testing.T) {
	for _, how := range []string{"deleted, after a kill", "deleted, after an orderly end", "present, after a kill"} {
		t.Run(how, func(t *testing.T) {
			d := memDir()
			o := Options{Destinations: []string{"a"}, Sync: SyncAlways}
			s := d.open(t, o)
			mustAppend(t, s, batch(1, 10, 100))
			n := s.journal.active.number
			b, err := vfs.ReadFile(d.fs, s.segPath(n), 1<<20) // without a footer
			if err != nil {
				t.Fatal(err)
			}
			mustSeal(t, s)
			if how == "present, after a kill" {
				if err := s.shelf.Freeze("test"); err != nil {
					t.Fatal(err)
				}
			}
			deliver(t, s, "a", n)
			if how != "present, after a kill" {
				until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
			}
			closeSpool(t, s)
			if err := vfs.WriteFileAtomic(d.fs, s.segPath(n), b); err != nil {
				t.Fatal(err)
			}
			if how != "deleted, after an orderly end" {
				if err := d.fs.Remove(s.path(cleanName)); err != nil {
					t.Fatal(err)
				}
			}
			s = d.open(t, o)
			if how == "present, after a kill" {
				if err := s.shelf.Thaw(); err != nil {
					t.Fatal(err)
				}
			}
			mustAppend(t, s, batch(11, 10, 100))
			mustSeal(t, s)
			if p := s.Stats().Pending["a"].Records; p != 10 {
				t.Errorf("%d records are pending, want 10: %+v; sealed %+v", p, s.Ledger(), s.shelf.Sealed(0, 0))
			}
			closeSpool(t, s)
			s = d.open(t, o)
			if l := s.Ledger(); l.Damaged.Records != 0 || s.Stats().Pending["a"].Records != 10 {
				t.Errorf("after the next start: pending %v, damaged %+v, damages %+v", s.Stats().Pending, l.Damaged, s.shelf.Damages())
			}
			closeSpool(t, s)
		})
	}
}
