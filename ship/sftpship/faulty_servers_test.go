package sftpship

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"github.com/penstock-go/penstock/internal/test/sftpd"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// damagedFile stores something else than it was sent, or less, or nothing.
type damagedFile struct {
	io.WriterAt
	damage func(p []byte, off int64) ([]byte, error)
}

func (d damagedFile) WriteAt(p []byte, off int64) (int, error) {
	b, err := d.damage(bytes.Clone(p), off)
	if err != nil {
		return 0, err
	}
	if _, err := d.WriterAt.WriteAt(b, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (d damagedFile) Close() error { return d.WriterAt.(io.Closer).Close() }

type damagingWriter struct {
	sftp.FileWriter
	damage func(p []byte, off int64) ([]byte, error)
}

func (d damagingWriter) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	w, err := d.FileWriter.Filewrite(r)
	return damagedFile{w, d.damage}, err
}

// TestDamage: what a server stores wrongly, or not at all, is never published.
func TestDamage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		damage func(p []byte, off int64) ([]byte, error)
		want   error
		says   string
	}{
		{"bit flip", func(p []byte, off int64) ([]byte, error) {
			if off == 3*packetSize {
				p[17] ^= 4
			}
			return p, nil
		}, ship.ErrVerify, "SHA-256"},
		{"lost packet", func(p []byte, off int64) ([]byte, error) {
			if off == 3*packetSize {
				return nil, nil
			}
			return p, nil
		}, ship.ErrVerify, "SHA-256"},
		{"lost tail", func(p []byte, off int64) ([]byte, error) {
			if off == 9*packetSize {
				return nil, nil
			}
			return p, nil
		}, ship.ErrVerify, "bytes arrived"},
		{"disk full", func(p []byte, off int64) ([]byte, error) {
			if off >= 5*packetSize {
				return nil, syscall.ENOSPC
			}
			return p, nil
		}, nil, "a full disk or quota there?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var healed atomic.Bool
			s, dir := inProcess(t, &sftpd.Options{Handlers: func(h sftp.Handlers) sftp.Handlers {
				if !healed.Load() {
					h.FilePut = damagingWriter{h.FilePut, c.damage}
				}
				return h
			}})
			h := open(t, s.URL("/"), nil)
			o, body := objectOf("a/b", 9*packetSize+100)
			_, err := h.Put(bounded(t), o, body)
			wantTransient(t, err)
			if err != nil && (c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("error %v, want %v and %q", err, c.want, c.says)
			}
			if _, err := os.Stat(filepath.Join(dir, o.Key)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the key is there: %v", err)
			}
			wantNoTemporary(t, dir)
			healed.Store(true)
			if _, err := open(t, s.URL("/"), nil).Put(bounded(t), o, body); err != nil {
				t.Error(err)
			}
			wantFile(t, filepath.Join(dir, o.Key), o)
		})
	}
}

// replacing is a server without hard links whose rename replaces, as pkg/sftp's own and several others do.
type replacing struct{ sftp.FileCmder }

func (c replacing) Filecmd(r *sftp.Request) error {
	switch r.Method {
	case "Link":
		return sftp.ErrSSHFxOpUnsupported
	case "Rename":
		return c.FileCmder.(sftp.PosixRenameFileCmder).PosixRename(r)
	}
	return c.FileCmder.Filecmd(r)
}

// TestReplacingRename: on such a server too, a key is published only once.
func TestReplacingRename(t *testing.T) {
	t.Parallel()
	s, dir := inProcess(t, &sftpd.Options{Handlers: func(h sftp.Handlers) sftp.Handlers {
		h.FileCmd = replacing{h.FileCmd}
		return h
	}})
	shiptest.Run(t, func(t *testing.T) ship.Destination { return open(t, s.URL("/"), nil) })
	wantNoTemporary(t, dir)

	// The claim of a dead owner is eventually removed, that of a live one is not.
	o, body := objectOf("claimed", 100)
	claim := filepath.Join(dir, tmpDir, "claims", fmt.Sprintf("%x", sha256.Sum256([]byte(o.Key)))+tmpSuffix)
	h := open(t, s.URL("/"), nil)
	if err := os.WriteFile(claim, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := h.Put(bounded(t), o, body)
		wantTransient(t, err)
	}
	old := time.Now().Add(-2 * staleAfter)
	if err := os.Chtimes(claim, old, old); err != nil {
		t.Fatal(err)
	}
	_, err := h.Put(bounded(t), o, body)
	wantTransient(t, err)
	if _, err := h.Put(bounded(t), o, body); err != nil {
		t.Error(err)
	}
	wantFile(t, filepath.Join(dir, o.Key), o)
	wantNoTemporary(t, dir)
}

// fullDisk reports little free space.
type fullDisk struct{ sftp.FileCmder }

func (fullDisk) StatVFS(*sftp.Request) (*sftp.StatVFS, error) {
	return &sftp.StatVFS{Frsize: 4096, Blocks: 1 << 20, Bavail: (65 << 20) / 4096}, nil
}

// TestFullDisk: an upload that would take the last space is refused before its first byte, and tried again later.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s, dir := inProcess(t, &sftpd.Options{Handlers: func(h sftp.Handlers) sftp.Handlers {
		h.FileCmd = fullDisk{h.FileCmd}
		return h
	}})
	h := open(t, s.URL("/"), nil)
	o, body := objectOf("large", 2<<20)
	_, err := h.Put(bounded(t), o, body)
	wantTransient(t, err)
	if !errors.Is(err, errNoSpace) {
		t.Errorf("error %v, want errNoSpace", err)
	}
	o, body = objectOf("small", 1000)
	if _, err := h.Put(bounded(t), o, body); err != nil {
		t.Errorf("what fits: %v", err)
	}
	wantFile(t, filepath.Join(dir, o.Key), o)
}

// shortReader answers with fewer bytes than requested, which a server may do, or ends too early, which it may not.
type shortReader struct {
	sftp.FileReader
	end int64
}

type shortFile struct {
	io.ReaderAt
	end int64
}

func (s shortReader) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	f, err := s.FileReader.Fileread(r)
	return shortFile{f, s.end}, err
}

func (s shortFile) ReadAt(p []byte, off int64) (int, error) {
	if s.end > 0 && off >= s.end {
		return 0, io.EOF
	}
	return s.ReaderAt.ReadAt(p[:1+rand.IntN(len(p))], off)
}

func (s shortFile) Close() error { return s.ReaderAt.(io.Closer).Close() }

// TestShortReads: short answers are no end of file, neither in reading back nor in Open; a real early end is an error.
func TestShortReads(t *testing.T) {
	t.Parallel()
	var end atomic.Int64
	s, dir := inProcess(t, &sftpd.Options{Handlers: func(h sftp.Handlers) sftp.Handlers {
		h.FileGet = shortReader{h.FileGet, end.Load()}
		return h
	}})
	o, body := objectOf("a", 3<<20)
	h := open(t, s.URL("/"), nil)
	if _, err := h.Put(bounded(t), o, body); err != nil {
		t.Fatal(err)
	}
	wantFile(t, filepath.Join(dir, o.Key), o)
	read := func(h *Destination) (ship.Object, error) {
		r, err := h.Open(bounded(t), o.Key)
		if err != nil {
			t.Fatal(err)
		}
		d := ship.NewDigest()
		_, err = io.Copy(d, r)
		got := ship.Object{Key: o.Key, Spool: o.Spool}
		d.Sum(&got)
		return got, errors.Join(err, r.Close())
	}
	if got, err := read(h); err != nil || got != o {
		t.Errorf("Open gives %d bytes, %v, want the %d stored", got.Size, err, o.Size)
	}
	end.Store(1 << 20)
	if _, err := read(open(t, s.URL("/"), nil)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that ends too early: %v, want io.ErrUnexpectedEOF", err)
	}
	o.Key = "b"
	if _, err := open(t, s.URL("/"), nil).Put(bounded(t), o, body); err == nil {
		t.Error("Put succeeds although the upload cannot be read back")
	}
}

// TestCleanUpJob: a job on the server removes empty directories; no Put fails because of that.
func TestCleanUpJob(t *testing.T) {
	t.Parallel()
	for name, handlers := range map[string]func(sftp.Handlers) sftp.Handlers{
		"link":   nil,
		"rename": func(h sftp.Handlers) sftp.Handlers { h.FileCmd = replacing{h.FileCmd}; return h },
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := inProcess(t, &sftpd.Options{Handlers: handlers})
			h := open(t, s.URL("/"), nil)
			for range 3 {
				o, body := objectOf("class=a/dt=b/o", 100)
				if _, err := h.Put(bounded(t), o, body); err != nil {
					t.Fatal(err)
				}
				wantFile(t, filepath.Join(dir, o.Key), o)
				if err := errors.Join(os.RemoveAll(filepath.Join(dir, "class=a")), os.RemoveAll(filepath.Join(dir, tmpDir))); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestSweep: temporary files of earlier attempts are removed once they are old by the server's clock; other files
// stay.
func TestSweep(t *testing.T) {
	t.Parallel()
	s, dir := inProcess(t, nil)
	ours, others := filepath.Join(dir, tmpDir, testSpool), filepath.Join(dir, tmpDir, "other")
	old := time.Now().Add(-2 * staleAfter)
	var keep []string
	for _, f := range []struct {
		name  string
		stale bool
		gone  bool
	}{
		{filepath.Join(ours, "A"+tmpSuffix), true, true},
		{filepath.Join(ours, "B"+tmpSuffix), true, true},
		{filepath.Join(ours, "fresh"+tmpSuffix), false, false},
		{filepath.Join(ours, "foreign"), true, false},
		{filepath.Join(others, "A"+tmpSuffix), true, false},
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(f.name), 0o755), os.WriteFile(f.name, []byte("x"), 0o644)); err != nil {
			t.Fatal(err)
		}
		if f.stale {
			if err := os.Chtimes(f.name, old, old); err != nil {
				t.Fatal(err)
			}
		}
		if !f.gone {
			keep = append(keep, f.name)
		}
	}
	o, body := objectOf("a", 100)
	if _, err := open(t, s.URL("/"), nil).Put(bounded(t), o, body); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, tmpDir, "*", "*"))
	if err != nil || len(left) != len(keep) {
		t.Errorf("left %q, %v, want %q", left, err, keep)
	}
	for _, name := range keep {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
}
