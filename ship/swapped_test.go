package ship_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestChainFilesSwapped: the states of two chains, or the manifests that are proposed to them, are exchanged on disk. The
// state of each chain is reconstructed, and everything is delivered to both, once.
func TestChainFilesSwapped(t *testing.T) {
	for _, ext := range []string{".json", ".next"} {
		t.Run(ext, func(t *testing.T) {
			idc, s3 := shiptest.Memory(), shiptest.Memory()
			d := destinations{"idc": idc, "s3": s3}
			b := newBench(t, d)
			b.segments(2, 10)
			b.ship(d)
			b.flush()
			if err := b.stop(); err != nil {
				t.Fatal(err)
			}
			b.segments(2, 10)
			down := func(m *shiptest.MemoryDestination, manifests bool) *shiptest.FaultyDestination {
				return shiptest.Faulty(m, func(c shiptest.Call) shiptest.Fault {
					if c.Op == shiptest.Put && isData(c) != manifests {
						return shiptest.FailBefore(fmt.Errorf("down"))
					}
					return shiptest.Fault{}
				})
			}
			if ext == ".next" { // both propose a manifest that does not arrive
				b.ship(destinations{"idc": down(idc, true), "s3": down(s3, true)})
				path := func(name string) string { return filepath.Join(b.dir, "chain", name+".next") }
				b.until("proposed", func() bool {
					_, err := os.Stat(path("idc"))
					_, err2 := os.Stat(path("s3"))
					return errors.Join(err, err2) == nil
				})
			} else { // one chain is ahead
				b.ship(destinations{"idc": idc, "s3": down(s3, false)})
				b.until("idc is ahead", func() bool { return b.sp.Stats().Pending["idc"].Records == 0 })
			}
			b.close()
			dir := filepath.Join(b.dir, "chain")
			one, two, aside := filepath.Join(dir, "idc"+ext), filepath.Join(dir, "s3"+ext), filepath.Join(t.TempDir(), "aside")
			if err := errors.Join(os.Rename(one, aside), os.Rename(two, one), os.Rename(aside, two)); err != nil {
				t.Fatal(err)
			}
			b = openBench(t, b.dir, d, "host-a")
			b.segments(1, 10)
			b.ship(d, quick)
			b.flush()
			for name := range d {
				if err := b.s.Finalize(t.Context(), name); err != nil {
					t.Error(err)
				}
			}
			b.close()
			want(t, delivered(t, idc, true), numbered(0, 50))
			want(t, delivered(t, s3, true), numbered(0, 50))
		})
	}
}

// TestChainStateLostAfterTheEnd: the states of chains that have ended with a final manifest are gone. They are reconstructed,
// and later records follow in the next epoch.
func TestChainStateLostAfterTheEnd(t *testing.T) {
	for _, lost := range [][]string{{"idc"}, {"idc", "s3"}} {
		t.Run(fmt.Sprint(lost), func(t *testing.T) {
			idc, s3 := shiptest.Memory(), shiptest.Memory()
			d := destinations{"idc": idc, "s3": s3}
			b := newBench(t, d)
			b.segments(2, 10)
			b.end(d)
			for _, name := range lost {
				if err := os.Remove(filepath.Join(b.dir, "chain", name+".json")); err != nil {
					t.Fatal(err)
				}
			}
			b = openBench(t, b.dir, d, "host-a")
			b.segments(1, 10)
			b.end(d)
			for _, place := range d {
				want(t, delivered(t, place.(*shiptest.MemoryDestination), true), numbered(0, 30))
				auditChain(t, place, b.sp.Stats().Spool, 30, 1, 2)
			}
		})
	}
}

// TestOlderIdentity: spool.json is as it was two drains ago, and later records are delivered anyway.
func TestOlderIdentity(t *testing.T) {
	s3 := shiptest.Memory()
	d := destinations{"s3": s3}
	b := newBench(t, d)
	id := filepath.Join(b.dir, "spool.json")
	older, err := os.ReadFile(id)
	if err != nil {
		t.Fatal(err)
	}
	b.segments(1, 10)
	b.end(d)
	b = openBench(t, b.dir, d, "host-a")
	b.segments(1, 10)
	b.end(d)
	if err := os.WriteFile(id, older, 0o600); err != nil {
		t.Fatal(err)
	}
	b = openBench(t, b.dir, d, "host-a")
	b.segments(1, 10)
	b.end(d)
	want(t, delivered(t, s3, true), numbered(0, 30))
	auditChain(t, s3, b.sp.Stats().Spool, 30, 1, 2, 3)
}

// end delivers everything, finalizes and closes.
func (b *bench) end(d destinations) {
	b.t.Helper()
	b.ship(d, quick)
	b.flush()
	for name := range d {
		if err := b.s.Finalize(b.t.Context(), name); err != nil {
			b.t.Error(err)
		}
	}
	b.close()
}
