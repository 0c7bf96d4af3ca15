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

// Nothing is left that says how many bytes were kept before the newest segment, except that a destination has them. They still count as kept
// when the rest is delivered.
func TestBytesBeforeAHeadlessSegment(t *testing.T) {
	d := memDir()
	o := Options{Sync: SyncAlways, Destinations: []string{"a"}}
	s := d.open(t, o)
	mustAppend(t, s, batch(1, 10, 300))
	mustSeal(t, s)
	deliver(t, s, "a", lastSegment(s))
	until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
	mustAppend(t, s, batch(11, 10, 300))
	newest := s.segPath(s.journal.active.number)
	left := d.fs.(*vfs.Mem).KillClone()
	closeSpool(t, s)
	for path, change := range map[string]func(b []byte){newest: func(b []byte) { b[130] ^= 1 }, s.path(ledgerName): func(b []byte) { b[len(b)/2] ^= 1 }} {
		b, err := vfs.ReadFile(left, path, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		change(b)
		if err := vfs.WriteFileAtomic(left, path, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := left.Remove(s.path(begunName)); err != nil {
		t.Fatal(err)
	}
	again := memDir()
	again.fs = left
	s = again.open(t, o)
	mustSeal(t, s)
	deliver(t, s, "a", lastSegment(s))
	l := s.Ledger()
	if l.Kept.Records != 20 || l.Kept.Bytes < 6000 {
		t.Errorf("kept %+v, delivered %+v", l.Kept, l.Destinations)
	}
	if err := l.Balance(); err != nil {
		t.Error(err)
	}
	balanced(t, s)
	closeSpool(t, s)
}
