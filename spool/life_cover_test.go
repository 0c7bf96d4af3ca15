package spool

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"

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
