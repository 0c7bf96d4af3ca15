package spool

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
)

// Another program fills the disk for a while, and the active segment ends in that time: then there are no writes, so
// only the spool itself can find out that there is room again.
func TestDiskThatWasFullOnce(t *testing.T) {
	for _, policy := range []FullPolicy{Block, Reject} {
		synctest.Test(t, func(t *testing.T) {
			mem := vfs.NewMem()
			mem.SetCapacity(64 << 20)
			d := memDir()
			d.fs = mem
			s := d.open(t, Options{OnFull: policy, Sync: SyncAlways, MaxBytes: 16 << 20, SegmentAge: 3 * time.Second, StageReserve: 1 << 20})
			defer s.Close()
			mustAppend(t, s, batch(1, 4, 400))
			mem.SetCapacity(1 << 20) // the other program
			time.Sleep(10 * time.Second)
			if st := s.Stats(); !st.Full {
				t.Error("the disk is full, and Stats do not say so")
			}
			done := make(chan error, 1)
			append4 := func() {
				_, err := s.Append(t.Context(), batch(5, 4, 400))
				done <- err
			}
			go append4()
			synctest.Wait()
			if policy == Reject {
				if err := <-done; !errors.Is(err, ErrFull) {
					t.Errorf("append to a full disk: %v", err)
				}
			}
			mem.SetCapacity(64 << 20)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if policy == Reject {
				go append4()
				synctest.Wait()
			}
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("append after the disk has room again: %v", err)
				}
			default:
				t.Error("the append still waits two seconds after the disk has room again")
			}
		})
	}
}

// The same without any append: a check whether the class is ready must notice the room, or no sender comes back.
func TestDiskThatWasFullOnceIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		mem.SetCapacity(64 << 20)
		d := memDir()
		d.fs = mem
		s := d.open(t, Options{Sync: SyncAlways, MaxBytes: 16 << 20, SegmentAge: 3 * time.Second, StageReserve: 1 << 20})
		defer s.Close()
		mustAppend(t, s, batch(1, 4, 400))
		mem.SetCapacity(1 << 20)
		time.Sleep(10 * time.Second)
		if !s.Stats().Full {
			t.Fatal("the disk is full, and Stats do not say so")
		}
		mem.SetCapacity(64 << 20)
		time.Sleep(2 * time.Second)
		if s.Stats().Full {
			t.Error("Stats say full two seconds after the disk has room again")
		}
	})
}

// Appends wait for the room of segments that every destination has, and the disk refuses for a while to let go of them.
// Nothing else happens that could wake the spool: it has to try again by itself.
func TestRoomOfWhatCannotBeDeletedAtOnce(t *testing.T) {
	for _, kind := range []vfs.Kind{vfs.OpRemove, vfs.OpSyncDir} {
		synctest.Test(t, func(t *testing.T) {
			d := memDir()
			var refuses atomic.Bool
			d.fs = vfs.Inject(d.fs, func(op vfs.Op) error {
				if refuses.Load() && op.Kind == kind && !strings.HasSuffix(op.Path, chainDir) {
					return syscall.EIO
				}
				return nil
			})
			s := d.open(t, fullOptions(Block))
			defer s.Close()
			n := fill(t, s)
			mustSeal(t, s)
			segs := s.shelf.Sealed(0, 0)
			refuses.Store(true)
			deliver(t, s, "a", segs[len(segs)-1].Number)
			time.Sleep(5 * time.Second)
			refuses.Store(false)
			time.Sleep(2 * time.Second)
			// All of it: what is lost at each such time is missing in the end.
			if st := s.Stats(); st.Segments != 0 || st.Used > poolFiles*minSegmentBytes {
				t.Errorf("%v: %d bytes are used by nothing", kind, st.Used)
			}
			if again := fill(t, s); again < n*9/10 {
				t.Errorf("%v: room for %d records, it was %d", kind, again, n)
			}
		})
	}
}
