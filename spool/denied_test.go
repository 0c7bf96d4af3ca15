package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// codecEncoder is lineEncoder with settings of its own, as of a process with another configuration.
type codecEncoder struct {
	lineEncoder
	codec string
}

func (e codecEncoder) Encode(ctx context.Context, dst io.Writer, src *segment.Reader, want *object.Encoding) (object.Encoded, error) {
	if want == nil {
		want = &object.Encoding{Format: "test", Codec: e.codec}
	}
	return e.lineEncoder.Encode(ctx, dst, src, want)
}

// The stage record is binding even while it cannot be read: the object may be at a destination already,
// under a key that other settings would change.
func TestStageRecordUnread(t *testing.T) {
	for _, fault := range []error{syscall.EMFILE, syscall.EACCES, syscall.EIO} {
		t.Run(fault.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := memDir()
				var on atomic.Bool
				d.fs = vfs.Inject(d.fs, func(op vfs.Op) error {
					if on.Load() && op.Kind == vfs.OpOpen && strings.HasSuffix(op.Path, recExt) && strings.Contains(op.Path, stageDir) {
						return fault
					}
					return nil
				})
				s := threeSegments(t, d, Options{})
				n := s.shelf.Sealed(0, 0)[1].Number
				was, err := s.shelf.Stage(t.Context(), n, codecEncoder{codec: "first"})
				if err != nil {
					t.Fatal(err)
				}
				on.Store(true)
				if _, err := s.shelf.Stage(t.Context(), n, codecEncoder{codec: "second"}); !errors.Is(err, fault) {
					t.Errorf("staged without having read the record: %v", err)
				}
				on.Store(false)
				rec, err := s.shelf.Stage(t.Context(), n, codecEncoder{codec: "second"})
				if err != nil || rec.Encoding != was.Encoding || rec.SHA256 != was.SHA256 {
					t.Errorf("%+v, %v", rec, err)
				}
			})
		})
	}
}

// A process that lacks descriptors, or the right to a file, opens nothing: it has seen no damage.
func TestDeniedOpen(t *testing.T) {
	for _, fault := range []error{syscall.EMFILE, syscall.EACCES} {
		for _, name := range []string{stageDir + string(filepath.Separator), segExt, cleanName, ledgerName, "a" + stateExt} {
			t.Run(fmt.Sprint(name, " ", fault), func(t *testing.T) {
				d := memDir()
				var on atomic.Bool
				d.fs = vfs.Inject(d.fs, func(op vfs.Op) error {
					if on.Load() && op.Kind == vfs.OpOpen && strings.Contains(op.Path, name) {
						return fault
					}
					return nil
				})
				s := threeSegments(t, d, Options{})
				segs := s.shelf.Sealed(0, 0)
				if _, err := s.shelf.Stage(t.Context(), segs[1].Number, lineEncoder{}); err != nil {
					t.Fatal(err)
				}
				raw := s.segPath(segs[1].Number) // as if it had been given up
				deliver(t, s, "a", segs[0].Number)
				if err := s.space.saveLedger(&s.journal.ledger); err != nil {
					t.Fatal(err)
				}
				closeSpool(t, s)
				if err := d.fs.Remove(raw); err != nil {
					t.Fatal(err)
				}
				on.Store(true)
				if s, err := d.tryOpen(t, Options{Destinations: []string{"a"}}); !errors.Is(err, fault) {
					t.Errorf("opened: %v", err)
					if err == nil {
						closeSpool(t, s)
					}
				}
				on.Store(false)
				s = d.open(t, Options{Destinations: []string{"a"}})
				got := stageAll(t, s)
				for i := 11; i <= 30; i++ {
					if got[uint64(i)] != string(record(i, 500).Data) {
						t.Errorf("record %d is %.20q", i, got[uint64(i)])
					}
				}
				if l := s.Ledger(); l.Damaged != (segment.Tally{}) || len(l.Unaccounted) > 0 {
					t.Errorf("%+v", l)
				}
				balanced(t, s)
			})
		}
	}
}
