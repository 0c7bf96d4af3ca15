package spool

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// A power cut leaves the first block of a new segment and not its header, and the segment before it has no footer yet.
// Earlier losses by cause are still in the ledger, although the guessed header of the new segment does not contain them.
func TestLedgerBeforeAHeadlessSegment(t *testing.T) {
	d := memDir()
	mem := d.fs.(*vfs.Mem)
	var footers atomic.Bool
	d.fs = vfs.Inject(mem, func(op vfs.Op) error {
		if op.Kind == vfs.OpTruncate && footers.Load() && strings.HasSuffix(op.Path, "0000000000000001.seg") {
			return syscall.EIO
		}
		return nil
	})
	o := Options{Sync: SyncAlways, Destinations: []string{"a"}}
	s := d.open(t, o)
	s.Intake().Account(segment.Account{
		Received: segment.Tally{Records: 3, Bytes: 30}, Lost: segment.Losses{segment.Malformed: {Records: 3, Bytes: 30}},
	})
	mustAppend(t, s, batch(1, 10, 300))
	footers.Store(true)
	if err := s.journal.endActive(0, true); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, batch(11, 10, 300))
	second := s.segPath(s.journal.active.number)
	left := mem.KillClone()
	footers.Store(false)
	closeSpool(t, s)

	f, err := left.OpenRW(second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, headerPad), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again := memDir()
	again.fs = left
	s = again.open(t, o)
	l := s.Ledger()
	if l.Kept.Records != 20 || l.Lost[segment.Malformed].Records != 3 || l.Damaged.Records != 0 {
		t.Errorf("kept %+v, damaged %+v, lost %+v", l.Kept, l.Damaged, l.Lost)
	}
	balanced(t, s)
}
