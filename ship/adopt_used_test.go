package ship_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestAdoptAfterUse: an adopter has delivered a volume to one destination and not to the other when the owner comes back, uses the
// volume again, and dies. The adopter, which still has its own files, delivers what is new as well.
func TestAdoptAfterUse(t *testing.T) {
	for name, c := range map[string]struct {
		killed, more bool
	}{
		"closed": {false, false}, "killed": {true, false}, "closed, more segments": {false, true}, "killed, more segments": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			idc, s3 := shiptest.Memory(), shiptest.Memory()
			d := destinations{"idc": idc, "s3": s3}
			b := newBench(t, d)
			b.segments(3, 10)
			b.append(5)
			b.close()
			work := t.TempDir()
			sp, s := adopted(t, b.dir, work, destinations{"s3": s3, "idc": shiptest.Faulty(idc, func(c shiptest.Call) shiptest.Fault {
				if c.Op == shiptest.Put && isData(c) {
					return shiptest.FailBefore(errors.New("down"))
				}
				return shiptest.Fault{}
			})})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			for s.Stats()["s3"].Pending.Records > 0 && ctx.Err() == nil {
				<-ship.Changed(s)
			}
			cancel()
			if err := errors.Join(<-done, sp.Close()); err != nil {
				t.Fatal(err)
			}

			owner := openBench(t, b.dir, d, "host-a")
			owner.append(7)
			if c.more {
				owner.segments(2, 10)
			}
			dir := b.dir
			if c.killed {
				dir = filepath.Join(t.TempDir(), "killed")
				if err := os.CopyFS(dir, os.DirFS(b.dir)); err != nil {
					t.Fatal(err)
				}
			}
			owner.close()

			again, s := adopted(t, dir, work, d, func(o *ship.Options) { o.OwnerTimeout = time.Millisecond })
			if err := complete(t, s, d); err != nil {
				t.Fatal(err)
			}
			if err := again.Shelf().MarkAdopted(); err != nil {
				t.Error(err)
			}
			for _, at := range d {
				want(t, delivered(t, at, false), numbered(0, owner.next))
			}
		})
	}
}
