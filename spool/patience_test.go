package spool

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/spool/internal/index"
)

// badSectors is a spool on a disk that cannot read the sectors that the test names.
func badSectors() (*disk, *sectorFS) {
	d := memDir()
	sectors := &sectorFS{FS: d.fs}
	d.fs = sectors
	return d, sectors
}

// TestOpenPatience: the disk cannot read the headers of many segments, and the index is lost. The start does not wait for each of
// them as long as for one, and loses nothing by that: segments that become readable are delivered.
func TestOpenPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, sectors := badSectors()
		s := d.open(t, Options{Destinations: []string{"a"}})
		const n = 200
		for i := range n {
			mustAppend(t, s, batch(1+i, 1, 100))
			mustSeal(t, s)
		}
		closeSpool(t, s)
		d.index = new(index.Mem).Open
		sectors.refuse(segExt, 0, 1)
		began := time.Now()
		s = d.open(t, Options{Destinations: []string{"a"}, SegmentAge: time.Hour})
		if took := time.Since(began); took < 2*openPause || took > openPatience+time.Second {
			t.Errorf("it took %v to open, with %d segments that cannot be read at once", took, n)
		}
		sectors.refuse("", 0, 0)
		wantRecords(t, stageAll(t, s), n, 100)
		balanced(t, s)
	})
}

// TestReadSealedDecidesNothing: a read of an open spool returns the error of the disk at once. It neither waits nor skips the
// unreadable part: only staging decides that.
func TestReadSealedDecidesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, sectors := badSectors()
		s := threeSegments(t, d, Options{SegmentAge: time.Hour})
		seg := s.shelf.Sealed(0, 0)[1]
		began := time.Now()
		for _, at := range []int64{0, seg.Size - 1} {
			sectors.refuse(numberName(seg.Number)+segExt, at, at+1)
			if _, _, err := s.shelf.ReadSealed(seg.Number); !errors.Is(err, syscall.EIO) {
				t.Errorf("byte %d is refused: %v", at, err)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// TestIdentityRefused: the disk cannot read spool.json. Temporarily: the read is retried. Permanently: the other files name the spool,
// as if the file were damaged. The spool accepts records in both cases.
func TestIdentityRefused(t *testing.T) {
	for _, lasting := range []bool{false, true} {
		t.Run(fmt.Sprint("lasting ", lasting), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, sectors := badSectors()
				s := threeSegments(t, d, Options{})
				before := s.Stats()
				closeSpool(t, s)
				sectors.refuse(identityName, 0, 1)
				if !lasting {
					time.AfterFunc(openPause/2, func() { sectors.refuse("", 0, 0) })
				}
				s = d.open(t, Options{Destinations: []string{"a"}, SegmentAge: time.Hour})
				sectors.refuse("", 0, 0)
				if st := s.Stats(); st.Spool != before.Spool || !lasting && st.Epoch != before.Epoch {
					t.Errorf("spool %s, epoch %d; was %s, epoch %d", st.Spool, st.Epoch, before.Spool, before.Epoch)
				}
				wantRecords(t, stageAll(t, s), 30, 500)
				balanced(t, s)
			})
		})
	}
}

// TestAdoptIdentityRefused: the spool of a dead host is adopted although its disk does not return spool.json.
func TestAdoptIdentityRefused(t *testing.T) {
	d, sectors := badSectors()
	s := threeSegments(t, d, Options{})
	id := s.Stats().Spool
	closeSpool(t, s)
	sectors.refuse("/spool/"+identityName, 0, 1)
	s, err := adopt("/spool", d.fs, new(index.Mem).Open, &AdoptOptions{Work: "/work", Instance: "adopter", MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.Stats().Spool; got != id {
		t.Errorf("spool %s, was %s", got, id)
	}
	wantRecords(t, stageAll(t, s), 30, 500)
}

// TestIdentityRefusedElsewhere: the disk cannot read spool.json. PlanRepair and Options.Check agree with Open: the
// other files name the spool, which can be opened.
func TestIdentityRefusedElsewhere(t *testing.T) {
	d, sectors := badSectors()
	s := threeSegments(t, d, Options{})
	id := s.Stats().Spool
	closeSpool(t, s)
	sectors.refuse("/spool/"+identityName, 0, 1)
	if err := (&Options{Class: s.Options().Class, Destinations: []string{"a"}}).check(d.fs, "/spool"); err != nil {
		t.Errorf("check: %v", err)
	}
	r := repairer{dir: "/spool", fs: d.fs, look: new(index.Mem).Open, open: new(index.Mem).Open}
	p, err := planRepair(r, nil)
	if err != nil || p.Refused != "" || p.Spool != id || p.Records != 30 || !p.Needed() {
		t.Fatalf("plan: %v, %+v", err, p)
	}
	if _, err := p.Apply(); err != nil {
		t.Error(err)
	}
}

// TestStageRecordRefusedAtOpen: the disk does not return a stage record for a moment while the spool is opened. The staged file beside it
// stays: its segment's own file may no longer have all of it.
func TestStageRecordRefusedAtOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, sectors := badSectors()
		s := threeSegments(t, d, Options{})
		stageAll(t, s)
		seg := s.shelf.Sealed(0, 0)[1]
		closeSpool(t, s)
		d.index = new(index.Mem).Open
		flipAt(t, d, s.segPath(seg.Number), headerPad+100)
		sectors.refuse(numberName(seg.Number)+recExt, 0, 1)
		time.AfterFunc(openPause/2, func() { sectors.refuse("", 0, 0) })
		s = d.open(t, Options{Destinations: []string{"a"}, SegmentAge: time.Hour})
		wantRecords(t, stageAll(t, s), 30, 500)
		balanced(t, s)
	})
}

// TestProposalRefused: the disk cannot read a proposed manifest. The process that has proposed it has it in memory. The next process
// gets an error that it can retry for a while, and then ErrCorrupt.
func TestProposalRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, sectors := badSectors()
		o := Options{Destinations: []string{"a"}, SegmentAge: time.Hour}
		s := d.open(t, o)
		manifest := []byte("manifest")
		if err := s.shelf.Propose("a", manifest, false); err != nil {
			t.Fatal(err)
		}
		sectors.refuse("a"+nextExt, 0, 1)
		if b, err := s.shelf.Proposed("a"); err != nil || string(b) != "manifest" {
			t.Errorf("%q, %v", b, err)
		}
		if err := s.shelf.Propose("a", manifest, false); err != nil {
			t.Error(err)
		}
		if err := s.shelf.Propose("a", []byte("another"), false); err == nil {
			t.Error("another manifest takes its place")
		}
		closeSpool(t, s)
		s = d.open(t, o)
		for i := range 2 * refusals {
			if _, err := s.shelf.Proposed("a"); !errors.Is(err, syscall.EIO) || errors.Is(err, ErrCorrupt) {
				t.Errorf("attempt %d: %v", i, err)
			}
		}
		time.Sleep(refusedFor)
		if _, err := s.shelf.Proposed("a"); !errors.Is(err, ErrCorrupt) {
			t.Errorf("after a minute: %v", err)
		}
		if err := s.shelf.Withdraw("a"); err != nil {
			t.Fatal(err)
		}
		if err := s.shelf.Propose("a", []byte("another"), false); err != nil {
			t.Error(err)
		}
	})
}
