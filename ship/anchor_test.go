package ship_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/fileship"
)

// TestNotMounted: a process starts while the destination's volume is not mounted. Nothing is delivered to the directory below
// the mount point, neither in the middle of a chain nor after a final manifest. Everything is delivered once the volume is
// mounted.
func TestNotMounted(t *testing.T) {
	for _, final := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "idc")
		idc, err := fileship.New(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		d := destinations{"idc": idc}
		b := newBench(t, d)
		b.segments(3, 10)
		b.ship(d)
		b.flush()
		epochs := []uint32{1}
		if final {
			if err := b.s.Finalize(t.Context(), "idc"); err != nil {
				t.Fatal(err)
			}
			epochs = append(epochs, 2)
		}
		b.close()
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}

		b = openBench(t, b.dir, d, "host-a")
		b.segments(2, 10)
		b.ship(d)
		b.until("it is told", func() bool {
			st := b.s.Stats()["idc"]
			return st.State == ship.StateParked && strings.Contains(st.Err.Error(), "mounted")
		})
		if n := b.s.Stats()["idc"].Delivered.Records; n != 30 {
			t.Errorf("final %v: %d records are said to be delivered", final, n)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(dir+".away", dir); err != nil {
			t.Fatal(err)
		}
		b.flush()
		b.audit(idc, epochs...)
	}
}
