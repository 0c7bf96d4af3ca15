package vfs

import (
	"bytes"
	"io/fs"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// create makes a file whose contents are synced, but whose name is not.
func create(t testing.TB, fsys FS, path, contents string) File {
	t.Helper()
	f, err := fsys.Create(path)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	write(t, f, contents, 0)
	must(t, f.Sync())
	return f
}

func write(t testing.TB, f File, contents string, off int64) {
	t.Helper()
	n, err := f.WriteAt([]byte(contents), off)
	must(t, err)
	if n != len(contents) {
		t.Fatalf("wrote %d bytes of %d", n, len(contents))
	}
}

// contents returns the contents of path, "absent" if it does not exist.
func contents(t testing.TB, fsys FS, path string) string {
	t.Helper()
	if _, err := fsys.Stat(path); err != nil {
		if _, ok := err.(*fs.PathError); !ok {
			t.Fatalf("not a PathError: %v", err)
		}
		return "absent"
	}
	data, err := ReadFile(fsys, path, 1<<20)
	must(t, err)
	return string(data)
}

func wantContents(t testing.TB, fsys FS, path, want string) {
	t.Helper()
	if got := contents(t, fsys, path); got != want {
		t.Errorf("%s: got %.80q (%d bytes), want %.80q (%d bytes)", path, got, len(got), want, len(want))
	}
}

func fill(b byte, n int) string { return string(bytes.Repeat([]byte{b}, n)) }
