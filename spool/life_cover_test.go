package spool

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
)

// TestBoundIsDurableFirst: while the life mark is written with a higher bound, another batch above the memory budget comes
// in. It is not accepted before the mark covers it, and in the end the file has the higher of the two bounds.
func TestBoundIsDurableFirst(t *testing.T) {
	for name, second := range map[string]int{"within the first bound": 1, "above it": 4} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := memDir()
				var armed atomic.Bool
				release := make(chan struct{})
				d.fs = gatedFS{d.fs, func(kind vfs.Kind, path string) error {
					if kind == vfs.OpRename && filepath.Base(path) == lifeName && armed.CompareAndSwap(true, false) {
						<-release
					}
					return nil
				}, nil}
				s := d.open(t, Options{})
				large := func(times int) {
					go func() {
						if _, err := s.Offer(t.Context(), batch(1, 2*times, minMemoryBytes)); err != nil {
							t.Error(err)
						}
					}()
				}
				armed.Store(true)
				large(1)
				synctest.Wait()
				large(second)
				synctest.Wait()
				if armed.Load() || s.Stats().Appended > 0 {
					t.Errorf("%d records were taken before the mark was written: %v", s.Stats().Appended, !armed.Load())
				}
				close(release)
				synctest.Wait()
				m := new(lifeMark)
				if err := loadState(d.fs, s.path(lifeName), 1<<20, 1, m); err != nil {
					t.Fatal(err)
				}
				if least := int64(2 * second * minMemoryBytes); m.AtMostBytes < least || s.Stats().Appended < uint64(2*second) {
					t.Errorf("the mark says %d bytes, and a batch had %d; %d records were taken", m.AtMostBytes, least, s.Stats().Appended)
				}
				closeSpool(t, s)
			})
		})
	}
}

// TestBoundOnHungDisk: the disk hangs in the write of a higher bound. Another batch that waits for it is not taken when its context
// ends, and whoever comes later is not kept waiting by that.
func TestBoundOnHungDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		var armed atomic.Bool
		release := make(chan struct{})
		d.fs = gatedFS{d.fs, func(kind vfs.Kind, path string) error {
			if kind == vfs.OpRename && filepath.Base(path) == lifeName && armed.CompareAndSwap(true, false) {
				<-release
			}
			return nil
		}, nil}
		s := d.open(t, Options{})
		defer closeSpool(t, s)
		armed.Store(true)
		large := func(ctx context.Context) error {
			_, err := s.Offer(ctx, batch(1, 2, minMemoryBytes))
			return err
		}
		first := make(chan error)
		go func() { first <- large(t.Context()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		second := make(chan error, 1)
		go func() { second <- large(ctx) }()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		select {
		case err := <-second:
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the second batch: %v", err)
			}
		default:
			t.Error("the second batch still waits after its context has ended")
		}
		close(release)
		if err := errors.Join(<-first, large(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// TestRefusedBoundIsTriedAgain: the disk refuses the mark with a higher bound. The batch is taken, and the next batch above the budget
// writes the mark, although the bound that is in memory covers it. The log has one line.
func TestRefusedBoundIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		var refuse atomic.Bool
		d.fs = vfs.Inject(d.fs, func(op vfs.Op) error {
			if refuse.Load() && op.Kind == vfs.OpRename && strings.HasPrefix(filepath.Base(op.Path), lifeName) {
				return syscall.EIO
			}
			return nil
		})
		var log bytes.Buffer
		s := d.open(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		defer closeSpool(t, s)
		const size = 2 * minMemoryBytes
		large := func(wantBound bool) {
			t.Helper()
			if _, err := s.Offer(t.Context(), batch(1, 2, minMemoryBytes)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			m := new(lifeMark)
			if err := loadState(d.fs, s.path(lifeName), 1<<20, 1, m); err != nil {
				t.Fatal(err)
			}
			if (m.AtMostBytes >= size) != wantBound {
				t.Errorf("the mark says %d bytes, and a batch had %d", m.AtMostBytes, size)
			}
		}
		refuse.Store(true)
		for range 3 {
			large(false)
			time.Sleep(2 * retryEvery)
		}
		if n := strings.Count(log.String(), "more than the memory budget"); n != 1 {
			t.Errorf("%d lines in the log:\n%s", n, &log)
		}
		refuse.Store(false)
		large(true)
	})
}
