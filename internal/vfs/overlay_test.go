package vfs

import (
	"errors"
	"io/fs"
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

// TestOverlay: both ways to lay a tree over another one show the same, what is below never changes, and what an Overlay
// holds is there again in the next one, also behind a power cut.
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
			if preview {
				get(t, o, top+"/d/written", "below") // what is written to it goes nowhere
			} else {
				get(t, o, top+"/d/written", "ABOVE")
			}
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

// TestLockUnchanged: a lock without a holder's text leaves the file as it is, and excludes others all the same.
func TestLockUnchanged(t *testing.T) {
	m := NewMem()
	for fsys, path := range map[FS]string{OS(): t.TempDir() + "/lock", m: "/lock"} {
		if _, err := fsys.Lock(path, ""); !errors.Is(err, fs.ErrNotExist) {
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
