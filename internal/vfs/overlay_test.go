package vfs

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"
)

func put(t *testing.T, fsys FS, path, content string) {
	t.Helper()
	if err := WriteFileAtomic(fsys, path, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, fsys FS, path, want string) {
	t.Helper()
	b, err := ReadFile(fsys, path, 1<<20)
	if err != nil || string(b) != want {
		t.Errorf("%s: %q, %v, want %q", path, b, err, want)
	}
	if fi, err := fsys.Stat(path); err != nil || fi.Size() != int64(len(want)) {
		t.Errorf("%s: %+v, %v", path, fi, err)
	}
}

func list(t *testing.T, fsys FS, path string, want ...string) {
	t.Helper()
	entries, err := fsys.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, want) {
		t.Errorf("%s: %q, want %q", path, names, want)
	}
}

func gone(t *testing.T, fsys FS, path string) {
	t.Helper()
	_, err := fsys.Stat(path)
	_, oerr := fsys.Open(path)
	_, rerr := fsys.OpenRW(path)
	for _, err := range []error{err, oerr, rerr, fsys.Remove(path), fsys.Rename(path, path+"2")} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestOverlay: both kinds of overlay show the same, the tree below never changes, and the next Overlay shows the contents of
// the last one, even after a power cut.
func TestOverlay(t *testing.T) {
	for _, preview := range []bool{false, true} {
		m := NewMem()
		for _, dir := range []string{"/low/d", "/up"} {
			if err := m.MkdirAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		names := []string{"/low/d/kept", "/low/d/removed", "/low/d/renamed", "/low/d/replaced", "/low/d/written"}
		for _, name := range names {
			put(t, m, name, "below")
		}
		top, o := "/up", Overlay(m, "/low", "/up")
		if preview {
			top, o = "/low", Preview(m, "/low")
		}
		if err := o.MkdirAll(top + "/d"); err != nil {
			t.Fatal(err)
		}
		if _, err := o.Create(top + "/d/kept"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("creating what is below: %v", err)
		}
		f, err := o.OpenRW(top + "/d/written")
		if err == nil {
			_, err = f.WriteAt([]byte("ABOVE"), 0)
		}
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
		put(t, o, top+"/d/replaced", "replaced")
		put(t, o, top+"/d/new", "new")
		err = errors.Join(o.Remove(top+"/d/removed"), o.Rename(top+"/d/renamed", top+"/d/other"), o.SyncDir(top+"/d"))
		if err != nil {
			t.Fatal(err)
		}
		check := func(o FS) {
			t.Helper()
			list(t, o, top+"/d", "kept", "new", "other", "replaced", "written")
			get(t, o, top+"/d/kept", "below")
			get(t, o, top+"/d/new", "new")
			get(t, o, top+"/d/other", "below")
			get(t, o, top+"/d/replaced", "replaced")
			get(t, o, top+"/d/written", "ABOVE")
			gone(t, o, top+"/d/removed")
			gone(t, o, top+"/d/renamed")
			gone(t, o, top+"/d/never")
		}
		check(o)
		if !preview {
			check(Overlay(m.CrashClone(Crash{}), "/low", "/up"))
		}
		list(t, m, "/low/d", "kept", "removed", "renamed", "replaced", "written")
		for _, name := range names {
			get(t, m, name, "below")
		}
		// A name that was removed can be used again, and removed again.
		put(t, o, top+"/d/removed", "again")
		get(t, o, top+"/d/removed", "again")
		if err := o.Remove(top + "/d/removed"); err != nil {
			t.Fatal(err)
		}
		check(o)
	}
}

// TestLockUnchanged: a lock without a holder's text creates no file and leaves an existing one unchanged, but still excludes
// others.
func TestLockUnchanged(t *testing.T) {
	m := NewMem()
	for fsys, path := range map[FS]string{OS(): t.TempDir() + "/lock", m: "/lock"} {
		switch l, err := fsys.Lock(path, ""); {
		case err == nil: // its directory is locked
			if _, err := fsys.Lock(path, "other"); !errors.Is(err, ErrLocked) {
				t.Errorf("locked twice, without a file: %v", err)
			}
			if _, err := fsys.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a file was made: %v", err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		case !errors.Is(err, fs.ErrNotExist):
			t.Errorf("without a file: %v", err)
		}
		put(t, fsys, path, "somebody")
		l, err := fsys.Lock(path, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, holder := range []string{"", "other"} {
			if _, err := fsys.Lock(path, holder); !errors.Is(err, ErrLocked) {
				t.Errorf("locked twice: %v", err)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		get(t, fsys, path, "somebody")
	}
}

// TestPreviewMoves: a Preview renames files of the tree below, repeatedly and to each other's names, and copies none.
func TestPreviewMoves(t *testing.T) {
	m := NewMem()
	if err := m.MkdirAll("/d/e"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		put(t, m, "/d/"+name, name)
	}
	o := Preview(m, "/d")
	if err := errors.Join(o.MkdirAll("/d"), o.MkdirAll("/d/e")); err != nil {
		t.Fatal(err)
	}
	rename := func(from, to string) {
		t.Helper()
		if err := o.Rename("/d/"+from, "/d/"+to); err != nil {
			t.Fatal(err)
		}
	}
	rename("a", "e/aside")
	rename("b", "a")
	rename("e/aside", "b")
	list(t, o, "/d", "a", "b", "c", "e")
	list(t, o, "/d/e")
	get(t, o, "/d/a", "b")
	get(t, o, "/d/b", "a")
	if _, err := o.(*overlay).up.Stat("/d/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that was renamed was copied: %v", err)
	}
	rename("a", "c") // replaces one
	gone(t, o, "/d/a")
	get(t, o, "/d/c", "b")
	put(t, o, "/d/a", "new")
	rename("a", "c") // a new one replaces one that was moved there
	get(t, o, "/d/c", "new")
	if err := o.Remove("/d/c"); err != nil {
		t.Fatal(err)
	}
	gone(t, o, "/d/c")
	if err := o.Remove("/d/b"); err != nil {
		t.Fatal(err)
	}
	list(t, o, "/d", "e")
	if _, err := o.Create("/d/b"); err != nil {
		t.Errorf("a name that is free again: %v", err)
	}
	list(t, m, "/d", "a", "b", "c", "e")
}

// TestPreviewWrites compares a file in a Preview with a real file that gets the same writes.
func TestPreviewWrites(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		m := NewMem()
		data := make([]byte, rnd.IntN(20_000))
		for i := range data {
			data[i] = byte(1 + rnd.IntN(255))
		}
		for _, dir := range []string{"/a", "/b"} {
			if err := m.MkdirAll(dir); err != nil {
				t.Fatal(err)
			}
			put(t, m, dir+"/f", string(data))
		}
		o := Preview(m, "/a")
		f, err1 := o.OpenRW("/a/f")
		g, err2 := m.OpenRW("/b/f")
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		for range 8 {
			off, n := int64(rnd.IntN(24_000)), rnd.IntN(9000)
			if rnd.IntN(3) == 0 {
				err1, err2 = f.Truncate(off), g.Truncate(off)
			} else {
				b := bytes.Repeat([]byte{byte(rnd.IntN(3))}, n) // zeros among them
				_, err1 = f.WriteAt(b, off)
				_, err2 = g.WriteAt(b, off)
			}
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			a, err1 := ReadFile(o, "/a/f", 1<<20)
			b, err2 := ReadFile(m, "/b/f", 1<<20)
			fi, err3 := o.Stat("/a/f")
			if err := errors.Join(err1, err2, err3); err != nil || !bytes.Equal(a, b) || fi.Size() != int64(len(b)) {
				t.Fatalf("%v: %d bytes, not the %d that were written", err, len(a), len(b))
			}
		}
		get(t, m, "/a/f", string(data))
	}
}
