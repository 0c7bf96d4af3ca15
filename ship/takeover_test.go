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
	"github.com/penstock-go/penstock/spool/object"
)

// TestTakenOver: a copy of the volume is opened by another instance. It ends the epoch of the old owner before it begins its
// own. The old owner, which is alive after all, delivers the records that only it has under another identity.
func TestTakenOver(t *testing.T) {
	for _, reached := range []bool{true, false} {
		mem := shiptest.Memory()
		d := destinations{"s3": mem}
		b := newBench(t, d)
		if reached {
			b.segments(3, 10)
			b.ship(d)
			b.flush()
		}
		b.close()
		clone := filepath.Join(t.TempDir(), "clone")
		if err := os.CopyFS(clone, os.DirFS(b.dir)); err != nil {
			t.Fatal(err)
		}
		b2 := openBench(t, clone, d, "host-b")
		b2.segments(2, 10)
		b2.ship(d)
		b2.flush()
		chain := b2.audit(mem, 1, 2)
		closed := 0
		for _, m := range chain {
			if by := m.Footer.ClosedBy; by != nil && m.Header.Epoch == 1 && by.Instance == "host-b" && by.Epoch == 2 {
				closed++
			}
		}
		if closed != 1 {
			t.Errorf("reached %v: %d manifests close the old chain", reached, closed)
		}

		b1 := openBench(t, b.dir, d, "host-a")
		b1.ship(d)
		b1.segments(2, 11)
		b1.flush() // delivers the records that only it has, under an identity of its own
		one, err1 := b1.sp.Shelf().Chain("s3")
		two, err2 := b2.sp.Shelf().Chain("s3")
		if err1 != nil || err2 != nil || one.Spool == two.Spool || !object.Related(one.Spool, two.Spool) {
			t.Errorf("reached %v: the chains are %+v and %+v, %v, %v", reached, one, two, err1, err2)
		}
		before := 0
		if reached {
			before = 30
		}
		want(t, delivered(t, mem, false), numbered(0, before), numbered(before, 20), numbered(before, 22))
	}
}

// TestClaimAgain: at its second destination, an adopter has followed another adopter into that one's epoch, and has replaced
// it there. If it starts again and has to claim there, it has already begun the chain: it claims nothing, and does not loop.
func TestClaimAgain(t *testing.T) {
	idc, s3 := shiptest.Memory(), shiptest.Memory()
	d := destinations{"idc": idc, "s3": s3}
	dir, b := orphan(t, d, nil)
	sp, other := adopted(t, dir, t.TempDir(), destinations{"idc": shiptest.Memory(), "s3": shiptest.Faulty(s3, func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.Put && isData(c) {
			return shiptest.FailBefore(errors.New("down"))
		}
		return shiptest.Fault{}
	})})
	run := func(s *ship.Shipper, until func(context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		err := until(ctx)
		cancel()
		if err = errors.Join(err, <-done); err != nil {
			t.Fatal(err)
		}
	}
	run(other, func(ctx context.Context) error {
		for s3.Bytes(object.ManifestKey("vpn", b.sp.Stats().Spool, 2, 0)) == nil && ctx.Err() == nil {
			<-ship.Changed(other)
		}
		return ctx.Err()
	})
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	sp, s := adopted(t, dir, work, d, func(o *ship.Options) { o.OwnerTimeout = time.Millisecond })
	run(s, s.Flush)
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	before := len(s3.Keys())
	_, s = adopted(t, dir, work, d)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := ship.TakeOver(ctx, s, "s3"); err != nil {
		t.Error(err)
	}
	if n := len(s3.Keys()); n != before {
		t.Fatalf("%d manifests were written at the restart", n-before)
	}
	auditChain(t, s3, b.sp.Stats().Spool, b.next, 1, 2)
}

// TestStageBeforeRun: a Claim compares the spool's records with those in a chain. For that it may have to stage a segment
// before Run is called.
func TestStageBeforeRun(t *testing.T) {
	d := destinations{"s3": shiptest.Memory()}
	b := newBench(t, d)
	b.segments(1, 10)
	s, err := ship.New(b.sp, &ship.Options{Destinations: d})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := ship.Stage(t.Context(), s, b.sp.Shelf().Sealed(0, 1)[0].Number)
	if err != nil || rec.Records != 10 {
		t.Errorf("%+v, %v", rec, err)
	}
}
