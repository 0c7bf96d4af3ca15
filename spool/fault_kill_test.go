package spool

import (
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
)

// Written records survive a kill at any time, even while the disk refuses later writes: the failed file stays
// until everything in it is in another file.
func TestKillOnAFailingDisk(t *testing.T) {
	for _, kind := range []vfs.Kind{vfs.OpWrite, vfs.OpSync} {
		t.Run(kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { killOnAFailingDisk(t, kind) })
		})
	}
}

func killOnAFailingDisk(t *testing.T, refused vfs.Kind) {
	const kept = 25
	d := memDir()
	mem := d.fs.(*vfs.Mem)
	var mu sync.Mutex
	var broken, watched bool
	var left []*vfs.Mem // by a kill before each operation
	var ops []vfs.Op
	set := func(b, w bool) { mu.Lock(); defer mu.Unlock(); broken, watched = b, w }
	d.fs = vfs.Inject(mem, func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if watched && op.Kind.Mutates() {
			left, ops = append(left, mem.KillClone()), append(ops, op)
		}
		if broken && op.Kind == refused {
			return syscall.EIO
		}
		return nil
	})
	s := d.open(t, Options{Sync: SyncInterval, SyncInterval: time.Hour, OnFull: Reject, SegmentAge: time.Hour})
	defer s.Close()
	for i := range kept { // each in a write of its own
		mustAppend(t, s, batch(1+i, 1, 300))
	}
	set(true, true)
	_, _ = s.Append(t.Context(), batch(1+kept, 1, 300))
	_ = s.commitNow()
	synctest.Wait() // the background writer may be in the middle of moving records
	l := s.Ledger()
	if st, b := s.Stats(), l.Buffered(); st.Buffered.Records != b.Records || st.Rewriting != l.Kept || l.Kept.Records < kept {
		t.Errorf("%d records are buffered and %d are to be written again, the ledger says %d and %d kept",
			st.Buffered.Records, st.Rewriting.Records, b.Records, l.Kept.Records)
	}
	time.Sleep(3 * time.Second)
	set(false, true)
	time.Sleep(3 * time.Second)
	mustAppend(t, s, batch(int(s.Stats().Appended)+1, 1, 300))
	mustSeal(t, s)
	set(false, false)

	if len(left) < 20 {
		t.Fatalf("only %d operations", len(left))
	}
	for i, m := range left {
		again := memDir()
		again.fs = m
		s := again.open(t, Options{})
		if st := s.Stats(); st.Appended < kept || s.Ledger().Damaged.Records > 0 {
			t.Errorf("killed before %s %s: the log ends with record %d, %d were kept; %d are damaged",
				ops[i].Kind, ops[i].Path, st.Appended, kept, s.Ledger().Damaged.Records)
		}
		closeSpool(t, s)
	}
	t.Logf("%d kills", len(left))
}

// commitNow writes and syncs, as the flusher does when it is time.
func (s *Spool) commitNow() error {
	s.journal.mu.Lock()
	s.journal.acquire(&s.journal.syncer)
	s.journal.mu.Unlock()
	s.journal.writeOut()
	s.journal.sync()
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	s.journal.release(&s.journal.syncer)
	return s.journal.failed
}
