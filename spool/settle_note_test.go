package spool

import (
	"errors"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
)

// TestNoteOfKilledProcess: a process noted that it cuts the newest segment, and was killed before the note was durable. The next process
// cannot make it durable when it opens the file. It does so before it cuts the segment itself, although it has nothing to add: after a
// power cut, a file that is shorter than an older note says would seem to have lost records.
func TestNoteOfKilledProcess(t *testing.T) {
	mem := vfs.NewMem()
	if err := mem.MkdirAll("/spool"); err != nil {
		t.Fatal(err)
	}
	const path = "/spool/" + begunName
	var killed witness
	if err := killed.open(mem, "/spool", path, nil); err != nil {
		t.Fatal(err)
	}
	if err := killed.startSegment(begun{Spool: "s", Segment: 1, First: 1, Next: 1, Created: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	if err := killed.sync(); err != nil {
		t.Fatal(err)
	}
	if err := killed.note(progress{1, 0, place{}}, true); err != nil { // without a sync
		t.Fatal(err)
	}
	killed.close()

	last, err := loadBegun(mem, path, "s")
	if err != nil || !last.Ended {
		t.Fatal(last, err)
	}
	refuse := true
	var next witness
	err = next.open(vfs.Inject(mem, func(op vfs.Op) error {
		if refuse && op.Kind == vfs.OpSync {
			return errors.New("refused")
		}
		return nil
	}), "/spool", path, last)
	if err != nil {
		t.Fatal(err)
	}
	defer next.close()
	if err := next.mark(1, 0, place{}, true); err == nil {
		t.Error("a note that is not durable counts as durable")
	}
	refuse = false
	if err := next.mark(1, 0, place{}, true); err != nil {
		t.Fatal(err)
	}
	after, err := loadBegun(mem.CrashClone(vfs.Crash{Data: vfs.DataDropped, Names: vfs.NamesStrict}), path, "s")
	if err != nil || after == nil || !after.Ended {
		t.Errorf("after a power cut: %+v, %v", after, err)
	}
}
