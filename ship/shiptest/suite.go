package shiptest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
)

// Run tests that a destination keeps the contract of ship.Destination and, if it implements them, of ship.Lister,
// ship.ListerAfter, ship.Checker and ship.Locator. It calls open for each of its tests; open may return the same destination
// every time, since each test works below a random folder of its own. The stored objects are not removed.
func Run(t *testing.T, open func(t *testing.T) ship.Destination) {
	for _, c := range []struct {
		name string
		test func(*suite)
	}{
		{"PutStatOpen", (*suite).putStatOpen},
		{"Absent", (*suite).absent},
		{"Empty", (*suite).empty},
		{"Large", (*suite).large},
		{"Names", (*suite).names},
		{"BadKeys", (*suite).badKeys},
		{"PutAgain", (*suite).putAgain},
		{"Conflict", (*suite).conflict},
		{"WrongChecksum", (*suite).wrongChecksum},
		{"BodyFails", (*suite).bodyFails},
		{"CancelledBefore", (*suite).cancelledBefore},
		{"CancelledDuring", (*suite).cancelledDuring},
		{"ConcurrentSame", (*suite).concurrentSame},
		{"ConcurrentDifferent", (*suite).concurrentDifferent},
		{"ConcurrentKeys", (*suite).concurrentKeys},
		{"List", (*suite).list},
		{"ListEnds", (*suite).listEnds},
		{"CheckAndLocation", (*suite).checkAndLocation},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A generous bound on the whole test, so that a driver that hangs fails by name.
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			c.test(&suite{T: t, ctx: ctx, d: open(t), dir: "suite-" + strings.ToLower(rand.Text())})
		})
	}
}

// spoolID is used as a spool's id in the names of temporary files.
const spoolID = "00000000000000000000shtest"

// suite is one test: a destination, and a folder in it that nobody else uses.
type suite struct {
	*testing.T
	ctx context.Context
	d   ship.Destination
	dir string
}

// key returns a key in this test's own folder.
func (s *suite) key(name string) string { return s.dir + "/" + name }

// random returns n random bytes, which do not compress and differ from all others.
func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func section(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

// object describes b as a stage record would.
func (s *suite) object(key string, b []byte) ship.Object {
	o := ship.BytesObject(key, spoolID, b)
	o.ContentType = "application/octet-stream"
	return o
}

func (s *suite) put(key string, b []byte) (ship.Receipt, error) {
	return s.d.Put(s.ctx, s.object(key, b), section(b))
}

// putNew is put by a caller that has never sent anything under this key.
func (s *suite) putNew(key string, b []byte) (ship.Receipt, error) {
	o := s.object(key, b)
	o.New = true
	return s.d.Put(s.ctx, o, section(b))
}

// mustPut stores b and checks the receipt.
func (s *suite) mustPut(key string, b []byte) ship.Receipt {
	s.Helper()
	r, err := s.put(key, b)
	if err != nil {
		s.Fatalf("Put(%s, %d bytes): %v", key, len(b), err)
	}
	s.wantReceipt("Put", key, b, r)
	return r
}

// wantReceipt checks what a Put's receipt promises.
func (s *suite) wantReceipt(op, key string, b []byte, r ship.Receipt) {
	s.Helper()
	if err := s.object(key, b).Check(r); err != nil {
		s.Errorf("%s: receipt does not speak of the bytes: %v", op, err)
	}
	if r.Method == "" || r.Time.IsZero() {
		s.Errorf("%s: receipt %+v does not say how and when it was verified", op, r)
	}
}

// wantContent checks that Stat and Open agree on exactly b.
func (s *suite) wantContent(key string, b []byte) {
	s.Helper()
	r, err := s.d.Stat(s.ctx, key)
	switch {
	case err != nil:
		s.Errorf("Stat(%s): %v", key, err)
	case r.Checksum != "":
		s.wantReceipt("Stat", key, b, r)
	case r.Size != int64(len(b)):
		s.Errorf("Stat(%s): %d bytes, want %d", key, r.Size, len(b))
	}
	body, err := s.d.Open(s.ctx, key)
	if err != nil {
		s.Errorf("Open(%s): %v", key, err)
		return
	}
	got, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		s.Errorf("reading %s: %v", key, err)
	}
	if !bytes.Equal(got, b) {
		s.Errorf("Open(%s) gives %d bytes that are not the %d stored", key, len(got), len(b))
	}
}

// wantAbsent checks that no method shows an object under key.
func (s *suite) wantAbsent(key string) {
	s.Helper()
	if r, err := s.d.Stat(s.ctx, key); !errors.Is(err, fs.ErrNotExist) {
		s.Errorf("Stat(%s) = %+v, %v, want fs.ErrNotExist", key, r, err)
	}
	body, err := s.d.Open(s.ctx, key)
	if err == nil {
		// A store may find out only at the first read.
		_, err = body.Read(make([]byte, 1))
		_ = body.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		s.Errorf("Open(%s): %v, want fs.ErrNotExist", key, err)
	}
	if l, ok := s.d.(ship.Lister); ok {
		for e, err := range l.List(s.ctx, key) {
			if err != nil || e.Key == key {
				s.Errorf("List shows %+v, %v", e, err)
			}
		}
	}
}
