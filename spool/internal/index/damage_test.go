package index

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
)

// madeIndex returns the contents of an index's file of some depth, with free pages in it, and its entries.
func madeIndex(t testing.TB) (file []byte, want map[string]string) {
	t.Helper()
	open, dir := realIndex(t)
	ix, _ := mustOpen(t, open)
	want = map[string]string{}
	for round := range 3 {
		var puts []Entry
		var deletes []string
		for i := range 120 {
			k := fmt.Sprintf("segment/%016x", round*60+i)
			if i%7 == 0 {
				delete(want, k)
				deletes = append(deletes, k)
				continue
			}
			v := fmt.Sprintf("%d %s", round, strings.Repeat("v", i))
			want[k] = v
			puts = append(puts, Entry{k, []byte(v)})
		}
		mustApply(t, ix, puts, deletes...)
	}
	mustClose(t, ix)
	file, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	return file[:usedPages(t, file)*boltPage], want
}

// usedPages is how many pages bbolt counts as the file's; the rest of it is room to grow.
func usedPages(t testing.TB, file []byte) int {
	t.Helper()
	c := boltCheck{r: bytes.NewReader(file)}
	m, err := c.metas()
	if err != nil {
		t.Fatal(err)
	}
	return int(m.pages)
}

// A file that is no index, or part of one, is set aside, and the spool gets an empty one to fill.
func TestIndexDamagedFile(t *testing.T) {
	file, want := madeIndex(t)
	garbage := make([]byte, 100_000)
	for i := range garbage {
		garbage[i] = byte(rand.IntN(256))
	}
	for name, bad := range map[string][]byte{
		"empty":            {},
		"short":            []byte("x"),
		"garbage":          garbage,
		"zeroes":           make([]byte, 65536),
		"truncated":        file[:len(file)/2],
		"last page gone":   file[:len(file)-boltPage],
		"first page gone":  append(make([]byte, boltPage), file[boltPage:]...),
		"second page gone": append(append(bytes.Clone(file[:boltPage]), make([]byte, boltPage)...), file[2*boltPage:]...),
	} {
		t.Run(name, func(t *testing.T) {
			open, dir := realIndex(t)
			if err := os.WriteFile(filepath.Join(dir, FileName), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			ix, rebuild := mustOpen(t, open)
			if !rebuild {
				t.Error("not to be rebuilt")
			}
			wantEntries(t, ix, map[string]string{})
			mustApply(t, ix, []Entry{{"k", []byte("v")}})
			mustClose(t, ix)
			ix, rebuild = mustOpen(t, open)
			if rebuild {
				t.Error("to be rebuilt once more")
			}
			wantEntries(t, ix, map[string]string{"k": "v"})
			if got := dirNames(t, dir); len(got) != 2 || got[0] != FileName || !strings.HasPrefix(got[1], badIndex) {
				t.Errorf("left in the directory: %q", got)
			}
			if kept, err := os.ReadFile(filepath.Join(dir, dirNames(t, dir)[1])); err != nil || !bytes.Equal(kept, bad) {
				t.Errorf("what was set aside is not the damaged file: %v", err)
			}
		})
	}
	open, dir := realIndex(t)
	if err := os.WriteFile(filepath.Join(dir, FileName), file, 0o600); err != nil {
		t.Fatal(err)
	}
	ix, rebuild := mustOpen(t, open)
	if rebuild {
		t.Error("the whole file was not believed")
	}
	wantEntries(t, ix, want)
}

func dirNames(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A flipped bit anywhere is noticed before bbolt sees the file, or it is where it does not matter.
func TestIndexCheckBits(t *testing.T) {
	file, want := madeIndex(t)
	rng := rand.New(rand.NewPCG(3, 4))
	dir := t.TempDir()
	caught, harmless := 0, 0
	for range 4000 {
		at, bit := rng.IntN(len(file)), byte(1)<<rng.IntN(8)
		file[at] ^= bit
		err := checkFile(bytes.NewReader(file), int64(len(file)))
		switch {
		case err == nil:
			harmless++
			if harmless%100 == 0 { // bbolt agrees that it is
				openSound(t, dir, file, want)
			}
		case !isDamage(err) && !errors.Is(err, statefile.ErrNewer):
			t.Fatalf("byte %d: %v", at, err)
		default:
			caught++
		}
		file[at] ^= bit
	}
	t.Logf("%d caught, %d harmless", caught, harmless)
	if caught < 500 || harmless < 500 { // most pages are free: each transaction leaves its old ones behind
		t.Errorf("of 4000 flipped bits %d were noticed", caught)
	}
}

// openSound opens a file that passed the check: it has the entries that were put, and can be changed.
func openSound(t testing.TB, dir string, file []byte, want map[string]string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, FileName), file, 0o600); err != nil {
		t.Fatal(err)
	}
	ix, rebuild := mustOpen(t, func() (Index, bool, error) { return openBolt(vfs.OS(), dir, discard) })
	if rebuild {
		t.Fatal("a file that passed the check was set aside")
	}
	wantEntries(t, ix, want)
	mustApply(t, ix, []Entry{{"new", nil}})
	mustApply(t, ix, nil, "new")
	wantEntries(t, ix, want)
	mustClose(t, ix)
}

// FuzzIndexFile: the check ends without a panic whatever the file is, and what passes it does bbolt no harm.
func FuzzIndexFile(f *testing.F) {
	file, want := madeIndex(f)
	for _, at := range []int{0, boltPage, 2 * boltPage, 3 * boltPage, 4 * boltPage} {
		f.Add(uint32(at), uint64(1))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, at uint32, flip uint64) {
		bad := bytes.Clone(file)
		for i, b := range native.AppendUint64(nil, flip) {
			bad[(int(at)+i)%len(bad)] ^= b
		}
		switch err := checkFile(bytes.NewReader(bad), int64(len(bad))); {
		case err == nil:
			openSound(t, dir, bad, want)
		case !isDamage(err) && !errors.Is(err, statefile.ErrNewer):
			t.Error(err)
		}
	})
}

// bbolt would follow a circle of pages until its stack is full, which no code can recover; entries that an older page
// brings back, or removes, are each valid by themselves.
func TestIndexCheckForged(t *testing.T) {
	file, _ := madeIndex(t)
	c := boltCheck{r: bytes.NewReader(file)}
	m, err := c.metas()
	if err != nil {
		t.Fatal(err)
	}
	root := newBoltNode(file[m.root*boltPage:])
	_, value, _, _ := root.leaf(0)
	top := native.Uint64(value)
	branch := newBoltNode(file[top*boltPage : (top+1)*boltPage])
	if branch.flags != boltBranch {
		t.Fatal("the index made for the test has no branch page")
	}
	_, first, _ := branch.branch(0)
	forge := func(name string, change func(file []byte)) {
		bad := bytes.Clone(file)
		change(bad)
		if err := checkFile(bytes.NewReader(bad), int64(len(bad))); !isDamage(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	element := func(b []byte, page uint64, i int) []byte { return b[int(page)*boltPage+boltHeader+16*i:] }
	forge("a circle", func(b []byte) { native.PutUint64(element(b, top, 0)[8:], top) })
	forge("a page used twice", func(b []byte) { copy(element(b, top, 1)[8:16], element(b, top, 0)[8:16]) })
	forge("a child too few", func(b []byte) { native.PutUint16(b[top*boltPage+10:], uint16(branch.count-1)) })
	forge("an entry too few", func(b []byte) {
		p := b[first*boltPage:]
		native.PutUint16(p[10:], native.Uint16(p[10:])-1)
	})
	forge("a value longer than the page", func(b []byte) { native.PutUint32(element(b, first, 3)[12:], 1<<31) })
	forge("a free page in use", func(b []byte) {
		native.PutUint64(b[m.freelist*boltPage+boltHeader:], first)
	})
	forge("a freelist longer than memory", func(b []byte) {
		native.PutUint16(b[m.freelist*boltPage+10:], 0xffff)
		native.PutUint64(b[m.freelist*boltPage+boltHeader:], 1<<60)
	})
	forge("pages beyond the end", func(b []byte) { native.PutUint32(b[first*boltPage+12:], 1<<13) })
}

// A read error in the file is noticed as one; it is not the spool's end.
func TestIndexUnreadable(t *testing.T) {
	open, dir := realIndex(t)
	ix, _ := mustOpen(t, open)
	mustApply(t, ix, []Entry{{"k", []byte("v")}})
	mustClose(t, ix)
	eio := vfs.Inject(vfs.OS(), func(op vfs.Op) error {
		if op.Kind == vfs.OpRead {
			return syscall.EIO
		}
		return nil
	})
	ix, rebuild, err := openBolt(eio, dir, discard)
	if err != nil || !rebuild {
		t.Fatalf("rebuild %v, %v", rebuild, err)
	}
	mustClose(t, ix)

	// Without permission there is no index for now, and the spool that continues without it does not update the file.
	refuse := vfs.Inject(vfs.OS(), func(op vfs.Op) error {
		if op.Kind == vfs.OpOpen {
			return fs.ErrPermission
		}
		return nil
	})
	if _, _, err := openBolt(refuse, dir, discard); !errors.Is(err, ErrLost) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("no permission: %v", err)
	}
	if _, rebuild := mustOpen(t, open); !rebuild {
		t.Error("an index that a spool did without is believed")
	}
}

func TestIndexNewer(t *testing.T) {
	open, dir := realIndex(t)
	ix, _ := mustOpen(t, open)
	mustClose(t, ix)
	db, err := bbolt.Open(filepath.Join(dir, FileName), 0o600, boltOptions())
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(indexBucket)).Put([]byte(headerKey), sealValue(headerKey, []byte{7, 0, 0, 0, 'n', 'e', 'w'}))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // nothing is set aside, however often it is tried
		if _, _, err = open(); !errors.Is(err, statefile.ErrNewer) || !strings.Contains(err.Error(), "format 7") {
			t.Fatalf("a newer format: %v", err)
		}
	}
	if got := dirNames(t, dir); len(got) != 1 {
		t.Errorf("left in the directory: %q", got)
	}
}

// A process that died while it opened the index finds the mark, and does not try again.
func TestIndexOpeningMark(t *testing.T) {
	open, dir := realIndex(t)
	ix, _ := mustOpen(t, open)
	mustApply(t, ix, []Entry{{"k", []byte("v")}})
	mustClose(t, ix)
	for round := range 3 {
		if err := setMark(vfs.OS(), dir); err != nil {
			t.Fatal(err)
		}
		ix, rebuild := mustOpen(t, open)
		if !rebuild {
			t.Errorf("round %d: the file was believed", round)
		}
		wantEntries(t, ix, map[string]string{})
		mustApply(t, ix, []Entry{{"k", []byte("v")}})
		mustClose(t, ix)
		if got := dirNames(t, dir); len(got) != 2 {
			t.Errorf("round %d: left in the directory: %q", round, got)
		}
	}
	if _, rebuild := mustOpen(t, open); rebuild {
		t.Error("the mark was not removed")
	}
}

// The mark is durable before bbolt sees the file, and the file's name once open has returned.
func TestIndexMarkOrder(t *testing.T) {
	dir := t.TempDir()
	var ops []string
	fsys := vfs.Inject(vfs.OS(), func(op vfs.Op) error {
		if op.Kind.Mutates() {
			ops = append(ops, op.Kind.String()+" "+filepath.Base(op.Path))
			_, err := os.Stat(filepath.Join(dir, FileName))
			ops = append(ops, fmt.Sprint(err == nil))
		}
		return nil
	})
	ix, _, err := openBolt(fsys, dir, discard)
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, ix)
	d := filepath.Base(dir)
	want := "create index.opening false syncdir " + d + " false remove index.opening true syncdir " + d + " true"
	if got := strings.Join(ops, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// With a full disk the index opens without a mark.
func TestIndexOpensWithoutMark(t *testing.T) {
	open, dir := realIndex(t)
	ix, _ := mustOpen(t, open)
	mustApply(t, ix, []Entry{{"k", []byte("v")}})
	mustClose(t, ix)
	full := vfs.Inject(vfs.OS(), func(op vfs.Op) error {
		if op.Kind == vfs.OpCreate {
			return syscall.ENOSPC
		}
		return nil
	})
	ix, rebuild, err := openBolt(full, dir, discard)
	if err != nil || rebuild {
		t.Fatalf("rebuild %v, %v", rebuild, err)
	}
	wantEntries(t, ix, map[string]string{"k": "v"})
	mustClose(t, ix)
}
