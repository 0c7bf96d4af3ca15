package ship_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// fullLife is one way in which a spool becomes full and is then drained.
type fullLife struct {
	codec  string
	away   string // the destinations that are away while it fills
	before int64  // the quota while it fills; it is emptied with fullQuota
	killed bool
	small  bool // half of the segments are as small as an age makes them
}

// fullQuota is small: the index takes 1 MiB of it, and a few segments fit in the rest.
const fullQuota = 3 << 19

// emptiedWithin bounds how long a full spool takes to deliver everything to destinations that answer at once: the first wait
// after an earlier failure, and the time for which a manifest waits for uploads.
const emptiedWithin = 3 * time.Second

// TestFullSpoolEmpties: whatever a full spool holds, and whichever destination was away, a drain ends soon once all of them
// answer. No segment sleeps while there is room for it, or when it is the next one. PENSTOCK_FULL=all tries all combinations.
func TestFullSpoolEmpties(t *testing.T) {
	for _, codec := range []string{"zstd", "none"} {
		for _, away := range []string{"b", "ab"} {
			for _, before := range []int64{fullQuota, 2 * fullQuota} {
				for i := range 4 {
					l := fullLife{codec, away, before, i&1 != 0, i&2 != 0}
					if l.killed != l.small && os.Getenv("PENSTOCK_FULL") == "" {
						continue
					}
					t.Run(fmt.Sprintf("%+v", l), func(t *testing.T) {
						t.Parallel()
						dir := t.TempDir()
						synctest.Test(t, func(t *testing.T) { l.run(t, dir) })
					})
				}
			}
		}
	}
}

func (l fullLife) run(t *testing.T, dir string) {
	at := filepath.Join(dir, "spool")
	faulty := map[string]*shiptest.FaultyDestination{"a": shiptest.Faulty(shiptest.Memory(), nil), "b": shiptest.Faulty(shiptest.Memory(), nil)}
	d := destinations{"a": sized{faulty["a"]}, "b": sized{faulty["b"]}}
	gone := func(shiptest.Call) shiptest.Fault {
		return shiptest.Fault{Before: func(context.Context) error { return errors.New("away") }}
	}
	for _, name := range l.away {
		faulty[string(name)].SetPlan(gone)
	}
	codec := func(o *ship.Options) { o.Codec, o.Level = l.codec, 0 }

	b := openBench(t, at, d, "host", l.quota(l.before))
	b.fillUp(l.small)
	b.ship(d, codec)
	time.Sleep(10 * time.Minute) // back-offs are as long as they get
	b.fillUp(l.small)
	if l.killed {
		synctest.Wait()
		copied := filepath.Join(dir, "copy")
		if err := os.CopyFS(copied, os.DirFS(at)); err != nil {
			t.Fatal(err)
		}
		b.close()
		at = copied
	}
	b.close()

	for _, f := range faulty {
		f.SetPlan(nil)
	}
	b = openBench(t, at, d, "host", l.quota(fullQuota))
	segments := len(b.sp.Shelf().Sealed(0, 0))
	b.freeze() // as a drain does: nothing is deleted, so room comes only from records that the spool holds twice
	b.ship(d, codec)
	if err := b.sp.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if err := b.s.Flush(ctx); err != nil {
		t.Fatalf("%v\n%s", err, b.log)
	}
	if took := time.Since(began); took > emptiedWithin {
		t.Errorf("%d segments took %v", segments, took)
	}
	began = time.Now()
	if v, err := b.s.Verify(ctx); err != nil {
		t.Errorf("%+v, %v", v, err)
	}
	if took := time.Since(began); took > emptiedWithin {
		t.Errorf("verifying %d segments took %v", segments, took)
	}
	for _, name := range slices.Sorted(maps.Keys(d)) {
		var epochs []uint32
		for e := uint32(1); e <= b.sp.Stats().Epoch; e++ {
			epochs = append(epochs, e)
		}
		b.audit(d[name], epochs...)
	}
	b.close()
}

// sized is a destination that keeps no checksums, as a directory does: an object can be verified with its staged file only.
type sized struct{ *shiptest.FaultyDestination }

func (s sized) Stat(ctx context.Context, key string) (ship.Receipt, error) {
	r, err := s.FaultyDestination.Stat(ctx, key)
	r.Checksum = ""
	return r, err
}

func (l fullLife) quota(bytes int64) func(*spool.Options) {
	return func(o *spool.Options) { o.MaxBytes, o.OnFull = bytes, spool.Reject }
}

// fillUp appends until there is no room.
func (b *bench) fillUp(small bool) {
	b.t.Helper()
	for i := range 400 { // more than fits, unless it is delivered meanwhile
		batch := make([]segment.Record, 500)
		for j := range batch {
			batch[j] = segment.Record{Time: time.Now().UnixNano(), Data: []byte(payload(b.next + j))}
		}
		_, err := b.sp.Append(context.Background(), batch)
		if errors.Is(err, spool.ErrFull) {
			return
		}
		if err != nil {
			b.t.Fatal(err)
		}
		b.next += len(batch)
		if small && i%2 == 1 {
			if err := b.sp.Seal(context.Background()); err != nil {
				b.t.Fatal(err)
			}
		}
	}
}
