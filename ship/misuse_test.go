package ship_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
)

// noKey is a signer whose methods panic.
type noKey struct{ key *ed25519.PrivateKey }

func (s *noKey) Public() crypto.PublicKey { return s.key.Public() }
func (s *noKey) Sign(r io.Reader, b []byte, o crypto.SignerOpts) ([]byte, error) {
	return s.key.Sign(r, b, o)
}

// TestRefusedAtTheStart: New reports all mistakes at once, and none shows only later as a panic or a failing manifest.
func TestRefusedAtTheStart(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	below := func(dir string) ship.Destination {
		d, err := fileship.New(filepath.Join(dir, "copies"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, "copies"), 0o700); err != nil {
			t.Fatal(err)
		}
		return d
	}
	var memory *shiptest.MemoryDestination
	var signer *noKey
	for name, c := range map[string]struct {
		d      ship.Destination
		signer crypto.Signer
		want   string
	}{
		"nil":                   {nil, nil, `"a" is nil (<nil>)`},
		"typed nil":             {memory, nil, `"a" is nil (*shiptest.MemoryDestination)`},
		"inside":                {below(dir), nil, "is inside the spool's directory"},
		"inside, by a link":     {below(link), nil, "is inside the spool's directory"},
		"no location":           {lost{shiptest.Memory()}, nil, "Destination.Location panicked"},
		"typed nil signer":      {shiptest.Memory(), signer, "the Signer (*ship_test.noKey) has no key"},
		"signer without a key":  {shiptest.Memory(), &noKey{}, "the Signer (*ship_test.noKey) has no key"},
		"nil key":               {shiptest.Memory(), ed25519.PrivateKey(nil), "the Signer (ed25519.PrivateKey) has no key"},
		"empty key":             {shiptest.Memory(), ed25519.PrivateKey{}, "the Signer (ed25519.PrivateKey) has no key"},
		"key without a content": {shiptest.Memory(), make(ed25519.PrivateKey, ed25519.PrivateKeySize), "its two halves do not belong together"},
	} {
		t.Run(name, func(t *testing.T) {
			b := openBench(t, filepath.Join(dir, strings.ReplaceAll(name, " ", "-")), destinations{"a": nil}, "here")
			if strings.HasPrefix(name, "inside") {
				b.close()
				b = openBench(t, dir, destinations{"a": nil}, "here")
			}
			_, err := ship.New(b.sp, &ship.Options{Destinations: destinations{"a": c.d}, Signer: c.signer, Workers: 1000})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "Workers is 1000") {
				t.Errorf("%v", err)
			}
			b.close()
		})
	}
	if _, err := ship.New(nil, nil); err == nil {
		t.Error("no spool was refused")
	}
}

// lost is a destination whose Location panics.
type lost struct{ ship.Destination }

func (lost) Location() string { panic("where am I?") }

// TestNilContext: a nil context is refused at the call.
func TestNilContext(t *testing.T) {
	d := destinations{"a": shiptest.Memory()}
	b := newBench(t, d)
	b.ship(d)
	var none context.Context
	for call, err := range map[string]error{
		"Run":      b.s.Run(none),
		"Flush":    b.s.Flush(none),
		"Finalize": b.s.Finalize(none, "a"),
		"Claim":    b.s.Claim(none),
		"Publish":  b.s.Publish(none, "_report/x", "text/plain", nil),
		"Verify":   func() error { _, err := b.s.Verify(none); return err }(),
	} {
		if !errors.Is(err, wait.ErrNilContext) {
			t.Errorf("%s: %v", call, err)
		}
	}
}

// wild is a destination that panics at the first call of each method, and in the first body that is read.
type wild struct {
	*shiptest.MemoryDestination
	put, stat, open, body, check atomic.Int64
}

func (w *wild) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	first(&w.put, "Put")
	return w.MemoryDestination.Put(ctx, o, body)
}

func (w *wild) Stat(ctx context.Context, key string) (ship.Receipt, error) {
	first(&w.stat, "Stat")
	return w.MemoryDestination.Stat(ctx, key)
}

func (w *wild) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	first(&w.open, "Open")
	r, err := w.MemoryDestination.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	return &wildBody{r, &w.body}, nil
}

func (w *wild) Check(ctx context.Context) error {
	first(&w.check, "Check")
	return w.MemoryDestination.Check(ctx)
}

type wildBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (b *wildBody) Read(p []byte) (int, error) {
	first(b.n, "Read")
	return b.ReadCloser.Read(p)
}

func first(n *atomic.Int64, what string) {
	if n.Add(1) == 1 {
		panic("the first " + what)
	}
}

// wildSigner panics at the first signature.
type wildSigner struct {
	ed25519.PrivateKey
	n atomic.Int64
}

func (s *wildSigner) Sign(r io.Reader, b []byte, o crypto.SignerOpts) ([]byte, error) {
	first(&s.n, "Sign")
	return s.PrivateKey.Sign(r, b, o)
}

// TestPanics: each panic costs an attempt, is counted and logged with its stack, and everything is delivered.
func TestPanics(t *testing.T) {
	w := &wild{MemoryDestination: shiptest.Memory()}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := destinations{"a": w}
	b := newBench(t, d)
	b.segments(3, 10)
	b.freeze()
	signer := &wildSigner{PrivateKey: key}
	backoff := atomic.Int64{}
	b.ship(d, func(o *ship.Options) {
		o.Signer, o.ProbeInterval = signer, time.Millisecond
		o.Backoff = func(int, float64) time.Duration { first(&backoff, "Backoff"); return time.Millisecond }
	})
	b.flush()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := b.s.Verify(ctx); err != nil {
		t.Errorf("Verify: %v", err)
	}
	b.until("the destination was checked", func() bool { return w.check.Load() > 1 })
	st := b.s.Stats()["a"]
	// Put, Check, Sign and Backoff at least; Verify may not need the others.
	if st.Panics < 4 || st.Pending.Records != 0 {
		t.Errorf("%d panics counted, %+v pending", st.Panics, st.Pending)
	}
	for _, want := range []string{"the first Put", "the first Check", "the first Sign", "the first Backoff", "misuse_test.go"} {
		if !strings.Contains(b.log.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

// TestGuard: a Guarded handles each way of misbehaving.
func TestGuard(t *testing.T) {
	w := &wild{MemoryDestination: shiptest.Memory()}
	var panics []string
	g := ship.Guard(w, func(err error, stack []byte) {
		panics = append(panics, err.Error())
		if !strings.Contains(string(stack), "misuse_test.go") {
			t.Errorf("%v has no stack: %s", err, stack)
		}
	})
	body := io.NewSectionReader(strings.NewReader("x"), 0, 1)
	o := ship.BytesObject("class=x/k", "s", []byte("x"))
	for range 2 {
		_, put := g.Put(t.Context(), o, body)
		_, stat := g.Stat(t.Context(), o.Key)
		check := g.Check(t.Context())
		t.Log(put, stat, check)
	}
	_, _ = g.Open(t.Context(), o.Key)
	for i := range 2 {
		r, err := g.Open(t.Context(), o.Key)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); (err == nil) != (i == 1) {
			t.Errorf("read %q, %v", b, err)
		}
		_ = r.Close()
	}
	if len(panics) != 5 {
		t.Errorf("%d panics were told of: %q", len(panics), panics)
	}
	defer func() {
		if p := recover(); p != "the caller's own" {
			t.Errorf("a panic in the caller's loop: %v", p)
		}
	}()
	for range g.List(t.Context(), "") {
		panic("the caller's own")
	}
}

// deaf is a destination whose Put ignores its context.
type deaf struct {
	ship.Destination
	began, release chan struct{}
}

func (d *deaf) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	select {
	case d.began <- struct{}{}:
	default:
	}
	<-d.release
	return d.Destination.Put(ctx, o, body)
}

// TestDeafPut: Run returns soon after its context has ended, Flush says what is pending, and the spool can be closed.
func TestDeafPut(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := &deaf{shiptest.Memory(), make(chan struct{}, 1), make(chan struct{})}
		dd := destinations{"a": d}
		b := openBench(t, dir, dd, "here")
		b.ship(dd)
		b.segments(1, 10)
		<-d.began
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, incomplete := errors.AsType[*ship.IncompleteError](b.s.Flush(ctx))
		began := time.Now()
		err := b.stop()
		if took := time.Since(began); err != nil || !incomplete || took > 2*foreign.Grace {
			t.Errorf("Run returned %v after %v; Flush named what is pending: %v", err, took, incomplete)
		}
		if err := b.sp.Close(); err != nil {
			t.Error(err)
		}
		close(d.release)
	})
}

// TestSpoolClosedUnderIt: Run and Flush return and say why.
func TestSpoolClosedUnderIt(t *testing.T) {
	d := destinations{"a": shiptest.Memory()}
	b := newBench(t, d)
	b.segments(1, 10)
	s, err := ship.New(b.sp, &ship.Options{Destinations: d})
	if err != nil {
		t.Fatal(err)
	}
	b.close()
	if err := s.Run(t.Context()); !errors.Is(err, spool.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
	if err := s.Flush(t.Context()); !errors.Is(err, ship.ErrIncomplete) {
		t.Errorf("Flush: %v", err)
	}
	if err := s.Run(t.Context()); err == nil || !strings.Contains(fmt.Sprint(err), "called before") {
		t.Errorf("Run after Run: %v", err)
	}
}
