package spool

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
)

// kill returns the world as the death of the process leaves it: all writes are there, but no more of them are durable than before.
func (w *world) kill() *world {
	k := w.clone(vfs.Crash{}, index.Fate{})
	w.mu.Lock()
	defer w.mu.Unlock()
	k.mem, k.crashed = w.mem.KillClone(), true
	return k
}

// goOn is the life of the process after one that was killed. It promises all records that it finds.
func (w *world) goOn(ctx context.Context, fsys vfs.FS) error {
	o := w.opts
	s, err := open("/spool", fsys, w.index.Open, &o)
	if err != nil {
		return err
	}
	st := s.Stats()
	if st.Appended < w.kept {
		err = fmt.Errorf("the log ends with record %d, %d was kept", st.Appended, w.kept)
	}
	w.note(func() { w.kept, w.durable = st.Appended, st.Durable })
	n := int(st.Appended)
	for _, dest := range o.Destinations { // first of all what was proposed and may have arrived
		if _, perr := s.shelf.Proposed(dest); perr == nil && err == nil {
			err = w.ship(ctx, s, dest, 0)
		}
	}
	if err == nil {
		err = w.life(ctx, s, 1, &n)
	}
	return errors.Join(err, s.Close())
}

// TestKillsThenPowerCuts kills the process before an operation that changes something, and cuts the power while the next
// process works with the writes that it found, which may still be only in the kernel's page cache.
func TestKillsThenPowerCuts(t *testing.T) {
	t.Parallel()
	killStride, cutStride := 19, 11
	if *sweepAll {
		killStride, cutStride = 1, 1
	}
	w := newWorld(Options{Sync: SyncAlways, Destinations: []string{"a", "b"}, SyncInterval: time.Millisecond})
	cuts := 0
	hook := func(op vfs.Op) error {
		if !op.Kind.Mutates() || op.N%killStride != 0 {
			return nil
		}
		k := w.kill()
		var wg sync.WaitGroup
		room := make(chan struct{}, 2)
		err := k.goOn(t.Context(), vfs.Inject(k.mem, func(second vfs.Op) error {
			if !second.Kind.Mutates() || (second.N+op.N)%cutStride != 0 {
				return nil
			}
			c := vfs.Crash{Seed: uint64(op.N*1000 + second.N)}
			if (second.N+op.N)/cutStride%2 == 1 {
				c.Data, c.Names = vfs.DataMixed, vfs.NamesJournal
			}
			x := k.clone(c, index.Fate{})
			x.crashed = true
			cuts++
			room <- struct{}{}
			wg.Go(func() {
				defer func() { <-room }()
				if err := x.verify(t, x.durable); err != nil {
					t.Errorf("killed before operation %d (%s %s), power cut before %d (%s %s), %s: %v",
						op.N, op.Kind, op.Path, second.N, second.Kind, second.Path, c, err)
				}
			})
			return nil
		}))
		wg.Wait()
		if err != nil {
			t.Errorf("killed before operation %d (%s %s): %v", op.N, op.Kind, op.Path, err)
		}
		return nil
	}
	if err := w.script(t.Context(), vfs.Inject(w.mem, hook), 2); err != nil {
		t.Error(err)
	}
	t.Logf("%d power cuts", cuts)
}

// A sync that fails leaves pages in the kernel's memory that count as written. The next process reads them, and must not
// take them for durable because its own sync succeeds.
func TestFailedSyncIsNotBelievedByTheNextProcess(t *testing.T) {
	for _, sealing := range []bool{false, true} {
		w := newWorld(Options{Sync: SyncInterval, SyncInterval: time.Hour, Destinations: []string{"a", "b"}})
		var broken atomic.Bool
		fsys := vfs.Inject(w.mem, func(op vfs.Op) error {
			if broken.Load() && (op.Kind == vfs.OpSync || op.Kind == vfs.OpCreate) {
				return syscall.EIO
			}
			return nil
		})
		o := w.opts
		s, err := open("/spool", fsys, w.index.Open, &o)
		if err != nil {
			t.Fatal(err)
		}
		add := func(first int) {
			if _, err := s.Append(t.Context(), batch(first, 10, 300)); err != nil {
				t.Fatal(err)
			}
		}
		add(1)
		if err := s.WaitDurable(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		want := uint64(10)
		// With a spare there is a file for the records that could not be synced. It cannot be synced either, and is removed.
		for spare := false; !spare; runtime.Gosched() {
			s.journal.mu.Lock()
			spare = s.space.spare != nil
			s.journal.mu.Unlock()
		}
		if sealing {
			// The sync of the segment's blocks is over: the sync after the footer is the first to fail.
			broken.Store(true)
			if err := s.journal.endActive(0, false); err != nil {
				t.Fatal(err)
			}
		} else {
			add(11)
			want = 20
			broken.Store(true)
		}
		if err := s.Close(); err == nil && !sealing {
			t.Error("closed without an error")
		}
		w.mem = w.mem.KillClone()
		if s, err = open("/spool", w.mem, w.index.Open, &o); err != nil {
			t.Fatal(err)
		}
		if err := s.WaitDurable(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if err := w.ship(t.Context(), s, "a", 0); err != nil { // what is sealed; "b" still lacks it
			t.Fatal(err)
		}
		w = w.clone(vfs.Crash{}, index.Fate{})
		_ = s.Close()
		w.crashed = true
		if err := w.verify(t, want); err != nil {
			t.Errorf("sealing %v: %v", sealing, err)
		}
	}
}

// A manifest may be sent once Propose has returned nil, so it must survive a power cut then, even if an earlier attempt
// did everything but the last sync: if it were proposed again with other bytes, the spool would fence itself.
func TestProposedAgainIsDurable(t *testing.T) {
	w := newWorld(Options{Destinations: []string{"a"}})
	var broken atomic.Bool
	s, err := open("/spool", vfs.Inject(w.mem, func(op vfs.Op) error {
		if op.Kind == vfs.OpSyncDir && broken.Load() {
			return syscall.EIO
		}
		return nil
	}), w.index.Open, &w.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	broken.Store(true)
	if err := s.shelf.Propose("a", []byte("manifest"), false); err == nil {
		t.Fatal("proposed on a disk that is broken")
	}
	broken.Store(false)
	if err := s.shelf.Propose("a", []byte("manifest"), false); err != nil {
		t.Fatal(err)
	}
	k := w.clone(vfs.Crash{}, index.Fate{})
	again, err := open("/spool", k.mem, k.index.Open, &k.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if b, err := again.shelf.Proposed("a"); err != nil || string(b) != "manifest" {
		t.Errorf("after a power cut %q is proposed, %v", b, err)
	}
}
