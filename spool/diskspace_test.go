package spool

import (
	"errors"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// sizeless is a file system that does not report its size, like ramfs and some FUSE file systems.
type sizeless struct{ vfs.FS }

func (sizeless) Space(string) (total, free int64, err error) { return 0, 0, nil }

// An unknown size is unknown, and not 0: the quota alone counts.
func TestSizeUnknown(t *testing.T) {
	fsys := sizeless{vfs.NewMem()}
	o := &Options{MaxBytes: 64 << 20, SegmentBytes: 4 << 20, StageReserve: 4 << 20}
	s, err := open("/spool", fsys, new(index.Mem).Open, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.space.lookAtDisk()
	if _, err := s.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("x")}}); err != nil {
		t.Error(err)
	}
	if s.Stats().Full {
		t.Error("full")
	}
	if _, err := open("/other", fsys, new(index.Mem).Open, &Options{}); !errors.Is(err, errNoSize) {
		t.Errorf("a share of an unknown size: %v", err)
	}
}

func TestDiskSpace(t *testing.T) {
	var d diskSpace
	for _, step := range []struct {
		total, free, took int64
		more              bool
		most              int64
	}{
		{100, 50, 10, false, 40},
		{100, 45, 0, true, 45},
		{100, 45, 0, false, 45},
		{0, 0, 1000, true, 1 << 30}, // it does not tell any more
		{0, 0, 0, false, 1 << 30},
		{100, 10, 0, false, 10},
	} {
		more := d.look(step.total, step.free)
		d.took(step.took)
		if got := d.atMost(1 << 30); more != step.more || got != step.most {
			t.Errorf("%+v: more %v, at most %d", step, more, got)
		}
	}
}
