package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

func lastSegment(s *Spool) uint64 {
	segs := s.shelf.Sealed(0, 0)
	return segs[len(segs)-1].Number
}

func TestOwed(t *testing.T) {
	d := memDir()
	s := d.open(t, Options{Destinations: []string{"a", "b"}})
	mustAppend(t, s, batch(1, 10, 100))
	mustSeal(t, s)
	deliver(t, s, "a", lastSegment(s))
	closeSpool(t, s)

	_, err := d.tryOpen(t, Options{Destinations: []string{"a"}})
	if !errors.Is(err, ErrPending) || !strings.Contains(err.Error(), `"b" is owed 10 records, 1000 bytes`) {
		t.Fatalf("error %v", err)
	}
	s = d.open(t, Options{Destinations: []string{"a"}, Forget: []string{"b"}})
	until(t, s, "what was kept for b is deleted", func() bool { return s.Stats().Segments == 0 })
	if !s.Ledger().Destinations["b"].Forgotten {
		t.Error("the ledger does not say that b was forgotten")
	}
	balanced(t, s)
	closeSpool(t, s)

	// It stays forgotten, and later records are not pending for it.
	s = d.open(t, Options{Destinations: []string{"a"}})
	mustAppend(t, s, batch(11, 10, 100))
	mustSeal(t, s)
	n := lastSegment(s)
	deliver(t, s, "a", n)
	until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
	mustAppend(t, s, batch(21, 5, 100))
	mustSeal(t, s)
	closeSpool(t, s)

	// Back again, it is owed the records that are still in the spool.
	s = d.open(t, Options{Destinations: []string{"a", "b"}})
	c, err := s.shelf.Chain("b")
	if err != nil || c.Joined != 21 || c.Through != 20 || c.Segment != lastSegment(s)-1 {
		t.Fatalf("chain %+v, %v", c, err)
	}
	if p := s.Stats().Pending["b"]; p.Records != 5 {
		t.Fatalf("pending %+v", p)
	}
	closeSpool(t, s)
}

func TestNothingOwedNeedsNoForget(t *testing.T) {
	d := memDir()
	s := d.open(t, Options{Destinations: []string{"a", "b"}})
	mustAppend(t, s, batch(1, 10, 100))
	mustSeal(t, s)
	deliver(t, s, "a", lastSegment(s))
	deliver(t, s, "b", lastSegment(s))
	closeSpool(t, s)
	s = d.open(t, Options{Destinations: []string{"a"}})
	if p := s.Stats().Pending; len(p) != 1 {
		t.Fatalf("pending %+v", p)
	}
}

func TestJoin(t *testing.T) {
	d := memDir()
	s := d.open(t, Options{Destinations: []string{"a"}})
	for i := range 3 {
		mustAppend(t, s, batch(1+10*i, 10, 100))
		mustSeal(t, s)
	}
	segs := s.shelf.Sealed(0, 0)
	deliver(t, s, "a", segs[0].Number)
	until(t, s, "deleted", func() bool { return s.Stats().Segments == 2 })
	closeSpool(t, s)
	s = d.open(t, Options{Destinations: []string{"a", "c"}})
	c, err := s.shelf.Chain("c")
	if want := (Chain{Spool: s.Stats().Spool, Epoch: 1, Segment: segs[1].Number - 1, Through: 10, Joined: 11}); err != nil || c != want {
		t.Fatalf("chain %+v, %v; want %+v", c, err, want)
	}
	deliver(t, s, "c", segs[2].Number)
	balanced(t, s)
}

func TestUnknownDestination(t *testing.T) {
	s := memDir().open(t, Options{})
	for _, err := range []error{
		func() error { _, err := s.shelf.Chain("x"); return err }(),
		func() error { _, err := s.shelf.Proposed("x"); return err }(),
		s.shelf.Propose("x", []byte("m"), false),
		s.shelf.Ack("x", Chain{}),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	}
}

func TestAckRefused(t *testing.T) {
	s := memDir().open(t, Options{Destinations: []string{"a"}})
	mustAppend(t, s, batch(1, 10, 100))
	mustSeal(t, s)
	old, _ := s.shelf.Chain("a")
	if err := s.shelf.Ack("a", Chain{Epoch: 1, Next: 1}); err == nil {
		t.Fatal("acknowledged what was not proposed")
	}
	m := []byte("a manifest")
	if err := s.shelf.Propose("a", m, false); err != nil {
		t.Fatal(err)
	}
	if err := s.shelf.Propose("a", m, false); err != nil {
		t.Fatalf("the same again: %v", err)
	}
	if err := s.shelf.Propose("a", []byte("another"), false); err == nil {
		t.Fatal("another manifest was proposed while one is under way")
	}
	if got, err := s.shelf.Proposed("a"); err != nil || !slices.Equal(got, m) {
		t.Fatalf("proposed %q, %v", got, err)
	}
	good := old
	good.Next, good.Hash, good.Segment, good.Through = 1, sha(m), 1, 10
	for what, bad := range map[string]func(c *Chain){
		"hash":            func(c *Chain) { c.Hash[0]++ },
		"number":          func(c *Chain) { c.Next++ },
		"epoch":           func(c *Chain) { c.Epoch++ },
		"joined":          func(c *Chain) { c.Joined++ },
		"unknown segment": func(c *Chain) { c.Segment++ },
		"through":         func(c *Chain) { c.Through-- },
		"through alone":   func(c *Chain) { c.Segment = 0 },
	} {
		c := good
		bad(&c)
		if err := s.shelf.Ack("a", c); err == nil {
			t.Errorf("acknowledged a state with a wrong %s", what)
		}
	}
	for range 2 { // the second time it is true already
		if err := s.shelf.Ack("a", good); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.shelf.Proposed("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("still proposed: %v", err)
	}
}

func TestEpochs(t *testing.T) {
	d := memDir()
	dests := []string{"a", "b"}
	s := d.open(t, Options{Destinations: dests})
	mustAppend(t, s, batch(1, 10, 100))
	hash := sha([]byte("under way"))
	if err := s.shelf.Propose("b", []byte("under way"), false); err != nil {
		t.Fatal(err)
	}
	closeSpool(t, s)

	// Another instance: the active segment is sealed under the epoch in which it was written.
	s = d.open(t, Options{Destinations: dests, Instance: "there"})
	segs := s.shelf.Sealed(0, 0)
	if st := s.Stats(); st.Epoch != 2 || len(segs) != 1 || segs[0].Epoch != 1 || segs[0].Last != 10 {
		t.Fatalf("epoch %d, segments %+v", st.Epoch, segs)
	}
	rec, err := s.shelf.Stage(t.Context(), segs[0].Number, lineEncoder{})
	if err != nil || !strings.Contains(rec.Key, "-000001-0000000000000001-000000000000000a.txt") {
		t.Fatalf("%+v, %v", rec, err)
	}
	// The old chain continues until it is closed, and the new one follows it.
	c, _ := s.shelf.Chain("b")
	if c.Epoch != 1 || c.Next != 0 {
		t.Fatalf("chain of b %+v", c)
	}
	c.Next, c.Hash = 1, hash
	if err := s.shelf.Ack("b", c); err != nil {
		t.Fatal(err)
	}
	if c, _ = s.shelf.Chain("b"); c.Epoch != 1 || c.Next != 1 {
		t.Fatalf("chain of b %+v", c)
	}
	finish := func(dest string, c Chain, closedBy uint32) {
		m := fmt.Appendf(nil, "final %d", c.Epoch)
		if err := s.shelf.Propose(dest, m, true); err != nil {
			t.Fatal(err)
		}
		c.Next, c.Hash, c.Final, c.ClosedBy = c.Next+1, sha(m), true, closedBy
		if err := s.shelf.Ack(dest, c); err != nil {
			t.Fatal(err)
		}
	}
	finish("b", c, 2)
	if c, _ := s.shelf.Chain("b"); c.Epoch != 2 || c.Next != 0 || c.Hash != sha([]byte("final 1")) || c.Final {
		t.Fatalf("chain of b %+v", c)
	}
	closeSpool(t, s)

	// A chain that was closed is followed by a new epoch.
	s = d.open(t, Options{Destinations: dests, Instance: "there"})
	if st := s.Stats(); st.Epoch != 2 {
		t.Fatalf("epoch %d", st.Epoch)
	}
	c, _ = s.shelf.Chain("b")
	finish("b", c, 0)
	if c, _ = s.shelf.Chain("b"); c.Epoch != 2 || !c.Final {
		t.Fatalf("chain of b %+v", c)
	}
	closeSpool(t, s)
	s = d.open(t, Options{Destinations: dests, Instance: "there"})
	if c, _ := s.shelf.Chain("b"); s.Stats().Epoch != 3 || c.Epoch != 3 || c.Next != 0 || c.Final {
		t.Fatalf("epoch %d, chain %+v", s.Stats().Epoch, c)
	}
}

func TestFreezeStopsDeletion(t *testing.T) {
	s := memDir().open(t, Options{Destinations: []string{"a"}})
	mustAppend(t, s, batch(1, 10, 100))
	mustSeal(t, s)
	if err := s.shelf.Freeze("test"); err != nil {
		t.Fatal(err)
	}
	deliver(t, s, "a", 1)
	// Sealing comes after deleting in the keeper's round: once this is sealed, the first would be gone.
	mustAppend(t, s, batch(11, 1, 100))
	mustSeal(t, s)
	mustAppend(t, s, batch(12, 1, 100))
	mustSeal(t, s)
	if n := s.Stats().Segments; n != 3 {
		t.Fatalf("%d segments", n)
	}
	for range 2 {
		if err := s.shelf.Thaw(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, s, "deleted", func() bool { return s.Stats().Segments == 2 })
}

func TestKeptWithoutDestinations(t *testing.T) {
	d := memDir()
	s := d.open(t, Options{})
	mustAppend(t, s, batch(1, 10, 100))
	mustSeal(t, s)
	closeSpool(t, s)
	s = d.open(t, Options{})
	wantRecords(t, stageAll(t, s), 10, 100)
	if l := s.Ledger(); l.Kept != (segment.Tally{Records: 10, Bytes: 1000}) {
		t.Fatalf("kept %+v", l.Kept)
	}
}

// A segment that could not be deleted when every destination had it does not make a new destination wait for deleted ones.
func TestNewDestinationIsOwedNoHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		var stuck atomic.Pointer[string]
		d.fs = vfs.Inject(d.fs, func(op vfs.Op) error {
			if p := stuck.Load(); p != nil && op.Path == *p && (op.Kind == vfs.OpRemove || op.Kind == vfs.OpRename) {
				return syscall.EBUSY
			}
			return nil
		})
		s := d.open(t, Options{Destinations: []string{"a"}})
		stuck.Store(new(s.segPath(1)))
		for i := range 3 {
			if _, err := s.Append(t.Context(), batch(1+10*i, 10, 400)); err != nil {
				t.Fatal(err)
			}
			mustSeal(t, s)
		}
		deliver(t, s, "a", lastSegment(s))
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = d.open(t, Options{Destinations: []string{"a", "b"}})
		defer s.Close()
		if _, err := s.Append(t.Context(), batch(31, 10, 400)); err != nil {
			t.Fatal(err)
		}
		mustSeal(t, s)
		c, err := s.shelf.Chain("b")
		if err != nil {
			t.Fatal(err)
		}
		if c.Joined != c.Through+1 {
			t.Errorf("joined at %d behind %d", c.Joined, c.Through)
		}
		next := c.Joined
		for _, seg := range s.shelf.Sealed(c.Segment, 0) {
			if seg.First != next {
				t.Errorf("segment %d begins at %d, %d is next", seg.Number, seg.First, next)
			}
			next = seg.Last + 1
		}
		if next != 41 {
			t.Errorf("it is owed the records before %d, not 41", next)
		}
	})
}

// TestForgottenChainLost: the chain state of a destination that was given up is lost. Nothing is owed to it: no start complains about
// that. If the destination is named again, its chain starts without the old proposal.
func TestForgottenChainLost(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		d := memDir()
		s := d.open(t, Options{Destinations: []string{"a", "b"}})
		mustAppend(t, s, batch(1, 10, 100))
		mustSeal(t, s)
		if err := s.shelf.Propose("b", []byte("under way"), false); err != nil {
			t.Fatal(err)
		}
		closeSpool(t, s)
		s = d.open(t, Options{Destinations: []string{"a"}, Forget: []string{"b"}})
		closeSpool(t, s)
		if damaged {
			flipAt(t, d, s.chainPath("b"), 20)
		} else if err := d.fs.Remove(s.chainPath("b")); err != nil {
			t.Fatal(err)
		}
		log := new(lines)
		for range 2 {
			s = d.open(t, Options{Destinations: []string{"a"}, Logger: log.logger()})
			closeSpool(t, s)
			if got := log.take("level=ERROR"); len(got) > 0 {
				t.Errorf("damaged %v: %q", damaged, got)
			}
		}
		s = d.open(t, Options{Destinations: []string{"a", "b"}})
		if m, err := s.shelf.Proposed("b"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("damaged %v: proposed is %q, %v", damaged, m, err)
		}
		if p := s.Stats().Pending["b"]; p.Records != 10 {
			t.Errorf("damaged %v: pending %+v", damaged, p)
		}
		closeSpool(t, s)
	}
}

// Which records are given up with a destination is logged before it is done, and so is a name in Forget that is no destination's.
func TestForgetIsTold(t *testing.T) {
	log := new(lines)
	d := memDir()
	s := d.open(t, Options{Destinations: []string{"a", "b"}})
	mustAppend(t, s, batch(1, 10, 100))
	mustSeal(t, s)
	closeSpool(t, s)
	// The disk refuses to note it: nothing is given up, and the log has said what would have been.
	sound := d.fs
	d.fs = vfs.Inject(sound, func(op vfs.Op) error {
		if op.Kind == vfs.OpRename && strings.Contains(op.Path, identityName) {
			return syscall.EIO
		}
		return nil
	})
	o := Options{Destinations: []string{"a"}, Forget: []string{"b", "tpyo"}, Logger: log.logger()}
	if _, err := d.tryOpen(t, o); err == nil {
		t.Fatal("opened")
	}
	if got := log.take("giving up"); len(got) != 1 || !strings.Contains(got[0], "level=WARN") || !strings.Contains(got[0], "destination=b") ||
		!strings.Contains(got[0], `gives_up="10 records, 1000 B"`) || !strings.Contains(got[0], `elsewhere="at, or on the way to, a"`) {
		t.Errorf("%q", got)
	}
	d.fs = sound
	s = d.open(t, o)
	defer closeSpool(t, s)
	if got := log.take("no such destination"); len(got) != 1 || !strings.Contains(got[0], "destination=tpyo") || !strings.Contains(got[0], "[a b]") {
		t.Errorf("%q", got)
	}
}
