package spool

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
)

// TestFaults lets each operation that changes something fail once, and the disk fail for good from it on.
func TestFaults(t *testing.T) {
	for i, kind := range []struct {
		name string
		err  error
		from bool
	}{
		{"EIO once", syscall.EIO, false},
		{"ENOSPC once", syscall.ENOSPC, false},
		{"EIO from then on", syscall.EIO, true},
		{"ENOSPC from then on", syscall.ENOSPC, true},
	} {
		for _, policy := range []SyncPolicy{SyncAlways, SyncInterval} {
			t.Run(fmt.Sprintf("%s, policy %d", kind.name, policy), func(t *testing.T) {
				t.Parallel()
				first, step := 1, 1
				if !*sweepAll {
					first, step = 1+4*i+2*int(policy), 16
				}
				for n := first; ; n += step {
					reached := false
					synctest.Test(t, func(t *testing.T) { // a disk that fails is tried again each second
						reached = faultAt(t, n, kind.err, kind.from, policy)
					})
					if !reached || t.Failed() {
						t.Logf("%d operations", n)
						return
					}
				}
			})
		}
	}
}

// faultAt runs the script with a fault at operation n, and reports whether it came that far.
func faultAt(t *testing.T, n int, fault error, from bool, policy SyncPolicy) bool {
	o := Options{Sync: policy, Destinations: []string{"a", "b"}, SyncInterval: time.Millisecond}
	w := newWorld(o)
	hook := vfs.FailAt(n, fault)
	if from {
		hook, _ = vfs.FailFrom(n, fault)
	}
	var reached atomic.Bool
	var op atomic.Value
	fsys := vfs.Inject(w.mem, func(o vfs.Op) error {
		if o.N == n && o.Kind.Mutates() {
			reached.Store(true)
			op.Store(fmt.Sprint(o.Kind, " ", o.Path))
		}
		return hook(o)
	})
	// Nothing may hang: a call that waits for the disk ends with the context.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if from {
		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
	}
	w.opts.Logger = slog.New(slog.DiscardHandler)
	err := w.script(ctx, fsys, 2)
	promised := w.kept
	if from {
		promised = w.durable
	}
	k := w.clone(vfs.Crash{Data: vfs.DataKept, Names: vfs.NamesKept}, index.Fate{})
	k.closed = false
	if verr := k.verify(t, promised); verr != nil {
		t.Errorf("operation %d (%v) fails with %v; the script ended with: %v; afterwards: %v", n, op.Load(), fault, err, verr)
	}
	return reached.Load()
}
