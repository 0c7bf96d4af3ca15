package spool

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestGiveUpBesideUnread: what was given up before is not forgotten because this process cannot read it.
func TestGiveUpBesideUnread(t *testing.T) {
	d := memDir()
	closeSpool(t, threeSegments(t, d, Options{}))
	first, second := segment.Range{First: 1, Last: 2}, segment.Range{First: 5, Last: 6}
	if err := giveUp(d.fs, "/spool", 1, []segment.Range{first}); err != nil {
		t.Fatal(err)
	}
	denied := vfs.Inject(d.fs, func(op vfs.Op) error {
		if op.Kind == vfs.OpOpen && strings.HasSuffix(op.Path, givenUpExt) {
			return syscall.EMFILE
		}
		return nil
	})
	if err := giveUp(denied, "/spool", 1, []segment.Range{second}); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("given up: %v", err)
	}
	if g, err := loadGivenUp(d.fs, "/spool", 1); err != nil || len(g.Ranges) != 1 || g.Ranges[0] != first {
		t.Errorf("%+v, %v", g, err)
	}
}

// unstated is a file system that does not say whether there is a directory of kept files.
type unstated struct{ vfs.FS }

func (f unstated) Stat(path string) (fs.FileInfo, error) {
	if strings.Contains(path, keptDir+"-") {
		return nil, syscall.EIO
	}
	return f.FS.Stat(path)
}

// TestRepairCannotKeep: a repair that cannot find a free name for what it keeps ends with the error, and changes nothing.
func TestRepairCannotKeep(t *testing.T) {
	d := memDir()
	s := threeSegments(t, d, Options{})
	closeSpool(t, s)
	flipAt(t, d, s.path(identityName), 20)
	p, err := planRepair(repairer{dir: "/spool", fs: unstated{d.fs}, look: new(index.Mem).Open, open: new(index.Mem).Open}, nil)
	if err != nil || !p.Needed() {
		t.Fatalf("%+v, %v", p, err)
	}
	if kept, err := p.Apply(); kept != "" || !errors.Is(err, syscall.EIO) {
		t.Errorf("%q, %v", kept, err)
	}
}
