package ship_test

import (
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestDiskRefuses: the spool's own disk refuses a write that the chain needs, and accepts it later. The chain then continues
// without a restart.
func TestDiskRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		err   error
		fails func(vfs.Op) bool
		idle  bool // over a full hour, which the chain then states as passed
		times int  // -1: as long as it lasts
	}{
		"full while nothing comes in": {syscall.ENOSPC, func(op vfs.Op) bool { return op.Kind == vfs.OpWrite }, true, -1},
		"full while something does":   {syscall.ENOSPC, func(op vfs.Op) bool { return op.Kind == vfs.OpWrite }, false, -1},
		"manifest there, not durable": {syscall.EIO, func(op vfs.Op) bool { return op.Kind == vfs.OpSyncDir }, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				broken, refused := false, 0
				defer vfs.Interpose(func(op vfs.Op) error {
					mu.Lock()
					defer mu.Unlock()
					if chain := filepath.Join(dir, "chain"); broken && refused != tc.times && tc.fails(op) && strings.HasPrefix(op.Path, chain) {
						refused++
						return tc.err
					}
					return nil
				})()
				set := func(b bool) { mu.Lock(); defer mu.Unlock(); broken = b }
				d := destinations{"a": shiptest.Memory()}
				b := openBench(t, dir, d, "host-a")
				b.ship(d)
				b.segments(1, 10)
				b.flush()
				set(true)
				if !tc.idle {
					b.segments(1, 10)
				}
				time.Sleep(90 * time.Minute) // simulated
				set(false)
				b.segments(1, 10)
				b.flush()
				if refused == 0 {
					t.Error("the disk has refused nothing")
				}
				b.audit(d["a"], 1)
				b.close()
			})
		})
	}
}
