package s3ship

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/s3d"
	"github.com/penstock-go/penstock/ship"
)

// The two ways to send an object: in one request, in several parts.
var sizes = map[string]int{"single": 100_000, "multipart": 6 << 20}

// last is the request that publishes an object of each size.
var last = map[string]string{"single": "Put", "multipart": "Complete"}

// only is a plan with one fault, for the requests of op from the first to the n-th.
func only(op string, n int, f s3d.Fault) func(string, int) s3d.Fault {
	return func(o string, i int) s3d.Fault {
		if o == op && i <= n {
			return f
		}
		return s3d.Fault{}
	}
}

// stored compares what the store really has, by its own directory.
func (s *store) stored(t *testing.T, key string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(s.dir, "penstock", filepath.FromSlash(key)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if (err == nil) != (want != nil) || !bytes.Equal(got, want) {
		t.Errorf("the store has %d bytes at %s (%v), want %d", len(got), key, err, len(want))
	}
}

// uploads are the multipart uploads that the store still has.
func (s *store) uploads(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(s.dir, ".s3d", "uploads", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// TestOneFault puts an object through each fault that may pass by itself; the object must be there once, verified, by
// the same call or by calling again.
func TestOneFault(t *testing.T) {
	faults := map[string]s3d.Fault{
		"lost":            {Lose: true},
		"error in 200":    {ErrorBody: true},
		"done, but error": {Lose: true, ErrorBody: true},
		"503":             {Status: 503, Code: "SlowDown"},
		"500":             {Status: 500, Code: "InternalError"},
		"409":             {Status: 409, Code: "ConditionalRequestConflict"},
		"dropped":         {Drop: true},
		"hung":            {Hang: true},
		"done, but hung":  {Lose: true, Hang: true},
	}
	for kind, size := range sizes {
		for _, op := range []string{"Head", "Put", "Create", "UploadPart", "Complete"} {
			if (op == "Put" || op == "Head") != (kind == "single") {
				continue
			}
			for name, f := range faults {
				if f.ErrorBody && (op == "Head" || op == "Put" || op == "UploadPart") {
					continue // these have no answer of their own to put an error into
				}
				if f.Status != 0 && (op == "Create" || op == "UploadPart") {
					continue // nothing that Complete does not show
				}
				t.Run(kind+"/"+op+"/"+name, func(t *testing.T) {
					t.Parallel()
					s := startStore(t)
					b := s.open(t, "p", "")
					if f.Hang {
						b.http.stall = time.Second
					}
					s.plan(only(op, 1, f))
					body := random(size)
					r, err := put(t, b, "k", body)
					if err != nil {
						if ship.IsPermanent(err) || errors.Is(err, ship.ErrConflict) || errors.Is(err, ship.ErrVerify) {
							t.Fatalf("the fault is taken for more than it is: %v", err)
						}
						// Try again without the fault, and with a stall limit that a slow machine does not reach by chance.
						b.http.stall = time.Minute
						s.calm()
						if r, err = put(t, b, "k", body); err != nil {
							t.Fatal(err)
						}
					}
					if err := ship.BytesObject("k", "", body).Check(r); err != nil || r.Method != "head" {
						t.Errorf("receipt %+v: %v", r, err)
					}
					s.stored(t, "p/k", body)
					if op == "Complete" && f.Hang && f.Lose && s.count("Abort") != 0 {
						t.Error("an upload that the store was completing has been aborted")
					}
				})
			}
		}
	}
}

// TestOutage: whatever the length of an outage, the error stays transient, and the first call after it succeeds. The
// SDK's own token bucket would be dry by then.
func TestOutage(t *testing.T) {
	s := newStore(t)
	b := s.open(t, "p", "")
	body := random(1000)
	s.plan(func(string, int) s3d.Fault { return s3d.Fault{Status: 503, Code: "SlowDown"} })
	for range 120 {
		if _, err := put(t, b, "k", body); err == nil || ship.IsPermanent(err) {
			t.Fatalf("Put in an outage: %v", err)
		}
	}
	s.stored(t, "p/k", nil)
	s.plan(func(_ string, n int) s3d.Fault {
		if n <= 2 {
			return s3d.Fault{Status: 503, Code: "SlowDown"}
		}
		return s3d.Fault{}
	})
	if _, err := put(t, b, "k", body); err != nil {
		t.Fatalf("Put after the outage: %v", err)
	}
}

// TestTaken: without s3:ListBucket the first HeadObject gets 403, and the condition decides.
func TestTaken(t *testing.T) {
	for kind, size := range sizes {
		t.Run(kind, func(t *testing.T) {
			s := newStore(t)
			b := s.open(t, "", "")
			body := random(size)
			if _, err := put(t, b, "k", body); err != nil {
				t.Fatal(err)
			}
			forbidden := only("Head", 1, s3d.Fault{Status: 403})
			s.plan(forbidden)
			r, err := put(t, b, "k", body)
			if err != nil || r.Method != "head" {
				t.Errorf("ours: %+v, %v", r, err)
			}
			if s.count(last[kind]) != 1 {
				t.Errorf("%s was asked %d times, want 1", last[kind], s.count(last[kind]))
			}
			s.plan(forbidden)
			other := bytes.Clone(body)
			other[size/2] ^= 1
			if _, err := put(t, b, "k", other); !errors.Is(err, ship.ErrConflict) || ship.IsPermanent(err) {
				t.Errorf("foreign: %v", err)
			}
			s.stored(t, "k", body)
			if up := s.uploads(t); len(up) != 0 {
				t.Errorf("left behind: %v", up)
			}
		})
	}
}

// TestUnverifiable: an upload that cannot be verified is not a delivery.
func TestUnverifiable(t *testing.T) {
	s := newStore(t)
	b := s.open(t, "", "")
	s.plan(func(op string, _ int) s3d.Fault {
		if op == "Head" || op == "Get" {
			return s3d.Fault{Status: 403, Code: "AccessDenied"}
		}
		return s3d.Fault{}
	})
	for range 2 { // the second meets its own object
		_, err := put(t, b, "k", random(100))
		if !ship.IsPermanent(err) || !strings.Contains(err.Error(), "allow s3:GetObject on arn:aws:s3:::penstock/*") {
			t.Errorf("Put: %v", err)
		}
	}
}

// TestStoreHoldsOther: the store reports success but holds other bytes.
func TestStoreHoldsOther(t *testing.T) {
	for kind, size := range sizes {
		for name, damage := range map[string]func([]byte) []byte{
			"flipped": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
			"short":   func(b []byte) []byte { return b[:len(b)-1] },
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				s := newStore(t)
				b := s.open(t, "", "")
				body := random(size)
				s.plan(func(op string, n int) s3d.Fault {
					if op == "Head" && n == 2 {
						if err := os.WriteFile(filepath.Join(s.dir, "penstock", "k"), damage(bytes.Clone(body)), 0o600); err != nil {
							t.Error(err)
						}
					}
					return s3d.Fault{}
				})
				if _, err := put(t, b, "k", body); !errors.Is(err, ship.ErrVerify) {
					t.Errorf("Put: %v, want ErrVerify", err)
				}
			})
		}
	}
}

// TestFlip: one bit flips in transit. The store finds it by the checksum, and publishes nothing.
func TestFlip(t *testing.T) {
	for kind, size := range sizes {
		for _, op := range []string{"Put", "UploadPart"} {
			if (op == "Put") != (kind == "single") {
				continue
			}
			t.Run(kind, func(t *testing.T) {
				s := newStore(t)
				b := s.open(t, "", "")
				s.plan(only(op, 1, s3d.Fault{Flip: true}))
				body := random(size)
				_, err := put(t, b, "k", body)
				if !errors.Is(err, ship.ErrVerify) || ship.IsPermanent(err) {
					t.Errorf("Put: %v, want ErrVerify", err)
				}
				s.stored(t, "k", nil)
				if up := s.uploads(t); len(up) != 0 {
					t.Errorf("left behind: %v", up)
				}
				if _, err := put(t, b, "k", body); err != nil {
					t.Errorf("again: %v", err)
				}
			})
		}
	}
}

// cancelAt cancels when the byte at offset is read.
type cancelAt struct {
	io.ReaderAt
	offset int64
	cancel func()
}

func (c cancelAt) ReadAt(p []byte, off int64) (int, error) {
	if off <= c.offset && c.offset < off+int64(len(p)) {
		c.cancel()
	}
	return c.ReaderAt.ReadAt(p, off)
}

// TestCancelled: an upload that is cut short leaves no parts behind, although its context is over.
func TestCancelled(t *testing.T) {
	for name, f := range map[string]func(string, int) s3d.Fault{
		"in mid-body": nil,
		// Nobody knows the upload's id.
		"answer to Create lost": only("Create", 9, s3d.Fault{Lose: true}),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			b := s.open(t, "p", "")
			s.plan(f)
			body := random(16 << 20)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			src := cancelAt{bytes.NewReader(body), 9 << 20, cancel}
			_, err := b.Put(ctx, ship.BytesObject("k", spoolID, body), io.NewSectionReader(src, 0, int64(len(body))))
			if err == nil || f == nil && !errors.Is(err, context.Canceled) {
				t.Errorf("Put: %v", err)
			}
			if s.count("Create") == 0 || s.count("Abort") == 0 {
				t.Errorf("%d created, %d aborted: the test shows nothing", s.count("Create"), s.count("Abort"))
			}
			if up := s.uploads(t); len(up) != 0 {
				t.Errorf("left behind: %v", up)
			}
			s.stored(t, "p/k", nil)
		})
	}
}

// TestSweep: what a killed process left is found by its name and age, and nothing else is touched.
func TestSweep(t *testing.T) {
	s := newStore(t)
	b := s.open(t, "p", "")
	const segment = "class=vpn/dt=2026-11-22/hour=08/0000000000000000000000000a-000001-0000000000000001-00000000000f4240.ndjson.zst"
	for key, old := range map[string]bool{
		"p/" + segment: true, "p/class=vpn/dt=2026-11-22/hour=09" + segment[31:]: false, // ours: left behind, and under way
		segment: true, "q/" + segment: true, "p/backup.tar": true, "p/x/" + segment: true, // somebody else's
	} {
		s.create(t, b, key, old)
	}
	if n, err := b.Sweep(t.Context()); n != 1 || err != nil {
		t.Errorf("Sweep = %d, %v, want 1", n, err)
	}
	if up := s.uploads(t); len(up) != 5 {
		t.Errorf("%d uploads are left, want 5", len(up))
	}
	if n, err := b.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("second Sweep = %d, %v, want 0", n, err)
	}
}

// create begins a multipart upload under a full key, and makes it old on the store's disk.
func (s *store) create(t *testing.T, b *Destination, full string, old bool) {
	t.Helper()
	known := s.uploads(t)
	begin(t, b, full)
	if !old {
		return
	}
	for _, dir := range s.uploads(t) {
		if slices.Contains(known, dir) {
			continue
		}
		name := filepath.Join(dir, "upload.json")
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var u map[string]any
		if err := json.Unmarshal(text, &u); err != nil {
			t.Fatal(err)
		}
		u["initiated"] = time.Now().Add(-25 * time.Hour).UTC()
		if text, err = json.Marshal(u); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBrokenReads: an object that does not arrive completely is an error, never a short object.
func TestBrokenReads(t *testing.T) {
	for name, f := range map[string]s3d.Fault{"cut": {Truncate: 300_000}, "stalled": {Truncate: 300_000, Hang: true}} {
		for _, compat := range []string{"", "&compat=true"} {
			t.Run(name+compat, func(t *testing.T) {
				t.Parallel()
				s := startStore(t)
				b := s.open(t, "", compat)
				body := random(1 << 20)
				if _, err := put(t, b, "k", body); err != nil {
					t.Fatal(err)
				}
				b.http.stall = time.Minute
				if f.Hang {
					b.http.stall = time.Second
				}
				read := func() (int64, error) {
					s.plan(only("Get", 1, f))
					r, err := b.Open(t.Context(), "k")
					if err != nil {
						return 0, err
					}
					defer r.Close()
					return io.Copy(io.Discard, r)
				}
				n, err := read()
				// The watchdog may end it earlier, if this machine was too slow to get so far before.
				for begin := time.Now(); f.Hang && err != nil && n < 300_000 && !ship.IsPermanent(err) && time.Since(begin) < time.Minute; {
					n, err = read()
				}
				if err == nil || ship.IsPermanent(err) || n != 300_000 {
					t.Errorf("read %d bytes, %v", n, err)
				}
				if compat == "" {
					return
				}
				s.plan(only("Get", 1, f))
				if _, err := put(t, b, "k", body); err == nil || errors.Is(err, ship.ErrConflict) || errors.Is(err, ship.ErrVerify) {
					t.Errorf("Put with a broken reading back: %v", err)
				}
			})
		}
	}
}

// TestDamagedRead: bytes that have changed at the store are found as they are read.
func TestDamagedRead(t *testing.T) {
	s := newStore(t)
	b := s.open(t, "", "")
	body := random(1 << 20)
	if _, err := put(t, b, "k", body); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(s.dir, "penstock", "k")
	fi, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	body[500_000] ^= 1
	// With size and time as before, so that the store goes on claiming its old checksum.
	if err := errors.Join(os.WriteFile(name, body, 0o600), os.Chtimes(name, fi.ModTime(), fi.ModTime())); err != nil {
		t.Fatal(err)
	}
	r, err := b.Open(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, ship.ErrVerify) {
		t.Errorf("damaged bytes were read with %v, want ErrVerify", err)
	}
}

// TestUploadWithoutID: 200 without a body to CreateMultipartUpload, as a captive portal or a broken proxy gives it, fails
// that Put and nothing else.
func TestUploadWithoutID(t *testing.T) {
	var aborts atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch op := opOf(r); {
		case op == "Abort" || r.Method == http.MethodDelete:
			aborts.Add(1)
		case op == "Put":
			w.WriteHeader(http.StatusPreconditionFailed)
		case op == "Head" && r.URL.Path == "/penstock/p/"+checkKey:
			w.Header().Set("Content-Length", strconv.Itoa(len(probe)))
			w.Header().Set("ETag", `"x"`)
			w.Header().Set("x-amz-checksum-crc64nvme", crcBase64(ship.BytesObject("k", "", probe).CRC64NVME))
		case op == "Head":
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(srv.Close)
	b := at(t, srv.URL, "penstock", static{access, secret}, Options{})
	if _, err := put(t, b, "k", random(sizes["multipart"])); err == nil || ship.IsPermanent(err) || !strings.Contains(err.Error(), "upload id") {
		t.Errorf("Put: %v", err)
	}
	if err := b.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "upload id") {
		t.Errorf("Check: %v", err)
	}
	if n := aborts.Load(); n > 0 {
		t.Errorf("%d aborts of an upload without id, which some stores may take for the deletion of the object", n)
	}
}

// TestMiddlebox: something answers 200 and a page of HTML to everything. No method takes that for the store's answer: no
// object is there, none is in the way, nothing is listed, nothing needs an operator, and compat=true is not advised.
func TestMiddlebox(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html><head><title>Scheduled maintenance</title></head><body>We will be back soon.</body></html>\n")
	}))
	t.Cleanup(srv.Close)
	b := at(t, srv.URL, "penstock", static{access, secret}, Options{})
	_, put := put(t, b, "k", random(100))
	_, stat := b.Stat(t.Context(), "k")
	_, open := b.Open(t.Context(), "k")
	var list error
	for _, list = range b.List(t.Context(), "") {
	}
	for name, err := range map[string]error{"Put": put, "Stat": stat, "Open": open, "List": list, "Check": b.Check(t.Context())} {
		if err == nil || ship.IsPermanent(err) || errors.Is(err, ship.ErrConflict) || errors.Is(err, ship.ErrVerify) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
