package spool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
)

// treeHash returns the hash of all names and contents below dir.
func treeHash(t testing.TB, fsys vfs.FS, dir string) [32]byte {
	t.Helper()
	h := sha256.New()
	var walk func(string)
	walk = func(path string) {
		entries, err := fsys.ReadDir(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			p := filepath.Join(path, e.Name())
			fmt.Fprintf(h, "%q %v\n", p, e.IsDir())
			if e.IsDir() {
				walk(p)
				continue
			}
			b, err := vfs.ReadFile(fsys, p, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(h, "%d\n%s\n", len(b), b)
		}
	}
	walk(dir)
	return [32]byte(h.Sum(nil))
}

// follow continues a chain as a shipper does: it acknowledges existing manifests, delivers the missing segments, and ends with a
// final manifest.
func (w *world) follow(ctx context.Context, s *Spool, dest string) error {
	for {
		c, err := s.shelf.Chain(dest)
		if err != nil {
			return err
		}
		if c.Final {
			return nil
		}
		key := fmt.Sprintf("_manifest/%06d/%012d", c.Epoch, c.Next)
		w.mu.Lock()
		there := w.objects[dest][key]
		w.mu.Unlock()
		if there == nil {
			if there, err = s.shelf.Proposed(dest); errors.Is(err, fs.ErrNotExist) {
				there, err = w.next(ctx, s, dest, c)
			}
			if err == nil {
				err = s.shelf.Propose(dest, there, bytes.HasPrefix(there, []byte("final")))
			}
			if err != nil {
				return err
			}
			w.note(func() { w.objects[dest][key] = there })
			continue
		}
		if old, err := s.shelf.Proposed(dest); err == nil && !bytes.Equal(old, there) {
			if err := s.shelf.Withdraw(dest); err != nil {
				return err
			}
		}
		if err := s.shelf.Propose(dest, there, bytes.HasPrefix(there, []byte("final"))); err != nil {
			return err
		}
		if c.Segment, err = strconv.ParseUint(string(there[bytes.LastIndexByte(there, ' ')+1:]), 10, 64); err != nil {
			return err
		}
		for _, seg := range s.shelf.Sealed(c.Segment-1, 1) {
			c.Through = seg.Last
		}
		c.Next++
		c.Hash, c.Final = sha256.Sum256(there), bytes.HasPrefix(there, []byte("final"))
		if err := s.shelf.Ack(dest, c); err != nil {
			return err
		}
	}
}

// next puts the segments that a destination lacks and returns the manifest for them.
func (w *world) next(ctx context.Context, s *Spool, dest string, c Chain) ([]byte, error) {
	last, kind := c.Segment, "final"
	for _, seg := range s.shelf.Sealed(c.Segment, 0) {
		if err := w.put(ctx, s, dest, seg); err != nil {
			return nil, err
		}
		last, kind = seg.Number, "epoch"
	}
	return fmt.Appendf(nil, "%s %d manifest %d to %d", kind, c.Epoch, c.Next, last), nil
}

// adopt takes the world's spool over, delivers everything, and marks it.
func (w *world) adopt(ctx context.Context, fsys vfs.FS, work string) error {
	s, err := adopt("/spool", fsys, w.index.Open, &AdoptOptions{Work: work, Instance: "adopter", MaxBytes: 64 << 20})
	if err != nil {
		return err
	}
	for _, dest := range w.opts.Destinations {
		if err == nil {
			err = w.follow(ctx, s, dest)
		}
	}
	if err == nil {
		err = s.Shelf().MarkAdopted()
	}
	return errors.Join(err, s.Close())
}

// TestAdoptPowerCuts: the power fails before each operation of an adopter, or each operation fails. The source does not change until
// it is marked; the same adopter, or another one without the first one's files, completes the adoption; and the next owner continues.
func TestAdoptPowerCuts(t *testing.T) {
	for _, at := range []int{90, 170, 260, 0} { // operation of the old owner at which it dies; 0: it closes
		t.Run(fmt.Sprint("owner ends at ", at), func(t *testing.T) {
			orphan := newWorld(Options{Sync: SyncAlways, Destinations: []string{"a", "b"}})
			var dead *world
			err := orphan.script(t.Context(), vfs.Inject(orphan.mem, func(op vfs.Op) error {
				if op.N == at && op.Kind.Mutates() && dead == nil {
					dead = orphan.clone(vfs.Crash{Data: vfs.DataMixed, Names: vfs.NamesJournal, Seed: uint64(at)}, index.Fate{Lost: true})
				}
				return nil
			}), 2)
			if err != nil {
				t.Fatal(err)
			}
			if at == 0 {
				dead = orphan
			}
			if dead == nil {
				t.Fatal("the script has fewer operations")
			}
			// The owner may have died while it wrote a temporary file. The check below removes those, for an adopter's half a mark.
			tidy := dead.clone(processDies, index.Fate{}).mem
			if err := vfs.RemoveTemp(tidy, "/spool"); err != nil {
				t.Fatal(err)
			}
			before := treeHash(t, tidy, "/spool")
			check := func(w *world, op vfs.Op, c vfs.Crash, work string) {
				if err := w.afterAdoption(t, before, work); err != nil {
					t.Errorf("before operation %d (%s %s), %s, then with %s: %v", op.N, op.Kind, op.Path, c, work, err)
				}
			}
			cuts := 0
			run := dead.clone(processDies, index.Fate{})
			err = run.adopt(t.Context(), vfs.Inject(run.mem, func(op vfs.Op) error {
				if !op.Kind.Mutates() || !*sweepAll && op.N%5 != at%5 {
					return nil
				}
				seeds := 1
				if *sweepAll {
					seeds = *sweepSeeds
				}
				for seed := range seeds {
					for i, c := range crashes {
						if !*sweepAll && i != op.N/5%len(crashes) {
							continue
						}
						c.Seed = uint64(op.N*1000 + seed)
						cuts++
						check(run.clone(c, index.Fate{Lost: op.N%2 == 0}), op, c, []string{"/work", "/other"}[(op.N/5+seed)%2])
					}
				}
				return nil
			}), "/work")
			if err != nil {
				t.Fatal(err)
			}
			ops := 0
			check(run, vfs.Op{}, vfs.Crash{}, "/work")
			step := 5
			if *sweepAll {
				step = 1
			}
			for n := 1 + at%step; ; n += step { // an operation fails, once
				run := dead.clone(processDies, index.Fate{})
				failed := false
				err := run.adopt(t.Context(), vfs.Inject(run.mem, func(op vfs.Op) error {
					if op.N != n || !op.Kind.Mutates() {
						return nil
					}
					failed = true
					return errors.New("injected")
				}), "/work")
				if !failed {
					break
				}
				ops++
				if err == nil || n%7 == 0 { // most end with the error; what they leave was seen above
					check(run, vfs.Op{N: n}, processDies, "/work")
				}
			}
			t.Logf("%d power cuts, %d faults", cuts, ops)
		})
	}
}

// afterAdoption completes what a crash of an adopter left, and checks every promise.
func (w *world) afterAdoption(t *testing.T, before [32]byte, work string) error {
	_, err := w.mem.Stat("/spool/" + adoptedName)
	marked := err == nil
	if !marked {
		if err := vfs.RemoveTemp(w.mem, "/spool"); err != nil { // half a mark
			return err
		}
		if treeHash(t, w.mem, "/spool") != before {
			return errors.New("the source was changed")
		}
	}
	err = w.adopt(t.Context(), w.mem, work)
	if marked != errors.Is(err, ErrAdopted) || !marked && err != nil {
		return fmt.Errorf("adopting: %w (marked before: %v)", err, marked)
	}
	if err := w.adopt(t.Context(), w.mem, work); !errors.Is(err, ErrAdopted) {
		return fmt.Errorf("adopting once more: %w", err)
	}
	n, err := w.recordsOnDisk()
	if err != nil {
		return err
	}
	for dest, objects := range w.objects {
		if err := wantAll(objects, n); err != nil {
			return fmt.Errorf("destination %s: %w", dest, err)
		}
	}
	// The volume is used again: nothing is delivered twice, the next records go on.
	o := w.opts
	o.Instance = "next owner"
	s, err := open("/spool", w.mem, new(index.Mem).Open, &o)
	if err != nil {
		return err
	}
	defer s.Close()
	if got := s.Stats().Appended; got != n {
		return fmt.Errorf("the next owner goes on behind record %d, not %d", got, n)
	}
	mustAppend(t, s, batch(int(n)+1, 3, 30))
	mustSeal(t, s)
	for _, dest := range o.Destinations {
		if c, err := s.shelf.Chain(dest); err != nil || c.Epoch < 2 || c.Next != 0 || c.Through != n {
			return fmt.Errorf("chain of the next owner %+v, %w", c, err)
		}
		if err := w.ship(t.Context(), s, dest, 0); err != nil {
			return err
		}
		if err := wantAll(w.objects[dest], n+3); err != nil {
			return fmt.Errorf("destination %s of the next owner: %w", dest, err)
		}
	}
	l := s.Ledger()
	return l.Balance()
}

// recordsOnDisk says how many records the spool had when it was adopted.
func (w *world) recordsOnDisk() (uint64, error) {
	m, err := loadAdoption(w.mem, "/spool")
	if err != nil {
		return 0, err
	}
	return m.Through, nil
}

// orphan makes a spool on the real disk whose process has died: five segments, the last one not sealed.
func orphan(t *testing.T, change func(dir string)) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "orphan")
	o := Options{Destinations: []string{"a", "b"}, SegmentBytes: minSegmentBytes, Instance: "gone", Sync: SyncAlways, MaxBytes: 64 << 20}
	s, err := Open(dir, &o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		mustAppend(t, s, batch(10*i+1, 10, 200))
		mustSeal(t, s)
	}
	if _, err := s.shelf.Stage(t.Context(), s.shelf.Sealed(0, 1)[0].Number, lineEncoder{}); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, batch(41, 7, 200))
	// As a kill leaves it: copied while open.
	dead := filepath.Join(t.TempDir(), "dead")
	if err := os.CopyFS(dead, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	change(dead)
	return dead
}

// segFiles returns the segments' files that have been used.
func segFiles(t *testing.T, dir string) (files []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, segDir, "*"+segExt))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil && !allZero(b[:128]) {
			files = append(files, name)
		}
	}
	return files
}

func invert(t *testing.T, path string, off int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[off] ^= 0xff
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAdoptWhatIsThere: whatever state the directory is in, Adopt and Inspect find what Open would, and change nothing.
func TestAdoptWhatIsThere(t *testing.T) {
	remove := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		change  func(t *testing.T, dir string)
		records uint64 // that can be read
	}{
		"as it was":      {func(*testing.T, string) {}, 47},
		"index lost":     {remove(index.FileName), 47},
		"identity lost":  {remove(identityName), 47},
		"lock file lost": {remove(lockName), 47},
		"index damaged": {func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, index.FileName), []byte("nonsense"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, 47},
		"closed": {func(t *testing.T, dir string) {
			s, err := Open(dir, &Options{Destinations: []string{"a", "b"}, SegmentBytes: minSegmentBytes, Instance: "gone", MaxBytes: 64 << 20})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}, 47},
		"frozen by a drain": {func(t *testing.T, dir string) {
			s, err := Open(dir, &Options{Destinations: []string{"a", "b"}, SegmentBytes: minSegmentBytes, Instance: "gone", MaxBytes: 64 << 20})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(s.shelf.Freeze("a drain was given up"), s.Close()); err != nil {
				t.Fatal(err)
			}
		}, 47},
		"damage in a sealed segment": {func(t *testing.T, dir string) { invert(t, segFiles(t, dir)[2], headerPad+300) }, 37},
		"a header damaged":           {func(t *testing.T, dir string) { invert(t, segFiles(t, dir)[3], 60) }, 47},
		"torn tail": {func(t *testing.T, dir string) {
			s, err := Open(dir, &Options{Destinations: []string{"a", "b"}, SegmentBytes: minSegmentBytes, Instance: "gone", MaxBytes: 64 << 20, Sync: SyncAlways})
			if err != nil {
				t.Fatal(err)
			}
			mustAppend(t, s, batch(48, 2, 200))
			files := segFiles(t, dir)
			copied, err := os.ReadFile(files[len(files)-1])
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			at := bytes.LastIndex(copied, []byte("record 49"))
			copied[at] ^= 0xff
			err = errors.Join(os.WriteFile(files[len(files)-1], copied, 0o600), os.Remove(filepath.Join(dir, cleanName)),
				os.Remove(filepath.Join(dir, begunName)))
			if err != nil {
				t.Fatal(err)
			}
		}, 47},
		"a segment missing": {func(t *testing.T, dir string) {
			if err := os.Remove(segFiles(t, dir)[2]); err != nil {
				t.Fatal(err)
			}
		}, 37},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := orphan(t, func(dir string) { c.change(t, dir) })
			before := treeHash(t, vfs.OS(), dir)
			in, err := Inspect(dir)
			if err != nil {
				t.Fatal(err)
			}
			clone := filepath.Join(t.TempDir(), "clone")
			if err := os.CopyFS(clone, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			opened, err := Open(clone, &Options{Destinations: []string{"a", "b"}, SegmentBytes: minSegmentBytes, Instance: "next", MaxBytes: 64 << 20})
			if err != nil {
				t.Fatal(err)
			}
			defer opened.Close()
			want := opened.shelf.Sealed(0, 0)
			for i, work := range []string{"one", "two", "one"} { // another adopter, and the first one once more
				s, err := Adopt(dir, &AdoptOptions{Work: filepath.Join(filepath.Dir(clone), work), Instance: work, MaxBytes: 64 << 20})
				if err != nil {
					t.Fatal(err)
				}
				got := s.shelf.Sealed(0, 0)
				if i < 2 && (!slices.EqualFunc(got, want, sameSegment) || !slices.EqualFunc(got, in.Segments, sameSegment)) {
					t.Errorf("adopted %+v\nopened %+v\ninspected %+v", got, want, in.Segments)
				}
				var records uint64
				for _, seg := range got {
					a, err := s.shelf.Stage(t.Context(), seg.Number, lineEncoder{})
					if err != nil {
						t.Fatal(err)
					}
					b, err := opened.shelf.Stage(t.Context(), seg.Number, lineEncoder{})
					if err != nil {
						t.Fatal(err)
					}
					if a.Records+b.Records > 0 && (a.Key != b.Key || a.SHA256 != b.SHA256 || a.Records != b.Records) {
						t.Errorf("segment %d: staged by the adopter %s %s, by an owner %s %s", seg.Number, a.Key, a.SHA256, b.Key, b.SHA256)
					}
					records += a.Records
				}
				if records != c.records {
					t.Errorf("%d records, want %d", records, c.records)
				}
				if st := s.Stats(); st.Epoch != in.Epoch+1 || st.Spool != in.Spool || s.Source() != dir {
					t.Errorf("stats %+v", st)
				}
				if _, err := s.Append(t.Context(), batch(1, 1, 1)); !errors.Is(err, ErrReadOnly) {
					t.Errorf("Append: %v", err)
				}
				if err := s.Seal(t.Context()); err != nil {
					t.Error(err)
				}
				if err := s.Shelf().MarkAdopted(); err == nil {
					t.Error("marked while the destinations lack everything")
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if treeHash(t, vfs.OS(), dir) != before {
					t.Fatal("the source was changed")
				}
			}
			if in.Class != "default" || in.Instance != "gone" || in.Destinations["a"].Pending != in.Destinations["b"].Pending || in.Next != 48 ||
				in.Clean != (name == "closed" || name == "frozen by a drain") || in.Frozen != "" != (name == "frozen by a drain") {
				t.Errorf("inspection %+v", in)
			}
		})
	}
}

// sameSegment compares all but the file: a segment that was not sealed has been by an Open. One that is missing altogether
// has no time.
func sameSegment(a, b Segment) bool {
	a.Size, b.Size, a.Staged, b.Staged = 0, 0, false, false
	a.Unaccounted, b.Unaccounted = nil, nil // up to when differs
	if a.Records == 0 {
		a.Created, b.Created, a.Epoch, b.Epoch = time.Time{}, time.Time{}, 0, 0
	}
	return reflect.DeepEqual(a, b)
}

// TestAdoptRefused: a living process's spool, a directory that is none, a work directory of another spool or within.
func TestAdoptRefused(t *testing.T) {
	dir := orphan(t, func(string) {})
	work := t.TempDir()
	s, err := Adopt(dir, &AdoptOptions{Work: work, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Adopt(dir, &AdoptOptions{Work: t.TempDir()}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second adopter: %v", err)
	}
	if _, err := Open(dir, &Options{Destinations: []string{"a", "b"}, MaxBytes: 1 << 30}); !errors.Is(err, ErrLocked) {
		t.Errorf("Open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	owner, err := Open(dir, &Options{Destinations: []string{"a", "b"}, MaxBytes: 1 << 30, Instance: "alive"})
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	if _, err := Adopt(dir, &AdoptOptions{Work: work}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "of alive, class default") {
		t.Errorf("of a living owner: %v", err)
	}
	in, err := Inspect(dir)
	if !errors.Is(err, ErrLocked) || !strings.Contains(in.Holder, "of alive") {
		t.Errorf("inspecting the spool of a living owner: %+v, %v", in, err)
	}
	for what, c := range map[string]struct {
		dir, work string
		want      error
	}{
		"nothing there":     {t.TempDir(), t.TempDir(), fs.ErrNotExist},
		"no work directory": {orphan(t, func(string) {}), "", nil},
		"work within":       {dir, filepath.Join(dir, "work"), nil},
	} {
		if _, err := Adopt(c.dir, &AdoptOptions{Work: c.work}); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := Inspect(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("inspecting nothing: %v", err)
	}
	if _, err := Adopt(orphan(t, func(string) {}), &AdoptOptions{Work: t.TempDir(), MaxBytes: 64 << 20, Destinations: []string{"a"}}); !errors.Is(err, ErrPending) {
		t.Errorf("a destination that is owed everything is missing: %v", err)
	}
}
