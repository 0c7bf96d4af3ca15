package spool

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
)

// sectorFS refuses to return a range of bytes of the files whose names end in suffix.
type sectorFS struct {
	vfs.FS
	mu       sync.Mutex
	suffix   string
	from, to int64
}

type sectorFile struct {
	vfs.File
	fs   *sectorFS
	path string
}

func (s *sectorFS) refuse(suffix string, from, to int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suffix, s.from, s.to = suffix, from, to
}

func (s *sectorFS) wrap(f vfs.File, err error, path string) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &sectorFile{f, s, path}, nil
}

func (s *sectorFS) Open(path string) (vfs.File, error) {
	f, err := s.FS.Open(path)
	return s.wrap(f, err, path)
}

func (s *sectorFS) OpenRW(path string) (vfs.File, error) {
	f, err := s.FS.OpenRW(path)
	return s.wrap(f, err, path)
}

func (s *sectorFS) Create(path string) (vfs.File, error) {
	f, err := s.FS.Create(path)
	return s.wrap(f, err, path)
}

func (f *sectorFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	bad := f.fs.suffix != "" && strings.HasSuffix(f.path, f.fs.suffix) && off < f.fs.to && off+int64(len(p)) > f.fs.from
	f.fs.mu.Unlock()
	if bad {
		return 0, syscall.EIO
	}
	return f.File.ReadAt(p, off)
}

// A bad sector is retried for a while, since the disk may only be temporarily unavailable, then written off: its records are
// reported as lost, all others are delivered.
func TestBadSectorWhileStaging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		sectors := &sectorFS{FS: d.fs}
		d.fs = sectors
		s := threeSegments(t, d, Options{SegmentAge: time.Hour})
		n := s.shelf.Sealed(0, 0)[1].Number
		sectors.refuse(numberName(n)+segExt, 4096+1100, 4096+1100+512)
		wantRefused(t, s, n)
		wantGap(t, s, stageAll(t, s), 11, 18, 30) // what is in the same page of the disk is gone with it
	})
}

// wantRefused asks for a segment until what the disk refuses of it will be written off.
func wantRefused(t *testing.T, s *Spool, n uint64) {
	t.Helper()
	for i := range refusals + 2 {
		if _, err := s.shelf.Stage(t.Context(), n, lineEncoder{}); !errors.Is(err, syscall.EIO) {
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
	time.Sleep(refusedFor)
}

// Without a sync on the same disk nothing is written off: it may be the disk that is away.
func TestDiskAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		sectors := &sectorFS{FS: d.fs}
		var away atomic.Bool
		d.fs = vfs.Inject(sectors, func(op vfs.Op) error {
			if away.Load() && op.Kind == vfs.OpSync && strings.HasSuffix(op.Path, vfs.TempSuffix) {
				return syscall.EIO
			}
			return nil
		})
		s := threeSegments(t, d, Options{SegmentAge: time.Hour})
		n := s.shelf.Sealed(0, 0)[1].Number
		away.Store(true)
		sectors.refuse(numberName(n)+segExt, 4096, 1<<30)
		wantRefused(t, s, n)
		if _, err := s.shelf.Stage(t.Context(), n, lineEncoder{}); err == nil {
			t.Fatal("staged on a disk that takes nothing")
		}
		away.Store(false)
		sectors.refuse("", 0, 0)
		wantRecords(t, stageAll(t, s), 30, 500)
		balanced(t, s)
	})
}

// Open cannot wait for long: after some attempts it continues with all other records. Records that become readable later are not
// lost by that.
func TestBadSectorAtOpen(t *testing.T) {
	for i, gap := range [][2]uint64{{1, 8}, {11, 18}, {21, 28}} {
		for _, lasting := range []bool{true, false} {
			t.Run(fmt.Sprintf("segment %d, lasting %v", i, lasting), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { badSectorAtOpen(t, i, gap, lasting) })
			})
		}
	}
}

func badSectorAtOpen(t *testing.T, i int, gap [2]uint64, lasting bool) {
	d := memDir()
	sectors := &sectorFS{FS: d.fs}
	d.fs = sectors
	s := threeSegments(t, d, Options{})
	seg := s.shelf.Sealed(0, 0)[i]
	closeSpool(t, s)
	d.index = new(index.Mem).Open
	// The footer is gone, too, so that the blocks have to be read.
	flipAt(t, d, s.segPath(seg.Number), seg.Size-10)
	sectors.refuse(numberName(seg.Number)+segExt, 4096+1100+100, 4096+1100+101)
	s = d.open(t, Options{Destinations: []string{"a"}, SegmentAge: time.Hour})
	if !lasting {
		sectors.refuse("", 0, 0)
		wantRecords(t, stageAll(t, s), 30, 500)
		balanced(t, s)
		return
	}
	wantRefused(t, s, seg.Number)
	wantGap(t, s, stageAll(t, s), gap[0], gap[1], 30)
}

// The header or the footer of a segment cannot be read, and the index is lost as well: each contains what the other does.
func TestUnreadableEnds(t *testing.T) {
	for _, footer := range []bool{false, true} {
		for i := range 3 {
			t.Run(fmt.Sprintf("segment %d, footer %v", i, footer), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := memDir()
					sectors := &sectorFS{FS: d.fs}
					d.fs = sectors
					s := threeSegments(t, d, Options{})
					seg := s.shelf.Sealed(0, 0)[i]
					closeSpool(t, s)
					d.index = new(index.Mem).Open
					at := int64(0)
					if footer {
						at = seg.Size - 1
					}
					sectors.refuse(numberName(seg.Number)+segExt, at, at+1)
					s = d.open(t, Options{Destinations: []string{"a"}, SegmentAge: time.Hour})
					sectors.refuse("", 0, 0)
					wantRecords(t, stageAll(t, s), 30, 500)
					balanced(t, s)
				})
			})
		}
	}
}

// The file of a segment has failed, and then it cannot be read in full to be copied.
func TestBadSectorInFailedFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		sectors := &sectorFS{FS: d.fs}
		var fail atomic.Bool
		d.fs = vfs.Inject(sectors, func(op vfs.Op) error {
			if op.Kind == vfs.OpSync && strings.HasSuffix(op.Path, segExt) && fail.CompareAndSwap(true, false) {
				return syscall.EIO
			}
			return nil
		})
		s := d.open(t, Options{Destinations: []string{"a"}, Sync: SyncAlways, SegmentAge: time.Hour})
		for i := range 5 {
			mustAppend(t, s, batch(1+2*i, 2, 500))
		}
		synctest.Wait() // the spare is ready, and its sync over
		s.journal.mu.Lock()
		n := s.journal.active.number
		s.journal.mu.Unlock()
		sectors.refuse(numberName(n)+segExt, 4096+1100, 4096+1100+512)
		fail.Store(true)
		mustAppend(t, s, batch(11, 2, 500))
		mustSeal(t, s) // the keeper tries for a minute
		sectors.refuse("", 0, 0)
		got := stageAll(t, s)
		for i := uint64(1); i <= 12; i++ {
			if _, ok := got[i]; ok == (i <= 8) {
				t.Errorf("record %d is there: %v", i, ok)
			}
		}
		if l := s.Ledger(); l.Damaged.Records != 8 {
			t.Errorf("damaged %+v", l.Damaged)
		}
	})
}

// Other programs have filled the disk to the last block. The room that is needed to delete segments is found by removing files that
// nothing depends on.
func TestAckOnFullDisk(t *testing.T) {
	d := memDir()
	mem := d.fs.(*vfs.Mem)
	s := d.open(t, Options{Destinations: []string{"a"}, Sync: SyncAlways, OnFull: Reject})
	for i := range 20 {
		mustAppend(t, s, batch(1+10*i, 10, 1000))
	}
	mustSeal(t, s)
	got := stageAll(t, s)
	mustAppend(t, s, batch(201, 1, 10)) // so that there is a spare segment
	for spare := false; !spare; runtime.Gosched() {
		s.journal.mu.Lock()
		spare = s.space.spare != nil
		s.journal.mu.Unlock()
	}
	_, free, err := mem.Space("/")
	if err != nil {
		t.Fatal(err)
	}
	mem.SetCapacity(1<<40 - free) // what is used now
	deliver(t, s, "a", lastSegment(s))
	until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
	if len(got) != 200 {
		t.Errorf("%d records", len(got))
	}
	balanced(t, s)
}
