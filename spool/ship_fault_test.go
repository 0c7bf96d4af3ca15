package spool_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
)

// TestFaultedShipping makes the disk refuse a single operation, each in turn, reads included: once without effect, and
// once with effect but with an error. The host keeps running and must recover by itself, without a restart, and with
// no record lost, duplicated or reported as damaged.
func TestFaultedShipping(t *testing.T) {
	for i, fault := range []error{syscall.EIO, syscall.EMFILE, &vfs.Fault{Err: syscall.EIO, Done: true}} {
		first, stride := 1+i, 12
		if *killAll {
			first, stride = 1, 1
		}
		n := 0
		for at := first; ; at += stride {
			var reached bool
			synctest.Test(t, func(t *testing.T) { reached = faultOnce(t, at, fault) })
			if !reached {
				break
			}
			n++
			if t.Failed() && !*killAll {
				return // the first one tells enough
			}
		}
		t.Logf("%d points of %v", n, fault)
	}
}

// TestUncertainProposal has each manifest that is proposed arrive on the disk, and the sync behind it fail.
func TestUncertainProposal(t *testing.T) {
	for at := 1; ; at++ {
		var reached bool
		proposed, n := false, 0
		synctest.Test(t, func(t *testing.T) {
			reached = faulted(t, syscall.EMFILE, func(op vfs.Op) bool {
				if op.Kind != vfs.OpSyncDir {
					proposed = op.Kind == vfs.OpRename && strings.Contains(op.Path, ".next.")
					return false
				}
				if proposed {
					n++
				}
				return proposed && n == at
			})
		})
		if !reached || t.Failed() {
			if at == 1 {
				t.Error("no manifest was proposed")
			}
			return
		}
	}
}

// faultOnce lets the given operation fail, and reports whether the host came to it.
func faultOnce(t *testing.T, at int, fault error) (reached bool) {
	n := 0
	return faulted(t, fault, func(vfs.Op) bool { n++; return n == at })
}

// faulted lets the operation that is chosen fail, and reports whether there was one.
func faulted(t *testing.T, fault error, choose func(vfs.Op) bool) (reached bool) {
	to := places{"idc": shiptest.Memory(), "s3": shiptest.Memory()}
	var where vfs.Op
	d := &death{host: spool.NewMemHost(), kinds: map[string]int{}, dead: make(chan struct{}), fault: func(op vfs.Op) error {
		if !choose(op) {
			return nil
		}
		where, reached = op, true
		if strings.HasSuffix(op.Path, "/frozen") {
			return nil // a mark that cannot be read is one, and only Thaw ends that
		}
		return fault
	}}
	kept, err := life(t.Context(), d, to, 3)
	if err != nil && kept == 0 {
		kept, err = life(t.Context(), d, to, 3) // it did not open, which is tried again
	}
	if errors.Is(err, errUnclean) {
		err = nil // it was said, and the next Open looks at everything
	}
	if err != nil {
		t.Errorf("%v of %s %s: %v", fault, where.Kind, where.Path, err)
		return reached
	}
	if !proven(t, to, kept, kept) {
		t.Errorf("%v of %s %s", fault, where.Kind, where.Path)
	}
	return reached
}
