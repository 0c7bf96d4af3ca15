package ship_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestVerifyLeftChain: a copy of the volume has continued the chain, with a record of its own in the same segment, and the
// original has nothing that the chain does not contain. The original verifies what the chain has, and finds nothing wrong.
func TestVerifyLeftChain(t *testing.T) {
	s3 := shiptest.Memory()
	d := destinations{"s3": s3}
	b := newBench(t, d)
	b.ship(d, quick) // begins the chain
	b.flush()
	b.append(5)
	if err := b.sp.WaitDurable(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b.close()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(b.dir)); err != nil {
		t.Fatal(err)
	}
	other := openBench(t, copied, d, "host-b")
	other.append(1)
	other.segments(1, 1)
	other.end(d)

	b = openBench(t, b.dir, d, "host-a")
	b.freeze()
	if err := b.sp.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.ship(d, quick)
	b.flush()
	if found, err := b.s.Verify(t.Context()); err != nil || len(found["s3"].Mismatches) > 0 {
		t.Errorf("%+v, %v", found, err)
	}
	want(t, delivered(t, s3, false), numbered(0, 7))
}

// TestVerifyLeftChainAsks: Verify asks about segments that this spool delivered before another owner's records followed in
// the chain, although the chain was left.
func TestVerifyLeftChainAsks(t *testing.T) {
	for _, gone := range []bool{false, true} {
		s3 := shiptest.Memory()
		d := destinations{"s3": s3}
		b := newBench(t, d)
		b.freeze()
		b.segments(2, 5)
		b.ship(d, quick)
		b.flush()
		b.close()
		object := lines(auditChain(t, s3, b.sp.Stats().Spool, 10))[0].Key
		copied := t.TempDir()
		if err := os.CopyFS(copied, os.DirFS(b.dir)); err != nil {
			t.Fatal(err)
		}
		other := openBench(t, copied, d, "host-b")
		other.next = 100
		other.segments(1, 1)
		other.ship(d, quick)
		other.flush()
		other.close()

		b = openBench(t, b.dir, d, "host-a")
		b.ship(d, quick)
		b.until("the chain is left", func() bool { return b.s.Stats()["s3"].Chain.Left })
		if gone {
			s3.Remove(object)
		}
		found, err := b.s.Verify(t.Context())
		if v := found["s3"]; errors.Is(err, ship.ErrVerify) != gone || len(v.Mismatches) > 1 || !gone && v.Objects != 2 {
			t.Errorf("gone %v: %+v, %v", gone, v, err)
		}
		b.close()
	}
}

// TestVerifyWhereTheChainWasLeft: another owner has delivered a segment that both have and one that only it has, and states them in one
// manifest. The chain is left there, and the segment that both have is asked about.
func TestVerifyWhereTheChainWasLeft(t *testing.T) {
	for _, gone := range []bool{false, true} {
		s3 := shiptest.Memory()
		d := destinations{"s3": s3}
		b := newBench(t, d)
		b.freeze()
		b.segments(1, 5)
		b.close()
		copied := t.TempDir()
		if err := os.CopyFS(copied, os.DirFS(b.dir)); err != nil {
			t.Fatal(err)
		}
		other := openBench(t, copied, d, "host-b")
		other.next = 100
		other.segments(1, 1)
		other.ship(d, quick)
		other.flush()
		other.close()

		b = openBench(t, b.dir, d, "host-a")
		b.ship(d, quick)
		b.until("the chain is left", func() bool { return b.s.Stats()["s3"].Chain.Left })
		if c := b.s.Stats()["s3"].Chain; c.Segment != 1 {
			t.Fatalf("it was left after segment %d", c.Segment)
		}
		if gone {
			s3.Remove(linesOf(t, s3, 1, 5)[0].Key)
		}
		found, err := b.s.Verify(t.Context())
		if v := found["s3"]; errors.Is(err, ship.ErrVerify) != gone || !gone && v.Objects != 1 {
			t.Errorf("gone %v: %+v, %v", gone, v, err)
		}
		b.close()
	}
}

// TestLostStateOfALaterIdentity: the state of a chain that continues under another identity is lost. The chain of that
// identity does not list what the previous one contains, and still nothing is delivered again.
func TestLostStateOfALaterIdentity(t *testing.T) {
	s3, idc := shiptest.Memory(), shiptest.Memory()
	down := shiptest.Faulty(idc, func(c shiptest.Call) shiptest.Fault { return shiptest.FailBefore(errors.New("down")) })
	d := destinations{"s3": s3, "idc": down} // it keeps the segments in the spool
	b := newBench(t, d)
	b.ship(d, quick)
	b.segments(2, 5)
	b.until("s3 has it", func() bool { return b.s.Stats()["s3"].PendingSegments == 0 })
	b.append(5)
	b.close()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(b.dir)); err != nil {
		t.Fatal(err)
	}
	other := openBench(t, copied, d, "host-b")
	other.segments(1, 1)
	other.ship(d, quick)
	other.until("s3 has it", func() bool { return other.s.Stats()["s3"].PendingSegments == 0 })
	other.close()

	again := func() {
		b = openBench(t, b.dir, d, "host-a")
		b.next = 100 + 10*int(b.sp.Stats().Epoch) + b.next
		b.segments(1, 2)
		b.ship(d, quick)
		b.until("s3 has it", func() bool { return b.s.Stats()["s3"].PendingSegments == 0 })
		b.close()
	}
	again()
	if err := os.Remove(filepath.Join(b.dir, "chain", "s3.json")); err != nil {
		t.Fatal(err)
	}
	again()
	seen := map[string]bool{}
	for _, p := range delivered(t, s3, false) {
		if seen[p] {
			t.Errorf("%s is there twice", p)
		}
		seen[p] = true
	}
	if len(seen) != 15+1+2+2 {
		t.Errorf("%d records are there", len(seen))
	}
	l := b.sp.Ledger()
	if err := l.Balance(); err != nil {
		t.Error(err)
	}
}
