package ship_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// fileDestinations are two directories below dir.
func fileDestinations(t testing.TB, dir string) destinations {
	t.Helper()
	d := destinations{}
	for _, name := range []string{"idc", "s3"} {
		f, err := fileship.New(filepath.Join(dir, name), nil)
		if err != nil {
			t.Fatal(err)
		}
		d[name] = f
	}
	return d
}

const (
	crashDir   = "PENSTOCK_TEST_CRASH_DIR"
	crashPoint = "PENSTOCK_TEST_CRASH_POINT"
	crashed    = 9
)

// TestCrash ends the process before or after the k-th Put of any destination, for rising k: data, manifests and final
// manifests. Each process first keeps 20 more records. In the end everything is delivered once, whatever was repeated.
func TestCrash(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(t, dir)
		return
	}
	dir := t.TempDir()
	processes := 0
	for k := 1; ; k += 1 + k/6 {
		processes++
		cmd := exec.Command(os.Args[0], "-test.run=^TestCrash$")
		cmd.Env = append(os.Environ(), crashDir+"="+dir, crashPoint+"="+strconv.Itoa(k))
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Logf("%d processes were ended", processes-1)
			// If a process ended between the two final manifests, its successor begins a new epoch.
			var epochs []uint32
			for e := range uint32(processes) {
				epochs = append(epochs, e+1)
			}
			for _, d := range fileDestinations(t, dir) {
				chain := auditChain(t, d, onlySpool(t, dir), 20*processes, epochs...)
				if !chain[len(chain)-1].Footer.Final {
					t.Error("the last manifest is not final")
				}
			}
			return
		}
		if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != crashed {
			t.Fatalf("process %d: %v\n%s", processes, err, out)
		}
		if k > 200 {
			t.Fatal("it never gets done")
		}
	}
}

func crashChild(t *testing.T, dir string) {
	point, err := strconv.ParseInt(os.Getenv(crashPoint), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	var passed atomic.Int64
	die := func(context.Context) error {
		if passed.Add(1) == point {
			os.Exit(crashed)
		}
		return nil
	}
	d := fileDestinations(t, dir)
	for name := range d {
		d[name] = shiptest.Faulty(d[name], func(c shiptest.Call) shiptest.Fault {
			if c.Op != shiptest.Put {
				return shiptest.Fault{}
			}
			return shiptest.Fault{Before: die, After: die}
		})
	}
	b := openBench(t, filepath.Join(dir, "spool"), d, "host-a")
	b.segments(2, 10)
	b.ship(d, quick)
	b.flush()
	for name := range d {
		if err := b.s.Finalize(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
}

// onlySpool returns the id of the only spool at both destinations.
func onlySpool(t *testing.T, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*", "_manifest", "vpn", "*"))
	if err != nil || len(found) != 2 || filepath.Base(found[0]) != filepath.Base(found[1]) {
		t.Fatalf("%q, %v", found, err)
	}
	return filepath.Base(found[0])
}

// TestProposedUnchanged: a manifest that may have arrived is sent again unchanged, although it could cover more by now.
func TestProposedUnchanged(t *testing.T) {
	mem := shiptest.Memory()
	lost := make(chan []byte, 100)
	// The destination stores no manifest but the first one, and records what was sent to it.
	f := spy{shiptest.Faulty(mem, nil), lost}
	b := newBench(t, destinations{"s3": f})
	b.segments(1, 10)
	b.ship(destinations{"s3": f}, quick)
	first := <-lost
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b.segments(3, 10)
	b.close()

	d := destinations{"s3": mem}
	b2 := openBench(t, b.dir, d, "host-a")
	b2.ship(d)
	b2.flush()
	b2.audit(mem)
	if got := mem.Bytes(object.ManifestKey("vpn", b2.sp.Stats().Spool, 1, 1)); string(got) != string(first) {
		t.Errorf("manifest 1 was first sent as\n%s\nand then as\n%s", first, got)
	}
}

// TestProposedDamaged: the proposed manifest, which may have arrived, cannot be read on this disk any more. The destination
// shows whether it has arrived; no operator needs to look into the spool.
func TestProposedDamaged(t *testing.T) {
	for _, arrived := range []bool{false, true} {
		mem := shiptest.Memory()
		lost := make(chan []byte, 100)
		f := spy{mem, lost}
		b := newBench(t, destinations{"s3": f})
		b.segments(1, 10)
		b.ship(destinations{"s3": f}, quick)
		first := <-lost
		if err := b.stop(); err != nil {
			t.Fatal(err)
		}
		b.segments(3, 10)
		b.close()
		key := object.ManifestKey("vpn", b.sp.Stats().Spool, 1, 1)
		if arrived {
			o := ship.BytesObject(key, b.sp.Stats().Spool, first)
			if _, err := mem.Put(t.Context(), o, io.NewSectionReader(bytes.NewReader(first), 0, o.Size)); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(b.dir, "chain", "s3.next")
		next, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		next[len(next)/2] ^= 1
		if err := os.WriteFile(path, next, 0o600); err != nil {
			t.Fatal(err)
		}
		d := destinations{"s3": mem}
		b2 := openBench(t, b.dir, d, "host-a")
		b2.ship(d)
		b2.flush()
		b2.audit(mem)
		if got := mem.Bytes(key); arrived && !bytes.Equal(got, first) {
			t.Errorf("manifest 1 arrived as\n%s\nand is\n%s", first, got)
		}
	}
}

type spy struct {
	ship.Destination
	lost chan<- []byte
}

func (s spy) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	if filepath.Base(o.Key) != "000000000001.jsonl" {
		return s.Destination.Put(ctx, o, body)
	}
	b, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
	select {
	case s.lost <- b:
	default:
	}
	return ship.Receipt{}, errors.Join(err, errors.New("lost on the way"))
}

// TestClone: a copy of the volume is in use elsewhere, under the same instance name. Each delivers what only it has, and
// changes nothing that the other one has delivered.
func TestClone(t *testing.T) {
	for _, before := range []int{0, 3} {
		t.Run(fmt.Sprint(before, " segments before"), func(t *testing.T) {
			mem := shiptest.Memory()
			d := destinations{"s3": mem}
			b := newBench(t, d)
			b.segments(before, 10)
			b.ship(d)
			b.flush()
			b.close()
			clone := filepath.Join(t.TempDir(), "clone")
			if err := os.CopyFS(clone, os.DirFS(b.dir)); err != nil {
				t.Fatal(err)
			}

			b1 := openBench(t, b.dir, d, "host-a")
			b1.ship(d)
			b1.segments(5, 10)
			b1.flush()

			b2 := openBench(t, clone, d, "host-a")
			b2.ship(d)
			b2.segments(2, 11)
			b2.flush()
			b1.segments(5, 10)
			b1.flush()
			b1.stop()
			b2.stop()
			want(t, delivered(t, mem, false), numbered(0, 10*before+100), numbered(10*before, 22))
			for m, err := range ship.ReadChain(t.Context(), mem, "vpn", b1.sp.Stats().Spool, 1) {
				if err != nil {
					t.Fatal(err)
				}
				for _, line := range m.Segments {
					content(t, mem, line)
				}
			}
		})
	}
}

// TestEpochs: another instance, and an Open after a final manifest, begin a new epoch that is linked to the previous one.
func TestEpochs(t *testing.T) {
	mem := shiptest.Memory()
	d := destinations{"s3": mem}
	b := newBench(t, d)
	b.segments(3, 10)
	b.ship(d)
	b.flush()
	b.segments(1, 10) // owed when the instance changes
	b.close()

	b = openBench(t, b.dir, d, "host-b")
	b.segments(2, 10)
	b.ship(d)
	b.flush()
	if err := b.s.Finalize(t.Context(), "s3"); err != nil {
		t.Fatal(err)
	}
	b.audit(mem, 1, 2)
	b.close()

	b = openBench(t, b.dir, d, "host-b")
	b.segments(2, 10)
	b.ship(d)
	b.flush()
	chain := b.audit(mem, 1, 2, 3)
	if last := chain[len(chain)-1]; last.Header.Epoch != 3 || last.Header.Instance != "host-b" {
		t.Errorf("%+v", last.Header)
	}
}

// TestJoined: a destination that is added later is owed the records that are still in the spool, and its chain states the
// first of them.
func TestJoined(t *testing.T) {
	old, young := shiptest.Memory(), shiptest.Memory()
	d := destinations{"s3": old}
	b := newBench(t, d)
	b.segments(3, 10)
	b.ship(d)
	b.flush()
	b.until("it is deleted", func() bool { return b.sp.Stats().Segments == 0 })
	b.close()

	d["idc"] = young
	b = openBench(t, b.dir, d, "host-a")
	b.segments(2, 10)
	b.ship(d)
	b.flush()
	b.audit(old)
	n := uint64(30)
	for m, err := range ship.ReadChain(t.Context(), young, "vpn", b.sp.Stats().Spool, 1) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Header.Joined != 31 || m.Header.PrevLast != n {
			t.Errorf("%+v, want joined 31 and prev_last %d", m.Header, n)
		}
		n = m.Footer.Last
	}
	if n != 50 {
		t.Errorf("the chain ends at %d", n)
	}
	for name := range d {
		if err := b.s.Finalize(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestChainStateLost: the spool has lost the state of a chain. It finds its own manifests again, and no others, and continues
// in the next epoch.
func TestChainStateLost(t *testing.T) {
	mem := shiptest.Memory()
	other := shiptest.Faulty(shiptest.Memory(), func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(errors.New("down")) })
	d := destinations{"s3": mem, "idc": other} // it keeps the segments in the spool
	b := newBench(t, d)
	b.segments(3, 10)
	b.ship(d)
	b.until("s3 has it", func() bool { return b.s.Stats()["s3"].PendingSegments == 0 })
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	before := b.audit(mem)
	b.segments(3, 10)
	b.close()
	states, err := filepath.Glob(filepath.Join(b.dir, "*", "s3.*"))
	if err != nil || len(states) == 0 {
		t.Fatal("no chain state found to lose: the test is void")
	}
	for _, path := range states {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	b = openBench(t, b.dir, d, "host-a")
	b.ship(d)
	b.until("s3 has it", func() bool { return b.s.Stats()["s3"].PendingSegments == 0 })
	after := b.audit(mem, 1, 2) // whether the first was over is not known
	if len(after) <= len(before) || after[len(before)-1].Hash != before[len(before)-1].Hash {
		t.Errorf("%d manifests before, %d after", len(before), len(after))
	}
}

// TestChainStateDamaged: the state of the only destination's chain cannot be read, and every segment that it covers has been
// deleted. The chain continues from its end at the destination.
func TestChainStateDamaged(t *testing.T) {
	mem := shiptest.Memory()
	d := destinations{"s3": mem}
	b := newBench(t, d)
	b.segments(3, 10)
	b.ship(d)
	b.until("s3 has it", func() bool { return b.sp.Stats().Segments == 0 })
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	before := b.audit(mem)
	b.close()
	path := filepath.Join(b.dir, "chain", "s3.json")
	state, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	state[len(state)/2] ^= 1
	if err := os.WriteFile(path, state, 0o600); err != nil {
		t.Fatal(err)
	}
	b = openBench(t, b.dir, d, "host-a")
	b.segments(2, 10)
	b.ship(d)
	b.until("s3 has it", func() bool { return b.sp.Stats().Segments == 0 })
	after := b.audit(mem, 1, 2) // whether the first was over is not known
	if len(after) <= len(before) || after[len(before)-1].Hash != before[len(before)-1].Hash {
		t.Errorf("%d manifests before, %d after", len(before), len(after))
	}
	if l := b.sp.Ledger(); l.Destinations["s3"].Tally != l.Kept || l.Damaged.Records != 0 {
		t.Errorf("ledger: delivered %+v, damaged %+v, kept %+v", l.Destinations["s3"], l.Damaged, l.Kept)
	}
}

// TestForeignBirth: the object under the first number decides whose chain it is. If it cannot be read, the chain is begun
// anyway.
func TestForeignBirth(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*ship.Manifest)
		plan   shiptest.Plan
		fenced bool // the chain is another owner's
		others bool // it was, long ago
		// unproven: it is not known whether there is another owner
		unproven bool
	}{
		{name: "nothing there"},
		{name: "our own", change: func(*ship.Manifest) {}},
		{name: "another instance's", change: func(m *ship.Manifest) { m.Header.Instance = "host-z" }},
		{name: "for another destination", change: func(m *ship.Manifest) { m.Header.Destination = "idc" }, fenced: true},
		{name: "taken over", change: func(m *ship.Manifest) { m.Footer.ClosedBy = &ship.Owner{Instance: "host-z", Epoch: 2} }, others: true},
		{name: "of segments that are not here", change: func(m *ship.Manifest) {
			m.Segments = []ship.SegmentLine{{Segment: 1, First: 1, Last: 1, Gaps: []segment.Range{{First: 1, Last: 1}}}}
			m.Footer.Segment, m.Footer.Last = 1, 1
		}, fenced: true},
		{name: "forbidden to look", plan: func(c shiptest.Call) shiptest.Fault {
			if c.Op == shiptest.Open {
				return shiptest.FailBefore(ship.Permanent(errors.New("403")))
			}
			return shiptest.Fault{}
		}},
		{name: "forbidden to look at another's", change: func(m *ship.Manifest) { m.Header.Instance = "host-z" }, plan: func(c shiptest.Call) shiptest.Fault {
			if c.Op == shiptest.Open {
				return shiptest.FailBefore(ship.Permanent(errors.New("403")))
			}
			return shiptest.Fault{}
		}, unproven: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem := shiptest.Memory()
			d := destinations{"s3": shiptest.Faulty(mem, c.plan)}
			b := newBench(t, d)
			if c.change != nil {
				m := &ship.Manifest{Header: ship.ManifestHeader{
					Class: "vpn", Spool: b.sp.Stats().Spool, Epoch: 1, Prev: strings.Repeat("0", 64), Instance: "host-a", Destination: "s3",
				}}
				c.change(m)
				body, err := m.Encode()
				if err != nil {
					t.Fatal(err)
				}
				mem.Set(object.ManifestKey("vpn", m.Header.Spool, 1, 0), body)
			}
			b.segments(1, 10)
			b.ship(d, quick)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if c.unproven {
				b.until("it is parked", func() bool { return b.s.Stats()["s3"].State == ship.StateParked })
				return
			}
			id := b.sp.Stats().Spool
			if err := b.s.Flush(ctx); err != nil {
				t.Errorf("Flush: %v", err)
			}
			if chain, err := b.sp.Shelf().Chain("s3"); err != nil || (chain.Spool != id) != c.fenced {
				t.Errorf("under another identity: %+v, %v", chain, err)
			}
			if !c.fenced && !c.others {
				b.audit(mem)
			}
		})
	}
}
