package ship_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
)

// TestVerify damages a delivered tree in one way at a time: missing objects are restored, and everything else is reported.
func TestVerify(t *testing.T) {
	for _, c := range []struct {
		name     string
		damage   func(m *shiptest.MemoryDestination, object, manifest string)
		restored int
		wrong    int
	}{
		{"nothing", func(*shiptest.MemoryDestination, string, string) {}, 0, 0},
		{"object removed", func(m *shiptest.MemoryDestination, object, _ string) { m.Remove(object) }, 1, 0},
		{"object altered", func(m *shiptest.MemoryDestination, object, _ string) { m.Set(object, flip(m.Bytes(object))) }, 0, 1},
		{"object cut", func(m *shiptest.MemoryDestination, object, _ string) { m.Set(object, m.Bytes(object)[1:]) }, 0, 1},
		{"object empty", func(m *shiptest.MemoryDestination, object, _ string) { m.Set(object, nil) }, 0, 1},
		{"manifest removed", func(m *shiptest.MemoryDestination, _, manifest string) { m.Remove(manifest) }, 0, 1},
		{"manifest altered", func(m *shiptest.MemoryDestination, _, manifest string) { m.Set(manifest, flip(m.Bytes(manifest))) }, 0, 1},
		{"last manifest replaced", func(m *shiptest.MemoryDestination, _, manifest string) {
			// A valid manifest that only the hash in the spool's state shows to be another one.
			forged, err := ship.DecodeManifest(bytes.NewReader(m.Bytes(manifest)))
			if err != nil {
				panic(err)
			}
			forged.Header.Instance = "host-z"
			b, err := forged.Encode()
			if err != nil {
				panic(err)
			}
			m.Set(manifest, b)
		}, 0, 1},
	} {
		verified := func(t *testing.T, bad *shiptest.MemoryDestination, idc ship.Destination) {
			good := shiptest.Memory()
			d := destinations{"s3": good, "idc": idc}
			b := newBench(t, d)
			b.freeze()
			b.segments(4, 50)
			b.ship(d)
			b.flush()
			chain := b.audit(bad)
			last := chain[len(chain)-1].Header
			c.damage(bad, lines(chain)[1].Key, object.ManifestKey(last.Class, last.Spool, last.Epoch, last.Number))
			found, err := b.s.Verify(t.Context())
			if v := found["s3"]; v.Objects != 4 || v.Manifests == 0 || v.Err != nil || len(v.Mismatches) != 0 {
				t.Errorf("the good one: %+v", v)
			}
			v := found["idc"]
			if v.Restored != c.restored || len(v.Mismatches) != c.wrong || v.Err != nil || errors.Is(err, ship.ErrVerify) != (c.wrong > 0) || errors.Is(err, ship.ErrIncomplete) {
				t.Errorf("%+v, %v", v, err)
			}
			if c.wrong == 0 {
				b.audit(bad)
			}
		}
		t.Run(c.name, func(t *testing.T) {
			bad := shiptest.Memory()
			verified(t, bad, bad)
		})
		t.Run(c.name+", without checksums", func(t *testing.T) {
			bad := unsummed{MemoryDestination: shiptest.Memory(), reads: new(atomic.Int64)}
			verified(t, bad.MemoryDestination, bad)
			if n := bad.reads.Load(); n > 0 && c.wrong == 0 {
				t.Errorf("%d objects were fetched", n)
			}
		})
	}
}

// unsummed reports no checksums, and counts the objects that are read back: its Put compares them at the destination.
type unsummed struct {
	*shiptest.MemoryDestination
	reads *atomic.Int64
}

func (u unsummed) Stat(ctx context.Context, key string) (ship.Receipt, error) {
	r, err := u.MemoryDestination.Stat(ctx, key)
	r.Checksum = ""
	return r, err
}

func (u unsummed) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if strings.HasPrefix(key, "class=") {
		u.reads.Add(1)
	}
	return u.MemoryDestination.Open(ctx, key)
}

func flip(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

// TestVerifyUnreachable: a question without an answer is neither a confirmation nor a mismatch.
func TestVerifyUnreachable(t *testing.T) {
	mem := shiptest.Memory()
	f := shiptest.Faulty(mem, nil)
	d := destinations{"s3": f}
	b := newBench(t, d)
	b.freeze()
	b.segments(2, 10)
	b.ship(d, quick)
	b.flush()
	dead := errors.New("dead")
	// The context ends during the third attempt to ask for each object.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	objects, asked, thrice := len(mem.Keys()), map[string]int{}, 0
	f.SetPlan(func(c shiptest.Call) shiptest.Fault {
		if asked[c.Key]++; asked[c.Key] < 3 {
			return shiptest.FailBefore(dead)
		}
		if thrice++; thrice == objects {
			cancel()
		}
		return shiptest.Fault{Before: func(ctx context.Context) error {
			<-ctx.Done()
			return dead
		}}
	})
	if _, err := b.s.Verify(ctx); !errors.Is(err, ship.ErrIncomplete) || !errors.Is(err, dead) || errors.Is(err, ship.ErrVerify) {
		t.Errorf("unreachable: %v", err)
	}
	n := 0
	f.SetPlan(func(shiptest.Call) shiptest.Fault {
		if n++; n < 10 {
			return shiptest.FailBefore(dead)
		}
		return shiptest.Fault{}
	})
	if _, err := b.s.Verify(t.Context()); err != nil {
		t.Errorf("flaky: %v", err)
	}
}

// TestVerifyFilesGone: a segment whose files have vanished must not be mistaken for one that was deleted because every
// destination has it. Its object is not confirmed.
func TestVerifyFilesGone(t *testing.T) {
	mem := shiptest.Memory()
	d := destinations{"s3": mem}
	b := newBench(t, d)
	b.freeze()
	b.segments(2, 10)
	b.ship(d, quick)
	b.flush()
	mem.Remove(lines(b.audit(mem))[0].Key)
	removed := 0
	err := filepath.WalkDir(b.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && strings.Contains(e.Name(), "0000000001") {
			removed++
			err = os.Remove(path)
		}
		return err
	})
	if err != nil || removed == 0 {
		t.Fatal(removed, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	// At first its content is unknown; once the spool has given up the segment, the manifest describes it.
	if v, err := b.s.Verify(ctx); !errors.Is(err, ship.ErrIncomplete) && !errors.Is(err, ship.ErrVerify) {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := b.s.Verify(t.Context()); !errors.Is(err, ship.ErrVerify) {
		t.Errorf("%+v, %v", v, err)
	}
	if x := b.sp.Shelf().Damages(); len(x) != 1 || x[0].Segment != 1 {
		t.Errorf("%+v", x)
	}
}

// TestFinalizeRefuses: `final` is never written while something is owed or not sealed.
func TestFinalizeRefuses(t *testing.T) {
	mem := shiptest.Memory()
	d := destinations{"s3": mem}
	b := newBench(t, d)
	b.segments(1, 10)
	b.ship(d)
	b.flush()
	b.append(5)
	if err := b.s.Finalize(t.Context(), "s3"); !errors.Is(err, ship.ErrIncomplete) {
		t.Errorf("with unsealed records: %v", err)
	}
	if err := b.sp.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.s.Finalize(t.Context(), "s3"); err != nil {
		t.Error(err)
	}
	b.audit(mem)
	b.segments(1, 5)
	if err := b.s.Finalize(t.Context(), "s3"); !errors.Is(err, ship.ErrIncomplete) {
		t.Errorf("records kept after final: %v", err)
	}
	if err := b.s.Finalize(t.Context(), "nowhere"); err == nil {
		t.Error("unknown destination")
	}
}
