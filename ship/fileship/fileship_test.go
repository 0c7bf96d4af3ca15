package fileship

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const spoolID = "0123456789abcdefghijklmnop"

func open(t *testing.T, dir string, o *Options) *Destination {
	t.Helper()
	d, err := New(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func put(d *Destination, key string, b []byte) (ship.Receipt, error) {
	return d.Put(context.Background(), ship.BytesObject(key, spoolID, b), io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))))
}

// wantNoTemp checks that no temporary file is left.
func wantNoTemp(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "_tmp", "*", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestConformance(t *testing.T) {
	shiptest.Run(t, func(t *testing.T) ship.Destination {
		dir := filepath.Join(t.TempDir(), "not", "there", "yet")
		t.Cleanup(func() { wantNoTemp(t, dir) })
		return open(t, dir, nil)
	})
}

// TestLinks: files that an operator has moved elsewhere and linked are found.
func TestLinks(t *testing.T) {
	shiptest.RunLinks(t, func(t *testing.T) (ship.Destination, string) {
		dir := t.TempDir()
		return open(t, dir, nil), dir
	})
}

// noLinks makes hard links fail, as exFAT and some network file systems do.
func noLinks(t *testing.T) {
	old := link
	link = func(from, to string) error {
		return &os.LinkError{Op: "link", Old: from, New: to, Err: errors.ErrUnsupported}
	}
	t.Cleanup(func() { link = old })
}

func TestConformanceWithoutLinks(t *testing.T) {
	noLinks(t)
	shiptest.Run(t, func(t *testing.T) ship.Destination {
		dir := t.TempDir()
		t.Cleanup(func() { wantNoTemp(t, dir) })
		return open(t, dir, &Options{NoReadBack: true})
	})
}

func TestDegraded(t *testing.T) {
	noLinks(t)
	r, err := put(open(t, t.TempDir(), &Options{NoReadBack: true}), "k", []byte("x"))
	if err != nil || !slices.Contains(r.Degraded, "no-hardlink") || !slices.Contains(r.Degraded, "no-read-back") || r.Method == "read-back" {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestLookThenRename(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	for _, path := range []string{from, to} {
		if err := os.WriteFile(path, []byte(path), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := lookThenRename(from, to); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("over an existing file: %v", err)
	}
	if err := errors.Join(os.Remove(to), lookThenRename(from, to)); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(to); err != nil || string(b) != from {
		t.Fatal(string(b), err)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	temp := filepath.Join(dir, "_tmp", spoolID)
	other := filepath.Join(dir, "_tmp", "another-spool")
	old := time.Now().Add(-2 * time.Hour)
	write := func(path string, age time.Time) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("x"), 0o600), os.Chtimes(path, age, age)); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(temp, "dead-1"), old)
	write(filepath.Join(temp, "alive-2"), time.Now())
	write(filepath.Join(other, "foreign-3"), old)
	if _, err := put(open(t, dir, nil), "k", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		filepath.Join(temp, "dead-1"): false, filepath.Join(temp, "alive-2"): true, filepath.Join(other, "foreign-3"): true,
	} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", path, err, want)
		}
	}
}

// TestDirectoryRemoved: a clean-up job that removes empty directories must not stop deliveries.
func TestDirectoryRemoved(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, nil)
	if _, err := put(d, "a/b/1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, "a"))); err != nil {
		t.Fatal(err)
	}
	if _, err := put(d, "a/b/2", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "_tmp")); err != nil {
		t.Fatal(err)
	}
	// The first attempt may fail, the second may not.
	if _, err := put(d, "a/b/3", []byte("x")); err != nil {
		if _, err = put(d, "a/b/3", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSymlinkTaken: a link is an object only if it leads to a file, and its name is taken wherever it leads.
func TestSymlinkTaken(t *testing.T) {
	dir, other := t.TempDir(), filepath.Join(t.TempDir(), "other")
	d := open(t, dir, nil)
	if err := os.WriteFile(other, []byte("other bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	for key, to := range map[string]string{"nothing": filepath.Join(dir, "nowhere"), "directory": t.TempDir(), "file": other} {
		if err := os.Symlink(to, filepath.Join(dir, key)); err != nil {
			t.Skip(err)
		}
		if _, err := d.Stat(t.Context(), key); errors.Is(err, fs.ErrNotExist) != (key != "file") {
			t.Errorf("Stat %s: %v", key, err)
		}
		body, err := d.Open(t.Context(), key)
		if errors.Is(err, fs.ErrNotExist) != (key != "file") {
			t.Errorf("Open %s: %v", key, err)
		}
		if err == nil {
			_ = body.Close()
		}
		if _, err := put(d, key, []byte("x")); !errors.Is(err, ship.ErrConflict) {
			t.Errorf("Put %s: %v", key, err)
		}
	}
	if b, err := os.ReadFile(other); err != nil || string(b) != "other bytes" {
		t.Errorf("what the link leads to was changed: %q, %v", b, err)
	}
}

func TestMarker(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, &Options{Marker: ".mounted"})
	if _, err := put(d, "k", []byte("x")); !ship.IsPermanent(err) || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "mount it") {
		t.Fatalf("Put without the marker: %v", err)
	}
	if _, err := d.Stat(t.Context(), "k"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Stat without the marker says %v: that is not for it to know", err)
	}
	if err := d.Check(t.Context()); !ship.IsPermanent(err) {
		t.Fatalf("Check without the marker: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".mounted"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := put(d, "k", []byte("x")); err != nil {
		t.Fatal(err)
	}
}

func TestPermission(t *testing.T) {
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		t.Skip("nothing is forbidden to this user")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir, nil).Check(t.Context()); !ship.IsPermanent(err) {
		t.Fatal(err)
	}
}

func TestOpenURL(t *testing.T) {
	dir := filepath.ToSlash(t.TempDir())
	if runtime.GOOS == "windows" {
		dir = "/" + dir
	}
	d, err := Open(t.Context(), "file://"+dir+"/a%20b?marker=m&read_back=false", nil)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(d.dir) != "a b" || d.o.Marker != "m" || !d.o.NoReadBack {
		t.Fatalf("%+v", d)
	}
	for _, bad := range []string{"s3://b", "file://host/dir", "file:dir", "file://", "/dir", "file:///d?x=1", "file:///d?read_back=maybe", "file:///d?marker=../x", "file:///%zz", "file:///a%00b"} {
		if _, err := Open(t.Context(), bad, nil); err == nil {
			t.Errorf("Open(%q) succeeds", bad)
		}
	}
}

// TestLocation: two names for one place must look the same.
func TestLocation(t *testing.T) {
	dir := t.TempDir()
	alias := filepath.Join(t.TempDir(), "alias")
	if err := os.Symlink(dir, alias); err != nil {
		t.Skip(err)
	}
	a, b := open(t, filepath.Join(dir, "x", "y"), nil), open(t, filepath.Join(alias, ".", "x", "y"), nil)
	if a.Location() != b.Location() || !strings.HasSuffix(a.Location(), "/x/y") {
		t.Fatalf("%s, %s", a.Location(), b.Location())
	}
	c := open(t, filepath.Join(dir, "x", "z"), nil)
	if a.Location() == c.Location() {
		t.Fatal(c.Location())
	}
}

// TestLocationOfDeadMount: a start does not wait for a file server that is gone.
func TestLocationOfDeadMount(t *testing.T) {
	defer func() { evalSymlinks = filepath.EvalSymlinks }()
	dir := t.TempDir()
	d := open(t, dir, nil)
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan struct{})
		defer close(hung)
		evalSymlinks = func(string) (string, error) {
			<-hung
			return "", fs.ErrNotExist
		}
		if got, want := d.Location(), "file://"+filepath.ToSlash(dir); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	})
}
