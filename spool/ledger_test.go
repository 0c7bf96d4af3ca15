package spool

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// Counts that only the ledger has are written to the log within a second or two, and survive.
func TestLedgerSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(Options{Destinations: []string{"a"}})
		s, err := open("/spool", w.mem, w.index.Open, &w.opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		lost := segment.Losses{
			segment.KernelOverflow: {Records: 5, BytesUnknown: true, AtLeast: true},
			segment.FrameTooLong:   {Records: 1, Bytes: 90000},
		}
		s.Intake().Account(segment.Account{Received: segment.Tally{Records: 16, Bytes: 91000}, Lost: lost, Socket: 77, Drops: 5})
		if _, err := s.Intake().Append(t.Context(), batch(1, 10, 100)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		k := w.clone(crashes[0], index.Fate{})
		s2, err := open("/spool", k.mem, k.index.Open, &k.opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s2.Close()
		l := s2.Ledger()
		if l.Lost != lost || l.Received != (segment.Tally{Records: 16, Bytes: 91000}) || l.Kept != (segment.Tally{Records: 10, Bytes: 1000}) {
			t.Errorf("ledger %+v", l)
		}
		if len(l.Unaccounted) != 1 || l.Unaccounted[0].Known != (segment.Tally{}) || l.Unaccounted[0].AtMostBytes != uint64(k.opts.MemoryBytes) {
			t.Errorf("unaccounted %+v", l.Unaccounted)
		}
		if want := map[uint64]uint64{77: 5}; !maps.Equal(l.Sockets, want) {
			t.Errorf("sockets %v", l.Sockets)
		}
		// The segment says what was lost while it was active; after the next one is sealed, nobody reports socket 77.
		mustSeal(t, s2)
		if got := s2.shelf.Sealed(0, 0)[0].Lost; got != lost {
			t.Errorf("segment says %+v", got)
		}
		time.Sleep(2 * time.Minute)
		mustAppend(t, s2, batch(11, 1, 100))
		mustSeal(t, s2)
		if got := s2.shelf.Sealed(1, 0); len(got) != 1 || got[0].Lost != (segment.Losses{}) {
			t.Errorf("segments %+v", got)
		}
		if l := s2.Ledger(); len(l.Sockets) != 0 {
			t.Errorf("sockets %v", l.Sockets)
		}
		balanced(t, s2)
	})
}

// Counts of filtered and made records survive like every other count, and belong to the segment in which they were counted.
func TestChangesSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(Options{Destinations: []string{"a"}})
		s, err := open("/spool", w.mem, w.index.Open, &w.opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		filtered, made := segment.Tally{Records: 8, Bytes: 810}, segment.Tally{Records: 3, Bytes: 310}
		s.Intake().Account(segment.Account{Received: segment.Tally{Records: 15, Bytes: 1500}})
		s.Intake().Account(segment.Account{Filtered: filtered, Made: made})
		if _, err := s.Intake().Append(t.Context(), batch(1, 10, 100)); err != nil {
			t.Fatal(err)
		}
		balanced(t, s)
		time.Sleep(2 * time.Second) // the ledger
		k := w.clone(processDies, index.Fate{})
		s2, err := open("/spool", k.mem, k.index.Open, &k.opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s2.Close()
		if l := s2.Ledger(); l.Filtered != filtered || l.Made != made || l.Kept.Records != 10 || l.Received.Records != 15 {
			t.Errorf("ledger after a kill: %+v", l)
		}
		balanced(t, s2)
		mustSeal(t, s2)
		mustAppend(t, s2, batch(11, 1, 100))
		mustSeal(t, s2)
		if got := s2.shelf.Sealed(0, 0); len(got) != 2 || got[0].Filtered != filtered || got[0].Made != made ||
			got[1].Filtered != (segment.Tally{}) || got[1].Made != (segment.Tally{}) {
			t.Errorf("segments %+v", got)
		}
		if err := s2.Close(); err != nil {
			t.Fatal(err)
		}
		s3, err := open("/spool", k.mem, k.index.Open, &k.opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s3.Close()
		if l := s3.Ledger(); l.Filtered != filtered || l.Made != made || len(l.Unaccounted) != 1 {
			t.Errorf("ledger after an orderly end: %+v", l)
		}
		balanced(t, s3)
	})
}

// Records that were received and never written are known, if the ledger had counted them.
func TestUnaccountedKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(Options{SyncInterval: time.Hour})
		s, err := open("/spool", w.mem, w.index.Open, &w.opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		mustAppend(t, s, batch(1, 10, 100))
		in := s.Intake()
		if _, err := in.Offer(t.Context(), batch(11, 5, 100)); err != nil {
			t.Fatal(err)
		}
		// A listener counts before the spool has what it read: the ledger then says that seven are buffered.
		in.Account(segment.Account{Received: segment.Tally{Records: 7, Bytes: 700}})
		if _, err := s.Append(t.Context(), batch(16, 1, 100)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // the ledger
		k := w.clone(processDies, index.Fate{})
		s2, err := open("/spool", k.mem, k.index.Open, &k.opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s2.Close()
		l := s2.Ledger()
		if len(l.Unaccounted) != 1 || l.Unaccounted[0].Known != (segment.Tally{Records: 2, Bytes: 200}) {
			t.Errorf("unaccounted %+v, received %+v, kept %+v", l.Unaccounted, l.Received, l.Kept)
		}
		balanced(t, s2)
	})
}

func TestUnaccountedIsBounded(t *testing.T) {
	w := newWorld(Options{Sync: SyncAlways})
	for i := range maxUnaccounted + 10 {
		s, err := open("/spool", w.mem, w.index.Open, &w.opts)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, batch(i+1, 1, 10))
		k := w.clone(processDies, index.Fate{})
		s.Close()
		w = k
	}
	s, err := open("/spool", w.mem, w.index.Open, &w.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	u := s.Ledger().Unaccounted
	if len(u) != maxUnaccounted {
		t.Errorf("%d entries", len(u))
	}
	if got := u[0].AtMostBytes; got != uint64(11*w.opts.MemoryBytes) {
		t.Errorf("the oldest entry bounds %d bytes", got)
	}
	balanced(t, s)
}

// Everything is delivered and deleted, and of the files with counts only the chain state is left: Kept is
// then at least what was delivered, and no record counts as damaged.
func TestLedgerFromChainAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		s := threeSegments(t, d, Options{})
		deliver(t, s, "a", lastSegment(s))
		until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
		closeSpool(t, s)
		for _, name := range []string{cleanName, begunName, ledgerName} {
			if err := d.fs.Remove(s.path(name)); err != nil {
				t.Fatal(err)
			}
		}
		d.index = new(index.Mem).Open
		s = d.open(t, Options{Destinations: []string{"a"}})
		defer closeSpool(t, s)
		balanced(t, s)
		if l := s.Ledger(); l.Damaged != (segment.Tally{}) || l.Kept != l.Destinations["a"].Tally {
			t.Errorf("ledger %+v", l)
		}
	})
}
