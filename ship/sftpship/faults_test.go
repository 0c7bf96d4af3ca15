package sftpship

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"github.com/penstock-go/penstock/internal/test/sftpd"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
)

// bounded is a context that ends long after every limit of the driver: an operation that reaches it hung.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// at offset of a body, hook runs once.
type hookReader struct {
	io.ReaderAt
	offset int64
	once   sync.Once
	hook   func()
}

func (h *hookReader) ReadAt(p []byte, off int64) (int, error) {
	if off <= h.offset && h.offset < off+int64(len(p)) {
		h.once.Do(h.hook)
	}
	return h.ReaderAt.ReadAt(p, off)
}

// hooked is a body in whose middle hook runs.
func hooked(body *io.SectionReader, hook func()) *io.SectionReader {
	return io.NewSectionReader(&hookReader{ReaderAt: body, offset: body.Size() / 2, hook: hook}, 0, body.Size())
}

// wantTransient checks that err is one that the shipper will retry.
func wantTransient(t *testing.T, err error) {
	t.Helper()
	if err == nil || ship.IsPermanent(err) || errors.Is(err, ship.ErrConflict) {
		t.Errorf("error %v, want a transient one", err)
	}
}

// wantPermanent checks that err parks the destination and says the given things.
func wantPermanent(t *testing.T, err error, says ...string) {
	t.Helper()
	if !ship.IsPermanent(err) {
		t.Errorf("error %v, want a Permanent one", err)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %v does not say %q", err, s)
		}
	}
}

// closingChannel passes a number of status packets, then closes the channel: the server that acknowledges and goes.
type closingChannel struct {
	io.ReadWriteCloser
	left int
}

func (c *closingChannel) Write(p []byte) (int, error) {
	if len(p) > 4 && p[4] == 101 { // SSH_FXP_STATUS
		if c.left == 0 {
			c.Close()
			return len(p), nil
		}
		c.left--
	}
	return c.ReadWriteCloser.Write(p)
}

// TestAcknowledgeAndClose: if a server acknowledges some packets and then closes the channel, in any phase of an upload,
// the upload never counts as complete. (pkg/sftp's File.ReadFrom would report about one such upload in 50 as complete.)
func TestAcknowledgeAndClose(t *testing.T) {
	t.Parallel()
	const packets = 6
	uploads := 120
	if n, err := strconv.Atoi(os.Getenv("PENSTOCK_UPLOADS")); err == nil {
		uploads = n
	}
	var faulty atomic.Bool
	s, dir := inProcess(t, &sftpd.Options{Channel: func(ch io.ReadWriteCloser) io.ReadWriteCloser {
		if faulty.Load() {
			return &closingChannel{ch, rand.IntN(packets + 12)}
		}
		return ch
	}})
	var failed, survived atomic.Int64
	var next atomic.Int64
	var workers sync.WaitGroup
	faulty.Store(true)
	objects := make([]ship.Object, uploads)
	bodies := make([]*io.SectionReader, uploads)
	for range 4 {
		workers.Go(func() {
			h := open(t, s.URL("/"), nil)
			for {
				i := int(next.Add(1)) - 1
				if i >= uploads {
					return
				}
				key := "a/" + string(rune('a'+i%26)) + "/" + time.Duration(i).String()
				objects[i], bodies[i] = objectOf(key, packets*packetSize-1)
				r, err := h.Put(bounded(t), objects[i], bodies[i])
				if err != nil {
					failed.Add(1)
					wantTransient(t, err)
					continue
				}
				survived.Add(1)
				if err := objects[i].Check(r); err != nil {
					t.Error(err)
				}
				wantFile(t, filepath.Join(dir, key), objects[i])
			}
		})
	}
	workers.Wait()
	if failed.Load() < int64(uploads)/2 || survived.Load() == 0 {
		t.Errorf("of %d uploads %d met the fault: the test tests little", uploads, failed.Load())
	}
	t.Logf("%d uploads failed, %d were whole", failed.Load(), survived.Load())

	faulty.Store(false)
	h := open(t, s.URL("/"), nil)
	for i, o := range objects {
		if _, err := os.Stat(filepath.Join(dir, o.Key)); err == nil {
			wantFile(t, filepath.Join(dir, o.Key), o) // never a part under a key
		}
		if i%10 == 0 {
			if _, err := h.Put(bounded(t), o, bodies[i]); err != nil {
				t.Errorf("retry: %v", err)
			}
			wantFile(t, filepath.Join(dir, o.Key), o)
		}
	}
}

// TestReset: a connection that is reset anywhere in an upload fails it; the next attempt succeeds.
func TestReset(t *testing.T) {
	t.Parallel()
	s := testserver.StartSSHD(t, "ForceCommand internal-sftp")
	p, url := startProxy(t, s.URL("d"))
	h := open(t, url, nil)
	o, body := objectOf("a/b", 1<<20)
	for _, after := range []int64{100, 3000, 5000, 300_000, 1 << 20, 1<<20 + 10_000} {
		p.CutAfter(after)
		if _, err := h.Put(bounded(t), o, body); err != nil {
			wantTransient(t, err)
		} else if after < 1<<20 {
			t.Errorf("Put succeeds although the connection is reset after %d bytes", after)
		}
		p.Reset()
	}
	p.CutAfter(-1)
	if _, err := h.Put(bounded(t), o, body); err != nil {
		t.Error(err)
	}
	wantFile(t, filepath.Join(s.Dir, "d", o.Key), o)
}

// TestSilence: if a peer stops in the middle of an operation, the watchdog ends the connection, not the caller's context.
// Once the peer is back, everything continues.
func TestSilence(t *testing.T) {
	t.Parallel()
	o, body := objectOf("a/b", 1<<20)
	sshd := func(t *testing.T) (url, dir string, stop, resume func()) {
		s := testserver.StartSSHD(t, "ForceCommand internal-sftp")
		return s.URL("d"), filepath.Join(s.Dir, "d"), s.Pause, s.Resume
	}
	for name, start := range map[string]func(t *testing.T) (url, dir string, stop, resume func()){
		"stopped": sshd,
		"black hole": func(t *testing.T) (string, string, func(), func()) {
			url, dir, _, _ := sshd(t)
			p, url := startProxy(t, url)
			return url, dir, p.Dig, p.Fill
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, dir, stop, resume := start(t)
			t.Cleanup(resume)
			h, patient := open(t, url, &Options{StallTimeout: time.Second}), open(t, url, &Options{StallTimeout: 50 * time.Second})
			wantSilent := func(err error) {
				t.Helper()
				wantTransient(t, err)
				if !errors.Is(err, errSilent) && !errors.Is(err, errLate) {
					t.Errorf("error %v, want the watchdog's", err)
				}
			}
			// On a busy machine the short watchdog may end an operation before its peer has been stopped: once more.
			var stopped atomic.Bool
			var err error
			for !stopped.Load() {
				_, err = h.Put(bounded(t), o, hooked(body, func() { stop(); stopped.Store(true) }))
			}
			wantSilent(err)
			_, err = h.Stat(bounded(t), "x") // in the handshake
			wantSilent(err)
			resume()
			if _, err := patient.Put(bounded(t), o, body); err != nil {
				t.Errorf("after the silence: %v", err)
			}
			wantFile(t, filepath.Join(dir, o.Key), o)

			r, err := h.Open(bounded(t), o.Key)
			for errors.Is(err, errSilent) || errors.Is(err, errLate) {
				r, err = h.Open(bounded(t), o.Key)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			stop()
			_, err = io.Copy(io.Discard, r)
			wantSilent(err)
		})
	}
}

// TestCancelWhileSilent: the end of the context counts more than the watchdog.
func TestCancelWhileSilent(t *testing.T) {
	t.Parallel()
	s := testserver.StartSSHD(t, "ForceCommand internal-sftp")
	h := open(t, s.URL("d"), &Options{StallTimeout: time.Hour})
	o, body := objectOf("a/b", 1<<20)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := h.Put(ctx, o, hooked(body, func() { s.Pause(); cancel() }))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	s.Resume()
}

// TestMute: a server process that hangs behind a live SSH server (a dead mount) does not hold an operation indefinitely.
func TestMute(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	s, _ := inProcess(t, &sftpd.Options{Handlers: func(h sftp.Handlers) sftp.Handlers {
		h.FileList = hangingLister{h.FileList, hang}
		return h
	}})
	defer close(hang)
	h := open(t, s.URL("/"), &Options{StallTimeout: time.Second, AnswerTimeout: 3 * time.Second})
	ctx := bounded(t)
	_, err := h.Stat(ctx, "a")
	for errors.Is(err, errSilent) || errors.Is(err, errLate) { // a busy machine: once more
		_, err = h.Stat(ctx, "a")
	}
	wantTransient(t, err)
	if !errors.Is(err, errMute) {
		t.Errorf("error %v, want errMute: the keepalives were answered", err)
	}
}

type hangingLister struct {
	sftp.FileLister
	hang chan struct{}
}

func (l hangingLister) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	<-l.hang
	return l.FileLister.Filelist(r)
}

// TestRestart: a connection that died while it was idle is replaced without an error.
func TestRestart(t *testing.T) {
	t.Parallel()
	s, dir := inProcess(t, nil)
	p, url := startProxy(t, s.URL("/"))
	h := open(t, url, nil)
	for i := range 5 {
		o, body := objectOf(string(rune('a'+i)), 1000)
		if _, err := h.Put(bounded(t), o, body); err != nil {
			t.Fatal(err)
		}
		wantFile(t, filepath.Join(dir, o.Key), o)
		if i%2 == 0 {
			p.Reset()
		} else {
			s.Stop()
			if _, err := h.Stat(bounded(t), o.Key); err == nil {
				t.Error("Stat succeeds without a server")
			} else {
				wantTransient(t, err)
			}
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestWorkers: there are no more connections than allowed, and no operation fails because it has to wait.
func TestWorkers(t *testing.T) {
	t.Parallel()
	s, dir := inProcess(t, nil)
	p, url := startProxy(t, s.URL("/"))
	h := open(t, url+"&workers=3", nil)
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			o, body := objectOf("k/"+string(rune('a'+i)), 50_000)
			if _, err := h.Put(bounded(t), o, body); err != nil {
				t.Error(err)
			}
			wantFile(t, filepath.Join(dir, o.Key), o)
		})
	}
	all.Wait()
	if live, most := p.Count(); most > 3 || live < 1 {
		t.Errorf("%d connections at a time, %d kept; want at most 3, at least 1", most, live)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if err := h.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := h.Stat(bounded(t), "a"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Stat after Close: %v, want fs.ErrClosed", err)
	}
}
