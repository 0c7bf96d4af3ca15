package spool

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
)

// tripwire makes one operation that changes something fail, counted from the first one that begin matches, and keeps the state that a
// kill before each of them would leave.
type tripwire struct {
	mem   *vfs.Mem
	begin func(op vfs.Op) bool

	mu   sync.Mutex
	fail int // 0: none
	seen int
	ops  []vfs.Op
	left []*vfs.Mem
}

func (w *tripwire) hook(op vfs.Op) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begin == nil || !op.Kind.Mutates() || w.seen == 0 && !w.begin(op) {
		return nil
	}
	w.seen++
	w.ops, w.left = append(w.ops, op), append(w.left, w.mem.KillClone())
	if w.seen == w.fail {
		return syscall.EIO
	}
	return nil
}

// arm begins with the next operation that begin matches; nil ends it.
func (w *tripwire) arm(begin func(op vfs.Op) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begin = begin
}

// wantNamed checks that the only damage on record is of this segment (0: of any, since a hole has the number of its end), that it was
// not given up, and that it names the one file in damaged/ besides the note. It returns how many records are damaged.
func wantNamed(t *testing.T, d *disk, s *Spool, number uint64, when string) uint64 {
	t.Helper()
	all := s.shelf.Damages()
	if len(all) != 1 || number != 0 && all[0].Segment != number || all[0].GivenUp || len(all[0].Files) == 0 {
		t.Errorf("%s: damage on record: %+v", when, all)
		return 0
	}
	entries, err := d.fs.ReadDir(s.path(damagedDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := s.path(damagedDir, e.Name())
		if kind, _, _ := kindOf(damagedDir, e.Name()); kind == "damaged" && !strings.Contains(strings.Join(all[0].Files, " "), path) {
			t.Errorf("%s: %s is not named, only %s", when, path, all[0].Files)
		}
	}
	return all[0].Records
}

// TestDamagedCopy: the file of a segment has failed, and no longer returns a record that was durable. Whichever operation fails while
// the keeper puts a copy in its place, and wherever a kill cuts it short: the damaged file is named, and the loss is counted once.
func TestDamagedCopy(t *testing.T) {
	ops := 1
	for fail := 0; fail <= ops; fail++ {
		synctest.Test(t, func(t *testing.T) {
			w := damagedCopy(t, fail)
			if fail > 0 {
				return
			}
			ops = w.seen
			killedCopies(t, w)
		})
	}
	t.Logf("%d operations", ops)
}

func damagedCopy(t *testing.T, fail int) *tripwire {
	d := memDir()
	w := &tripwire{mem: d.fs.(*vfs.Mem), fail: fail}
	var mu sync.Mutex
	broken := false
	refuse := func(on bool) { mu.Lock(); defer mu.Unlock(); broken = on }
	d.fs = vfs.Inject(w.mem, func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if broken && op.Kind == vfs.OpSync {
			return syscall.EIO
		}
		return w.hook(op)
	})
	s := d.open(t, Options{Sync: SyncAlways, SegmentAge: time.Hour, Destinations: []string{"a"}})
	defer closeSpool(t, s)
	for i := range 5 {
		mustAppend(t, s, batch(1+2*i, 2, 500))
	}
	flip(t, &disk{fs: w.mem}, s.segPath(1), 3)
	refuse(true)
	if _, err := s.Append(t.Context(), batch(11, 2, 500)); err == nil {
		t.Fatal("the disk does not fail")
	}
	w.arm(func(op vfs.Op) bool { return op.Kind == vfs.OpRename && strings.Contains(op.Path, numberName(1)) })
	refuse(false)
	until(t, s, "sealed", func() bool { return s.Stats().Segments > 0 })
	w.arm(nil)
	if n := wantNamed(t, d, s, 1, "sealed"); n != 2 || s.Ledger().Damaged.Records != 2 {
		t.Errorf("operation %d fails: %d records are damaged, %d are counted", fail, n, s.Ledger().Damaged.Records)
	}
	mustSeal(t, s)
	entries, err := d.fs.ReadDir(s.path(damagedDir))
	if err != nil || len(entries) != 2 {
		t.Errorf("operation %d fails: %d files are in damaged/, %v", fail, len(entries), err)
	}
	return w
}

func killedCopies(t *testing.T, w *tripwire) {
	for i, left := range w.left {
		when := "killed before " + w.ops[i].Kind.String() + " " + w.ops[i].Path
		keepsOriginal(t, left.CrashClone(vfs.Crash{}), "power cut, "+when)
		again := vfs.Inject(left, func(op vfs.Op) error {
			if i > 0 && op.Kind.Mutates() {
				keepsOriginal(t, left.CrashClone(vfs.Crash{}), when+", power cut before "+op.Kind.String()+" "+op.Path+" of the next start")
			}
			return nil
		})
		d := &disk{fs: again, dir: "/spool", index: new(index.Mem).Open}
		s := d.open(t, Options{Destinations: []string{"a"}, Logger: slog.New(slog.DiscardHandler)})
		d.fs = left
		stageAll(t, s)
		if i > 0 { // before that, the file is where it was
			if n := wantNamed(t, d, s, 0, when); n != 2 {
				t.Errorf("%s: %d records are damaged", when, n)
			}
		}
		closeSpool(t, s)
	}
}

// keepsOriginal checks that the damaged file of segment 1 is left: under its name, or in damaged/.
func keepsOriginal(t *testing.T, fsys vfs.FS, when string) {
	t.Helper()
	at := newSite(nil, "/spool", fsys, (&Options{}).withDefaults())
	aside, err := at.asideOf(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if replaced, err := at.isSealed(at.segPath(1), 1); len(aside) == 0 && (replaced || err != nil) {
		t.Errorf("%s: the damaged file is gone (%v)", when, err)
	}
}

// TestReplacedAfterFailure: every file of a segment is damaged, and an empty segment replaces it. If any operation of that fails once,
// or a kill interrupts it anywhere, the files are named, and the quota is right.
func TestReplacedAfterFailure(t *testing.T) {
	ops := 1
	for fail := 0; fail <= ops; fail++ {
		synctest.Test(t, func(t *testing.T) {
			w := replaced(t, fail)
			if fail > 0 {
				return
			}
			ops = w.seen
			for i, left := range w.left[1:] {
				when := "killed before " + w.ops[i+1].Kind.String() + " " + w.ops[i+1].Path
				keepsOriginal(t, left.CrashClone(vfs.Crash{}), "power cut, "+when)
				d := &disk{fs: left, dir: "/spool", index: new(index.Mem).Open}
				s := d.open(t, Options{Destinations: []string{"a"}, Logger: slog.New(slog.DiscardHandler)})
				if n := wantNamed(t, d, s, 0, when); n != 10 {
					t.Errorf("%d records are damaged", n)
				}
				closeSpool(t, s)
			}
		})
	}
	t.Logf("%d operations", ops)
}

func replaced(t *testing.T, fail int) *tripwire {
	d := memDir()
	w := &tripwire{mem: d.fs.(*vfs.Mem), fail: fail}
	d.fs = vfs.Inject(w.mem, w.hook)
	s := threeSegments(t, d, Options{SegmentAge: time.Hour})
	synctest.Wait()
	before, used := s.shelf.Sealed(0, 1)[0], s.space.usage().used
	n, garbage := before.Number, []byte("no segment")
	if err := vfs.WriteFileAtomic(d.fs, s.segPath(n), garbage); err != nil {
		t.Fatal(err)
	}
	w.arm(func(op vfs.Op) bool { return op.Kind == vfs.OpRename && op.Path == s.segPath(n) })
	var err error
	for range refusals + 3 {
		if _, err = s.shelf.Stage(t.Context(), n, lineEncoder{}); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	w.arm(nil)
	if lost := wantNamed(t, d, s, n, "replaced"); lost != 10 || s.Ledger().Damaged.Records != 10 {
		t.Errorf("operation %d fails: %d records are damaged, %d are counted", fail, lost, s.Ledger().Damaged.Records)
	}
	synctest.Wait()
	seg, _ := s.shelf.cat.get(n)
	if got, want := s.space.usage().used-used, seg.Size-before.Size+seg.StagedSize+int64(len(garbage)); got != want {
		t.Errorf("operation %d fails: %d bytes more are used, want %d", fail, got, want)
	}
	closeSpool(t, s)
	return w
}

// TestAsideBeforeFailedOpen: a start moves a segment without a header to damaged/, and fails before it has noted the damage. The next
// start names the file.
func TestAsideBeforeFailedOpen(t *testing.T) {
	for _, where := range []string{damagedDir, segDir} {
		d := memDir()
		d.index = new(index.Mem).Open
		s := threeSegments(t, d, Options{})
		n := s.shelf.Sealed(0, 0)[1].Number
		path := s.segPath(n)
		closeSpool(t, s)
		for _, name := range []string{path, s.path(cleanName)} {
			if err := d.fs.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		if err := vfs.WriteFileAtomic(d.fs, path, []byte("no header")); err != nil {
			t.Fatal(err)
		}
		mem := d.fs
		d.fs = vfs.Inject(mem, func(op vfs.Op) error {
			if op.Kind == vfs.OpCreate && strings.Contains(op.Path, "/"+where+"/") {
				return syscall.EIO
			}
			return nil
		})
		if _, err := d.tryOpen(t, Options{Destinations: []string{"a"}}); !errors.Is(err, syscall.EIO) {
			t.Fatalf("opened: %v", err)
		}
		d.fs = mem
		s = d.open(t, Options{Destinations: []string{"a"}})
		if lost := wantNamed(t, d, s, s.shelf.Sealed(0, 0)[1].Number, "the second start"); lost != 10 {
			t.Errorf("%d records are damaged", lost)
		}
		closeSpool(t, s)
	}
}

// stagedOnce makes a spool with a sealed and staged segment, and returns its number.
func stagedOnce(t *testing.T, d *disk, o Options) (*Spool, uint64) {
	t.Helper()
	o.Destinations = []string{"a"}
	s := d.open(t, o)
	mustAppend(t, s, batch(1, 10, 1000))
	mustSeal(t, s)
	n := s.shelf.Sealed(0, 1)[0].Number
	if _, err := s.shelf.Stage(t.Context(), n, lineEncoder{}); err != nil {
		t.Fatal(err)
	}
	return s, n
}

// TestReplacedStagedFile: only the staged file of a segment is left, and it is shorter than its record says. It counts against the
// quota in stage/, and in damaged/ after an empty segment has replaced it, but never twice.
func TestReplacedStagedFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		d.index = new(index.Mem).Open
		s, n := stagedOnce(t, d, Options{SegmentAge: time.Hour})
		if ok, err := s.shelf.halve(t.Context(), lineEncoder{}, n, true); !ok || err != nil {
			t.Fatal(ok, err)
		}
		closeSpool(t, s)
		short := make([]byte, 5000)
		if err := vfs.WriteFileAtomic(d.fs, s.objPath(n), short); err != nil {
			t.Fatal(err)
		}
		s = d.open(t, Options{Destinations: []string{"a"}, SegmentAge: time.Hour})
		defer closeSpool(t, s)
		synctest.Wait()
		wantUsed(t, s)
		for range refusals {
			if _, err := s.shelf.Stage(t.Context(), n, lineEncoder{}); err == nil {
				break
			}
		}
		synctest.Wait()
		if seg, _ := s.shelf.cat.get(n); seg.NoRaw {
			t.Error("it was not replaced")
		}
		held := s.damages.size()
		s.space.add(-held)
		wantUsed(t, s)
		s.space.add(held)
		wantNamed(t, d, s, n, "replaced")
	})
}
