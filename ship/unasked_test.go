package ship_test

import (
	"context"
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

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestStagedFileElsewhere: only a damaged staged file is left of a segment, and the destination that has its object cannot be asked for
// a while. The records are not stated as damaged at the other destination: their object is restored once the destination answers.
// If it does not answer within a minute, it must not hold up everything that follows.
func TestStagedFileElsewhere(t *testing.T) {
	for _, tc := range []struct {
		name  string
		away  time.Duration
		page  bool // a middlebox answers
		found bool
	}{
		{name: "away", away: 40 * time.Second, found: true},
		{name: "behind a middlebox", away: 40 * time.Second, page: true, found: true},
		{name: "away for good", away: 24 * time.Hour},
		{name: "other bytes for good", away: 24 * time.Hour, page: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				has, lacks := &sometimes{MemoryDestination: shiptest.Memory()}, &sometimes{MemoryDestination: shiptest.Memory()}
				lacks.away.Store(true)
				d := destinations{"idc": has, "s3": lacks}
				b := openBench(t, dir, d, "host-a")
				b.segments(3, 10)
				b.ship(d)
				b.until("one has it", func() bool { return b.s.Stats()["idc"].Pending.Records == 0 })
				b = b.onlyStaged(d)
				has.page = tc.page
				lacks.away.Store(false)
				has.away.Store(true)
				began := time.Now()
				time.AfterFunc(tc.away, func() { has.away.Store(false) })
				b.ship(d)
				for b.s.Stats()["s3"].Pending.Records != 0 && time.Since(began) < time.Hour {
					time.Sleep(time.Second)
				}
				took, x := time.Since(began), b.sp.Shelf().Damages()
				switch {
				case b.s.Stats()["s3"].Pending.Records != 0:
					t.Errorf("not delivered within %v\n%s", took, b.log)
				case tc.found && len(x) != 0:
					t.Errorf("%v after the damage was found, records are stated as damaged that the other destination has: %+v", took, x)
				case tc.found:
					b.audit(lacks.MemoryDestination)
				case len(x) != 1 || x[0].Records != 10:
					t.Errorf("damages: %+v", x)
				case took < time.Minute || took > 3*time.Minute:
					t.Errorf("the records were given up after %v", took)
				}
				b.close()
			})
		})
	}
}

// TestBothFilesLost: the staged file of a segment is damaged or gone, and nothing in the segment's own file can be read. The object is
// restored from the destination that has it, as it is if the own file is only damaged in part.
func TestBothFilesLost(t *testing.T) {
	garble := func(t *testing.T, dir string) {
		if err := os.WriteFile(filepath.Join(dir, "seg", "0000000000000001.seg"), []byte("no header"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, hurt := range map[string]struct {
		before, after func(t *testing.T, dir string)
	}{
		"before a start": {before: func(t *testing.T, dir string) { rot(t, dir); garble(t, dir) }},
		"while it runs":  {before: rot, after: garble},
		"staged file gone": {after: func(t *testing.T, dir string) {
			garble(t, dir)
			if err := os.Remove(filepath.Join(dir, "stage", "0000000000000001.obj")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			has, lacks := shiptest.Memory(), &sometimes{MemoryDestination: shiptest.Memory()}
			lacks.away.Store(true)
			d := destinations{"idc": has, "s3": lacks}
			b := newBench(t, d)
			b.segments(2, 10)
			b.ship(d, quick)
			b.until("one has it", func() bool { return b.s.Stats()["idc"].Pending.Records == 0 })
			b.close()
			if hurt.before != nil {
				hurt.before(t, b.dir)
			}
			b = openBench(t, b.dir, d, "host-a")
			if hurt.after != nil {
				hurt.after(t, b.dir)
			}
			lacks.away.Store(false)
			b.ship(d, quick)
			b.until("the other has it", func() bool { return b.s.Stats()["s3"].Pending.Records == 0 })
			if l, x := b.sp.Ledger(), b.sp.Shelf().Damages(); l.Damaged.Records != 0 || len(x) != 0 {
				t.Errorf("damaged: %+v, %+v", l.Damaged, x)
			}
			b.audit(has)
			b.audit(lacks.MemoryDestination)
			b.close()
		})
	}
}

// TestStagedFileAskedForByMany: as many destinations as there are attempts lack the object at once. They wait for the answer of the one
// that has it.
func TestStagedFileAskedForByMany(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		has, d := &sometimes{MemoryDestination: shiptest.Memory()}, destinations{}
		var lack []*sometimes
		for i := range 8 {
			p := &sometimes{MemoryDestination: shiptest.Memory()}
			p.away.Store(true)
			lack = append(lack, p)
			d[fmt.Sprintf("s%d", i)] = p
		}
		d["idc"] = has
		b := openBench(t, dir, d, "host-a")
		b.segments(2, 10)
		b.ship(d)
		b.until("one has it", func() bool { return b.s.Stats()["idc"].Pending.Records == 0 })
		b = b.onlyStaged(d)
		has.slow = 5 * time.Second
		for _, p := range lack {
			p.away.Store(false)
		}
		b.ship(d)
		time.Sleep(10 * time.Minute) // simulated
		if x := b.sp.Shelf().Damages(); len(x) != 0 {
			t.Errorf("stated as damaged before the destination that has the object could answer: %+v", x)
		}
		for _, p := range lack {
			b.audit(p.MemoryDestination)
		}
		b.close()
	})
}

// sometimes is a destination that is away for some time, or behind a middlebox that answers requests for objects.
type sometimes struct {
	*shiptest.MemoryDestination
	away atomic.Bool
	page bool
	slow time.Duration // until Open answers
}

var errAway = errors.New("away")

func (s *sometimes) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	if s.away.Load() {
		return ship.Receipt{}, errAway
	}
	return s.MemoryDestination.Put(ctx, o, body)
}

func (s *sometimes) Stat(ctx context.Context, key string) (ship.Receipt, error) {
	if s.away.Load() {
		return ship.Receipt{}, errAway
	}
	return s.MemoryDestination.Stat(ctx, key)
}

func (s *sometimes) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	switch {
	case s.away.Load() && s.page && strings.HasPrefix(key, "class="):
		return io.NopCloser(strings.NewReader("<!DOCTYPE html>")), nil
	case s.away.Load():
		return nil, errAway
	}
	time.Sleep(s.slow)
	return s.MemoryDestination.Open(ctx, key)
}
