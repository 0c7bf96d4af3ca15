package ship_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestOutageOfThisHost: the disk of this host refuses the write that makes a delivery durable. The log does not blame the
// destination.
func TestOutageOfThisHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refuses atomic.Bool
		defer vfs.Interpose(func(op vfs.Op) error {
			if refuses.Load() && op.Kind != vfs.OpRead && strings.Contains(op.Path, "chain") {
				return syscall.EIO
			}
			return nil
		})()
		d := destinations{"idc": shiptest.Memory()}
		b := newBench(t, d)
		defer b.close()
		b.ship(d, bubble)
		b.segments(1, 10)
		b.flush()
		refuses.Store(true)
		b.segments(1, 10)
		time.Sleep(time.Minute)
		synctest.Wait()
		if blamed, here := b.lines("ship: destination"), b.lines("this host cannot write to the spool's disk"); len(here) == 0 || !strings.Contains(here[0], "operation=chain") {
			t.Errorf("the log says:\n%s%s", strings.Join(blamed, ""), b.log)
		} else if l := b.lines("ship: destination fails"); len(l) > 0 {
			t.Errorf("the log says %q", l)
		}
		refuses.Store(false)
		b.flush()
	})
}

// TestOwnerQuestionKeepsTrouble: an upload whose key a copy of the volume has taken reads the next manifest. That success
// must not clear the trouble of the chain itself.
func TestOwnerQuestionKeepsTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := shiptest.Memory()
		d := destinations{"idc": mem}
		b := newBench(t, d)
		defer b.close()
		var others strings.Builder
		for seq := 21; seq <= 30; seq++ {
			fmt.Fprintf(&others, `{"seq":%d,"ts":"2026-11-22T08:00:00.000000001Z","src":"192.0.2.7:514","data":"other","spool":"%s"}`+"\n", seq, b.sp.Stats().Spool)
		}
		f := shiptest.Faulty(mem, nil)
		b.ship(destinations{"idc": f}, bubble, uncompressed)
		b.segments(1, 10)
		b.flush()
		stored := 0
		f.SetPlan(func(c shiptest.Call) shiptest.Fault {
			switch {
			case c.Op != shiptest.Put:
			case !isData(c):
				return shiptest.FailBefore(ship.Permanent(errors.New("manifests are refused")))
			case strings.Contains(c.Key, "-0000000000000015-") && mem.Bytes(c.Key) == nil && stored == 0:
				mem.Set(c.Key, []byte(others.String()))
				stored++
			}
			return shiptest.Fault{}
		})
		b.segments(1, 10)
		b.until("parked", func() bool { return b.s.Stats()["idc"].State == ship.StateParked })
		b.segments(1, 10)
		b.until("stored", func() bool { return len(b.lines("storing the object under another key")) > 0 })
		synctest.Wait()
		if st := b.s.Stats()["idc"]; st.State != ship.StateParked || len(b.lines("works again")) > 0 {
			t.Errorf("the state is %s\n%s", st.State, b.log)
		}
		f.SetPlan(nil)
		b.flush()
	})
}
