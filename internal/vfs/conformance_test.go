package vfs

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestConformance holds every implementation to the same contract.
func TestConformance(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (FS, string){
		"os": func(t *testing.T) (FS, string) { return OS(), t.TempDir() },
		"mem": func(t *testing.T) (FS, string) {
			m := NewMem()
			must(t, m.MkdirAll("/spool"))
			return m, "/spool"
		},
		"inject": func(t *testing.T) (FS, string) {
			return Inject(OS(), func(Op) error { return nil }), t.TempDir()
		},
	} {
		t.Run(name, func(t *testing.T) {
			for name, test := range map[string]func(*testing.T, FS, string){
				"files": testFiles, "names": testNames, "sizes": testSizes, "lock": testLock, "atomic": testAtomic, "remove open": testRemoveOpen,
			} {
				t.Run(name, func(t *testing.T) {
					fsys, dir := open(t)
					test(t, fsys, dir)
				})
			}
		})
	}
}

func testFiles(t *testing.T, fsys FS, dir string) {
	p := filepath.Join(dir, "a")
	for name, open := range map[string]func(string) (File, error){"Open": fsys.Open, "OpenRW": fsys.OpenRW} {
		if _, err := open(p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of a missing file: %v", name, err)
		}
	}
	f := create(t, fsys, p, "hello")
	if _, err := fsys.Create(p); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create of an existing file: %v", err)
	}
	write(t, f, "J", 0)
	write(t, f, "!", 9000)
	b := make([]byte, 10)
	if n, err := f.ReadAt(b, 0); n != 10 || err != nil || string(b) != "Jello\x00\x00\x00\x00\x00" {
		t.Errorf("ReadAt: %d %v %q", n, err, b)
	}
	if n, err := f.ReadAt(b, 8999); n != 2 || err != io.EOF || string(b[:2]) != "\x00!" {
		t.Errorf("ReadAt across the end: %d %v %q", n, err, b[:n])
	}
	if n, err := f.ReadAt(b, 9001); n != 0 || err != io.EOF {
		t.Errorf("ReadAt at the end: %d %v", n, err)
	}
	r, err := fsys.Open(p)
	must(t, err)
	if _, err := r.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a file opened for reading was written")
	}
	must(t, r.Close())
	if _, err := r.ReadAt(b, 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("ReadAt after Close: %v", err)
	}
	if err := r.Sync(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Sync after Close: %v", err)
	}
	rw, err := fsys.OpenRW(p)
	must(t, err)
	write(t, rw, "C", 0)
	must(t, rw.Sync())
	must(t, rw.Close())
	if got := contents(t, fsys, p); len(got) != 9001 || !strings.HasPrefix(got, "Cello") {
		t.Errorf("after OpenRW: %d bytes, %.5q", len(got), got)
	}
}

func testNames(t *testing.T, fsys FS, dir string) {
	sub := filepath.Join(dir, "x", "y")
	must(t, fsys.MkdirAll(sub))
	must(t, fsys.MkdirAll(sub))
	create(t, fsys, filepath.Join(sub, "b"), "bb")
	create(t, fsys, filepath.Join(sub, "a"), "a")
	must(t, fsys.MkdirAll(filepath.Join(sub, "d")))
	if err := fsys.MkdirAll(filepath.Join(sub, "a")); err == nil {
		t.Error("MkdirAll over a file")
	}
	entries, err := fsys.ReadDir(sub)
	must(t, err)
	var got []string
	for _, e := range entries {
		fi, err := e.Info()
		must(t, err)
		if fi.Name() != e.Name() || fi.IsDir() != e.IsDir() || fi.Mode().IsDir() != fi.IsDir() {
			t.Errorf("entry %v does not agree with its info", e)
		}
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != "a b d" {
		t.Errorf("ReadDir: %q", got)
	}
	must(t, fsys.Rename(filepath.Join(sub, "b"), filepath.Join(sub, "a")))
	must(t, fsys.Rename(filepath.Join(sub, "a"), filepath.Join(dir, "c")))
	wantContents(t, fsys, filepath.Join(dir, "c"), "bb")
	must(t, fsys.SyncDir(sub))
	must(t, fsys.SyncDir(dir))
	if err := fsys.Rename(filepath.Join(sub, "a"), filepath.Join(sub, "e")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Rename of a missing file: %v", err)
	}
	if err := fsys.Remove(filepath.Join(sub, "a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Remove of a missing file: %v", err)
	}
	if err := fsys.SyncDir(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SyncDir of a missing directory: %v", err)
	}
	if err := fsys.Remove(sub); err == nil {
		t.Error("Remove of a directory with names in it")
	}
	must(t, fsys.Remove(filepath.Join(sub, "d")))
	must(t, fsys.Remove(sub))
	total, free, err := fsys.Space(dir)
	if err != nil || total <= 0 || free < 0 || free > total {
		t.Errorf("Space: %d of %d, %v", free, total, err)
	}
}

func testSizes(t *testing.T, fsys FS, dir string) {
	f := create(t, fsys, filepath.Join(dir, "f"), fill('x', 5000))
	must(t, f.Allocate(100_000))
	if n, err := f.Size(); n != 5000 || err != nil {
		t.Errorf("Allocate changed the size: %d %v", n, err)
	}
	must(t, f.Truncate(4500))
	must(t, f.Truncate(6000))
	want := fill('x', 4500) + fill(0, 1500)
	wantContents(t, fsys, filepath.Join(dir, "f"), want)
	if err := f.Truncate(-1); err == nil {
		t.Error("negative size")
	}
	if _, err := ReadFile(fsys, filepath.Join(dir, "f"), 5999); !errors.Is(err, ErrTooLarge) {
		t.Errorf("ReadFile beyond its limit: %v", err)
	}
}

func testLock(t *testing.T, fsys FS, dir string) {
	p := filepath.Join(dir, "lock")
	l, err := fsys.Lock(p, "pid 1 on host a since noon")
	must(t, err)
	_, err = fsys.Lock(p, "pid 2")
	if e, ok := errors.AsType[*LockedError](err); !ok || e.Holder != "pid 1 on host a since noon" || !errors.Is(err, ErrLocked) {
		t.Errorf("second Lock: %v", err)
	}
	must(t, l.Close())
	must(t, l.Close()) // idempotent, and does not end the lock of the next holder
	l, err = fsys.Lock(p, "3")
	must(t, err)
	_, err = fsys.Lock(p, "4")
	if e, ok := errors.AsType[*LockedError](err); !ok || e.Holder != "3" || !strings.Contains(err.Error(), "locked by 3") {
		t.Errorf("Lock after Close: %v", err)
	}
	must(t, l.Close())
}

func testAtomic(t *testing.T, fsys FS, dir string) {
	p := filepath.Join(dir, "f.json")
	must(t, WriteFileAtomic(fsys, p, []byte("first, longer")))
	must(t, WriteFileAtomic(fsys, p, []byte("second")))
	wantContents(t, fsys, p, "second")
	create(t, fsys, p+".7"+TempSuffix, "left behind")
	must(t, RemoveTemp(fsys, dir))
	entries, err := fsys.ReadDir(dir)
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
}

func testRemoveOpen(t *testing.T, fsys FS, dir string) {
	p := filepath.Join(dir, "f")
	f := create(t, fsys, p, "still here")
	must(t, fsys.Remove(p))
	b := make([]byte, 10)
	if _, err := f.ReadAt(b, 0); err != nil || string(b) != "still here" {
		t.Errorf("after Remove: %q %v", b, err)
	}
	write(t, f, "more", 10)
	must(t, f.Close())
}
