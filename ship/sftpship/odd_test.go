package sftpship

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"github.com/penstock-go/penstock/internal/test/sftpd"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// translating makes one status another: what MikroTik's and Paramiko's servers answer for a file that is not there.
type translating struct {
	io.ReadWriteCloser
	from, to uint32
}

func (c translating) Write(p []byte) (int, error) {
	if len(p) >= 13 && p[4] == 101 && binary.BigEndian.Uint32(p[9:]) == c.from {
		p = append([]byte(nil), p...)
		binary.BigEndian.PutUint32(p[9:], c.to)
	}
	return c.ReadWriteCloser.Write(p)
}

// TestAbsentStatus: whatever status a server answers for a file that is not there, the driver works like any Destination: it
// makes missing directories, and reports missing files as missing, although the status alone does not show it.
func TestAbsentStatus(t *testing.T) {
	t.Parallel()
	for _, code := range []uint32{10, 4, 99} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			s, dir := inProcess(t, &sftpd.Options{Channel: func(ch io.ReadWriteCloser) io.ReadWriteCloser {
				return translating{ch, 2, code}
			}})
			if err := open(t, s.URL("/made/by/check"), nil).Check(bounded(t)); err != nil {
				t.Error(err)
			}
			shiptest.Run(t, func(t *testing.T) ship.Destination { return open(t, s.URL("/"), nil) })
			wantNoTemporary(t, dir)
			for _, err := range open(t, s.URL("/no/such"), nil).List(bounded(t), "class=x/") {
				wantPermanent(t, err, "no directory /no/such", "mounted")
			}
		})
	}
	// A real failure: the file is there, and must not be called missing.
	s, dir := inProcess(t, &sftpd.Options{Handlers: func(h sftp.Handlers) sftp.Handlers {
		h.FileList = failingLister{h.FileList}
		return h
	}})
	if err := os.WriteFile(filepath.Join(dir, "sick"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := open(t, s.URL("/"), nil)
	if _, err := h.Stat(bounded(t), "sick"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat of a file that is there and cannot be read: %v", err)
	}
	if _, err := h.Stat(bounded(t), "sick2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat of a file that is not there: %v", err)
	}
}

// failingLister fails for files named sick.
type failingLister struct{ sftp.FileLister }

func (l failingLister) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	if r.Method == "Stat" && strings.HasPrefix(filepath.Base(r.Filepath), "sick") {
		return nil, sftp.ErrSSHFxFailure
	}
	return l.FileLister.Filelist(r)
}

// noSpace reports a file system that does not know its size.
type noSpace struct{ sftp.FileCmder }

func (noSpace) StatVFS(*sftp.Request) (*sftp.StatVFS, error) {
	return &sftp.StatVFS{Bsize: 4096, Frsize: 4096}, nil
}

// TestUnknownSpace: 0 of 0 blocks is not a full disk.
func TestUnknownSpace(t *testing.T) {
	t.Parallel()
	s, dir := inProcess(t, &sftpd.Options{Handlers: func(h sftp.Handlers) sftp.Handlers {
		h.FileCmd = noSpace{h.FileCmd}
		return h
	}})
	h := open(t, s.URL("/"), nil)
	if err := h.Check(bounded(t)); err != nil {
		t.Error(err)
	}
	o, body := objectOf("a", 1000)
	if _, err := h.Put(bounded(t), o, body); err != nil {
		t.Fatal(err)
	}
	wantFile(t, filepath.Join(dir, o.Key), o)
}

// countingSpace counts how often it is asked.
type countingSpace struct {
	sftp.FileCmder
	asked *atomic.Int64
	free  *atomic.Int64
}

func (c countingSpace) StatVFS(*sftp.Request) (*sftp.StatVFS, error) {
	c.asked.Add(1)
	return &sftp.StatVFS{Frsize: 4096, Blocks: 1 << 20, Bavail: uint64(c.free.Load()) / 4096}, nil
}

// TestSpaceOnceAMinute: the free space is not asked for with each object, and what was sent since counts; while there is too
// little, it is asked each time, so that room is seen when it is made.
func TestSpaceOnceAMinute(t *testing.T) {
	t.Parallel()
	var asked, free atomic.Int64
	free.Store(spaceReserve + 3*4096)
	s, _ := inProcess(t, &sftpd.Options{Handlers: func(h sftp.Handlers) sftp.Handlers {
		h.FileCmd = countingSpace{h.FileCmd, &asked, &free}
		return h
	}})
	h := open(t, s.URL("/"), nil)
	put := func(n int) error {
		o, body := objectOf(fmt.Sprint(asked.Load(), "-", time.Now().UnixNano()), n)
		_, err := h.Put(bounded(t), o, body)
		return err
	}
	for range 9 {
		if err := put(1000); err != nil {
			t.Fatal(err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times for 9 objects, want once", n)
	}
	free.Store(spaceReserve + 1000)
	if err := put(4000); !errors.Is(err, errNoSpace) {
		t.Errorf("beyond what was left: %v, want errNoSpace", err)
	}
	if err := put(2000); !errors.Is(err, errNoSpace) {
		t.Errorf("beyond what is left: %v, want errNoSpace", err)
	}
	free.Store(1 << 30)
	if err := put(2000); err != nil {
		t.Errorf("after room was made: %v", err)
	}
}

// lyingLinks confirms hard links and makes none, like rclone 1.60's server.
type lyingLinks struct{ sftp.FileCmder }

func (c lyingLinks) Filecmd(r *sftp.Request) error {
	if r.Method == "Link" {
		return nil
	}
	return c.FileCmder.Filecmd(r)
}

// TestLyingLinks: a temporary file stays until the object was seen under its name; it is published in another way.
func TestLyingLinks(t *testing.T) {
	t.Parallel()
	s, dir := inProcess(t, &sftpd.Options{Handlers: func(h sftp.Handlers) sftp.Handlers {
		h.FileCmd = lyingLinks{h.FileCmd}
		return h
	}})
	h := open(t, s.URL("/"), nil)
	for i := range 2 {
		o, body := objectOf(fmt.Sprintf("class=a/%d", i), 1000)
		r, err := h.Put(bounded(t), o, body)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Join(r.Degraded, " ") != "no-fsync no-hardlink" {
			t.Errorf("degraded %q", r.Degraded)
		}
		wantFile(t, filepath.Join(dir, o.Key), o)
	}
	wantNoTemporary(t, dir)
}

// mover takes each file away when it gets its name.
type mover struct {
	sftp.FileCmder
	dir   string
	taken *atomic.Int64
}

func (c mover) Filecmd(r *sftp.Request) error {
	err := c.FileCmder.Filecmd(r)
	if (r.Method == "Link" || r.Method == "Rename") && err == nil && !strings.Contains(r.Target, tmpDir) {
		c.taken.Add(1)
		return os.Remove(filepath.Join(c.dir, r.Target))
	}
	return err
}

// laterMover takes a file away when it has been seen once.
type laterMover struct {
	sftp.FileLister
	dir   string
	taken *atomic.Int64
}

func (l laterMover) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	at, err := l.FileLister.Filelist(r)
	if r.Method == "Stat" && err == nil && strings.HasPrefix(r.Filepath, "/class=a/") {
		l.taken.Add(1)
		err = os.Remove(filepath.Join(l.dir, r.Filepath))
	}
	return at, err
}

// TestLaterMover: the same for a job that needs a moment.
func TestLaterMover(t *testing.T) {
	t.Parallel()
	var taken atomic.Int64
	dir := t.TempDir()
	s, err := sftpd.Start(dir, t.TempDir(), &sftpd.Options{Handlers: func(h sftp.Handlers) sftp.Handlers {
		h.FileList = laterMover{h.FileList, dir, &taken}
		return h
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	o, body := objectOf("class=a/o", 1000)
	_, err = open(t, s.URL("/"), nil).Put(bounded(t), o, body)
	wantPermanent(t, err, "not found right after it was stored")
	if taken.Load() != 1 {
		t.Errorf("%d files were taken, want 1", taken.Load())
	}
	wantNoTemporary(t, dir)
}

// TestMover: an ingest job on the server that moves files away as soon as they have their name would get the same object again
// with each attempt. The destination is parked, and the error names the cause.
func TestMover(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(sftp.FileCmder) sftp.FileCmder{
		"link":   func(c sftp.FileCmder) sftp.FileCmder { return c },
		"rename": func(c sftp.FileCmder) sftp.FileCmder { return replacing{c} },
	} {
		t.Run(name, func(t *testing.T) {
			var taken atomic.Int64
			dir := t.TempDir()
			s, err := sftpd.Start(dir, t.TempDir(), &sftpd.Options{Handlers: func(h sftp.Handlers) sftp.Handlers {
				h.FileCmd = mover{wrap(h.FileCmd), dir, &taken}
				return h
			}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			h := open(t, s.URL("/"), nil)
			for range 2 {
				o, body := objectOf("class=a/o", 1000)
				_, err := h.Put(bounded(t), o, body)
				wantPermanent(t, err, "not found right after it was stored", "takes files away")
				if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ship.ErrConflict) {
					t.Errorf("error %v means something else to callers", err)
				}
			}
			if n := taken.Load(); n != 2 {
				t.Errorf("the job got %d files for 2 attempts", n)
			}
			wantNoTemporary(t, dir)
		})
	}
}

// forbidding refuses operations.
type forbidding struct {
	sftp.FileCmder
	methods string
	with    error
}

func (c forbidding) Filecmd(r *sftp.Request) error {
	if strings.Contains(c.methods, r.Method) {
		return c.with
	}
	return c.FileCmder.Filecmd(r)
}

// TestNoRename: if the server allows neither links nor renames, nothing is published, and the error names the missing operation.
func TestNoRename(t *testing.T) {
	t.Parallel()
	s, dir := inProcess(t, &sftpd.Options{Handlers: func(h sftp.Handlers) sftp.Handlers {
		h.FileCmd = forbidding{h.FileCmd, "Link Rename PosixRename", sftp.ErrSSHFxOpUnsupported}
		return h
	}})
	o, body := objectOf("class=a/o", 1000)
	_, err := open(t, s.URL("/"), nil).Put(bounded(t), o, body)
	wantPermanent(t, err, "neither make hard links nor rename", "-P", o.Key)
	wantNoTemporary(t, dir)
	real := testserver.StartSSHD(t, "ForceCommand internal-sftp -P hardlink,rename")
	_, err = open(t, real.URL("d"), nil).Put(bounded(t), o, body)
	wantPermanent(t, err, "neither make hard links nor rename")
	wantNoTemporary(t, filepath.Join(real.Dir, "d"))
}

// Types of answers, and flags of attributes.
const (
	nameAnswer, attrsAnswer = 104, 105
	sizes, permissions      = 1, 4
	line                    = 1 << 16 // of a name, as ls prints it
)

// without leaves something out of the attributes in answers of some types, as the protocol allows.
type without struct {
	io.ReadWriteCloser
	flag  uint32
	types string
}

func (c without) Write(p []byte) (int, error) {
	if len(p) < 14 || strings.IndexByte(c.types, p[4]) < 0 {
		return c.ReadWriteCloser.Write(p)
	}
	q, rest := slices.Clone(p[:9]), p[9:]
	keep := func(n uint32) { q, rest = append(q, rest[:n]...), rest[n:] }
	n := uint32(1)
	if p[4] == nameAnswer {
		n = binary.BigEndian.Uint32(rest)
		keep(4)
	}
	for range n {
		if p[4] == nameAnswer {
			keep(4 + binary.BigEndian.Uint32(rest)) // the name
			n := 4 + binary.BigEndian.Uint32(rest)
			if c.flag&line == 0 {
				keep(n)
			} else {
				q, rest = append(q, 0, 0, 0, 0), rest[n:]
			}
		}
		flags := binary.BigEndian.Uint32(rest)
		q, rest = binary.BigEndian.AppendUint32(q, flags&^c.flag), rest[4:]
		for i, size := range []uint32{8, 8, 4, 8} {
			switch flag := uint32(1) << i; {
			case flags&flag == 0:
			case c.flag&flag != 0:
				rest = rest[size:]
			default:
				keep(size)
			}
		}
	}
	q = append(q, rest...)
	binary.BigEndian.PutUint32(q, uint32(len(q)-4))
	_, err := c.ReadWriteCloser.Write(q)
	return len(p), err
}

// TestAttributesLeftOut: a server need not state the kind of a file, nor its size in a listing. The driver does not guess what
// the server never states.
func TestAttributesLeftOut(t *testing.T) {
	t.Parallel()
	names, attrs := string([]byte{nameAnswer}), string([]byte{attrsAnswer})
	for what, c := range map[string]struct {
		flag      uint32
		types     string
		put, list bool
	}{
		"permissions":               {permissions, attrs, true, true},
		"permissions in a listing":  {permissions, names, true, true},
		"permissions everywhere":    {permissions, names + attrs, true, true}, // the line says it
		"permissions, and the line": {permissions | line, names + attrs, true, false},
		"size in a listing":         {sizes, names, true, true},
		"size except in a listing":  {sizes, attrs, false, true},
		"size everywhere":           {sizes, names + attrs, false, false},
	} {
		s, dir := inProcess(t, &sftpd.Options{Channel: func(ch io.ReadWriteCloser) io.ReadWriteCloser { return without{ch, c.flag, c.types} }})
		h := open(t, s.URL("/d"), nil)
		if err := h.Check(bounded(t)); err != nil && c.put {
			t.Errorf("%s: %v", what, err)
		}
		o, body := objectOf("class=a/o", 1000)
		for range 2 {
			if _, err := h.Put(bounded(t), o, body); (err == nil) != c.put {
				t.Fatalf("%s: Put: %v", what, err)
			}
		}
		file := filepath.Join(dir, "d", o.Key)
		if c.put {
			wantFile(t, file, o)
		} else if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, make([]byte, o.Size), 0o600)); err != nil {
			t.Fatal(err)
		}
		var listed []ship.Entry
		var err error
		for e, lerr := range h.List(bounded(t), "") {
			if err = lerr; err != nil {
				break
			}
			listed = append(listed, e)
		}
		switch want := []ship.Entry{{Key: o.Key, Size: o.Size}}; {
		case c.list && (err != nil || !slices.Equal(listed, want)):
			t.Errorf("%s: List yields %v, %v", what, listed, err)
		case !c.list && (!ship.IsPermanent(err) || len(listed) > 0):
			t.Errorf("%s: List yields %v, %v, want a permanent error", what, listed, err)
		}
	}
}

// endless lists a directory that does not end.
type endless struct{ sftp.FileLister }

type endlessList struct{ fi os.FileInfo }

func (l endlessList) ListAt(dst []os.FileInfo, _ int64) (int, error) {
	for i := range dst {
		dst[i] = l.fi
	}
	return len(dst), nil
}

func (l endless) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	at, err := l.FileLister.Filelist(r)
	if r.Method == "List" && err == nil {
		one := make([]os.FileInfo, 1)
		if n, _ := at.ListAt(one, 0); n == 1 {
			return endlessList{one[0]}, nil
		}
	}
	return at, err
}

// TestEndlessList: a list without end is an error, and takes bounded memory.
func TestEndlessList(t *testing.T) {
	t.Parallel()
	s, dir := inProcess(t, &sftpd.Options{Handlers: func(h sftp.Handlers) sftp.Handlers {
		h.FileList = endless{h.FileList}
		return h
	}})
	if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := open(t, s.URL("/"), nil)
	h.maxEntries = 10_000
	n := 0
	for _, err := range h.List(bounded(t), "a") {
		if n++; !errors.Is(err, errEndless) {
			t.Fatalf("List yields %v, want errEndless", err)
		}
	}
	if n != 1 {
		t.Errorf("List yields %d times", n)
	}
}

// TestLinkedDirectories: directories behind symbolic links are listed, and one that leads back up is not followed endlessly.
func TestLinkedDirectories(t *testing.T) {
	t.Parallel()
	s := testserver.StartSSHD(t, "ForceCommand internal-sftp")
	h := open(t, s.URL("d"), nil)
	dir, cold := filepath.Join(s.Dir, "d"), t.TempDir()
	var want []string
	for _, key := range []string{"class=a/dt=1/o", "class=a/dt=2/o"} {
		o, body := objectOf(key, 10)
		if _, err := h.Put(bounded(t), o, body); err != nil {
			t.Fatal(err)
		}
		want = append(want, key)
	}
	if err := errors.Join(
		os.Rename(filepath.Join(dir, "class=a/dt=1"), filepath.Join(cold, "dt=1")),
		os.Symlink(filepath.Join(cold, "dt=1"), filepath.Join(dir, "class=a/dt=1")),
		os.Symlink(dir, filepath.Join(dir, "class=a/dt=2/up")),
		os.Symlink(".", filepath.Join(cold, "dt=1/here")),
	); err != nil {
		t.Fatal(err)
	}
	var got []string
	for e, err := range h.List(bounded(t), "class=a/") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Key)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("List yields %q, want %q", got, want)
	}
}

// TestLeftovers: an upload whose connection broke leaves a temporary file; the next upload removes it, whatever its age, but no
// file of others.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	s := testserver.StartSSHD(t, "ForceCommand internal-sftp")
	p, url := startProxy(t, s.URL("d"))
	h := open(t, url, nil)
	dir := filepath.Join(s.Dir, "d")
	foreign := filepath.Join(dir, tmpDir, testSpool, "another-process"+tmpSuffix)
	if err := errors.Join(os.MkdirAll(filepath.Dir(foreign), 0o755), os.WriteFile(foreign, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	left := func() int {
		files, err := filepath.Glob(filepath.Join(dir, tmpDir, testSpool, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	for i := range 3 {
		o, body := objectOf(fmt.Sprint("a", i), 1<<20)
		if _, err := h.Put(bounded(t), o, hooked(body, p.Reset)); err == nil {
			t.Error("Put succeeds over a connection that was reset")
		}
	}
	if left() < 2 {
		t.Fatal("nothing was left over: the test tests nothing")
	}
	o, body := objectOf("b", 1000)
	if _, err := h.Put(bounded(t), o, body); err != nil {
		t.Fatal(err)
	}
	if n := left(); n != 1 {
		t.Errorf("%d files are left, want the foreign one", n)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Error(err)
	}
}
