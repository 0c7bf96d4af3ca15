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
	"github.com/penstock-go/penstock/spool/segment"
)

// An Append that waits for room on a full disk returns when the spool is closed.
func TestCloseOnFullDiskReleasesAppends(t *testing.T) {
	for _, policy := range []SyncPolicy{SyncAlways, SyncInterval} {
		synctest.Test(t, func(t *testing.T) {
			d := memDir()
			d.fs = vfs.Inject(d.fs, func(op vfs.Op) error {
				if op.Kind == vfs.OpWrite && strings.HasSuffix(op.Path, segExt) {
					return syscall.ENOSPC
				}
				return nil
			})
			s := d.open(t, Options{Sync: policy})
			results := make(chan error, 2)
			for range cap(results) {
				go func() {
					_, err := s.Append(t.Context(), batch(1, 10, 400))
					results <- err
				}()
				synctest.Wait() // the first one is in memory, the second at the door
			}
			if err := s.Close(); !errors.Is(err, ErrFailing) {
				t.Errorf("close: %v", err)
			}
			synctest.Wait()
			for range cap(results) {
				select {
				case err := <-results:
					if err == nil {
						t.Error("kept on a full disk")
					}
				default:
					t.Fatal("an Append never returns")
				}
			}
		})
	}
}

// On a disk that creates files but refuses to write them, like a thin volume without room, the number of files stays bounded,
// however long that lasts.
func TestFailingDiskDoesNotGatherFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		mem := d.fs
		var broken atomic.Bool
		written := map[string]bool{}
		d.fs = vfs.Inject(mem, func(op vfs.Op) error {
			switch {
			case op.Kind == vfs.OpWrite:
				written[op.Path] = true
			case op.Kind == vfs.OpCreate:
				delete(written, op.Path)
			case op.Kind == vfs.OpSync && broken.Load() && written[op.Path]:
				return syscall.EIO
			}
			return nil
		})
		s := d.open(t, Options{Sync: SyncAlways})
		defer s.Close()
		if _, err := s.Append(t.Context(), batch(1, 10, 400)); err != nil {
			t.Fatal(err)
		}
		broken.Store(true)
		if _, err := s.Append(t.Context(), batch(11, 10, 400)); !errors.Is(err, ErrFailing) {
			t.Fatalf("append: %v", err)
		}
		time.Sleep(time.Minute)
		entries, err := mem.ReadDir(s.path(segDir))
		if err != nil || len(entries) > 6 {
			t.Errorf("%d files after a minute, %v", len(entries), err)
		}
		broken.Store(false)
		time.Sleep(2 * retryEvery)
		if _, err := s.Append(t.Context(), batch(21, 10, 400)); err != nil {
			t.Fatal(err)
		}
		mustSeal(t, s)
		wantRecords(t, stageAll(t, s), 30, 400)
		balanced(t, s)
	})
}

// The counts that a listener reports each second do not accumulate in memory while the disk refuses writes.
func TestFailingDiskDoesNotGatherLedgers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		var broken atomic.Bool
		d.fs = vfs.Inject(d.fs, func(op vfs.Op) error {
			if broken.Load() && op.Kind.Mutates() {
				return syscall.EIO
			}
			return nil
		})
		s := d.open(t, Options{})
		defer s.Close()
		broken.Store(true)
		lost := segment.Loss{Records: 1, Bytes: 10}
		for range 60 {
			s.Intake().Account(segment.Account{
				Received: segment.Tally{Records: 1, Bytes: 10}, Lost: segment.Losses{segment.Malformed: lost},
			})
			time.Sleep(time.Second)
		}
		s.journal.mu.Lock()
		waits := s.journal.tail.unwritten
		s.journal.mu.Unlock()
		if waits > 4<<10 {
			t.Errorf("%d bytes wait", waits)
		}
		broken.Store(false)
		time.Sleep(3 * retryEvery)
		mustSeal(t, s)
		if segs := s.shelf.Sealed(0, 0); len(segs) != 1 || segs[0].Lost[segment.Malformed].Records != 60 {
			t.Errorf("sealed: %+v", segs)
		}
		balanced(t, s)
	})
}
