package spool

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
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

func (s *sectorFS) Open(path string) (vfs.File, error) {
	f, err := s.FS.Open(path)
	return &sectorFile{f, s, path}, err
}

func (s *sectorFS) OpenRW(path string) (vfs.File, error) {
	f, err := s.FS.OpenRW(path)
	return &sectorFile{f, s, path}, err
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

// A bad sector is tried again some times, since the disk may only be away for a while, then written off: what it held is
// reported, everything else is delivered.
func TestBadSectorWhileStaging(t *testing.T) {
	d := memDir()
	sectors := &sectorFS{FS: d.fs}
	d.fs = sectors
	s := threeSegments(t, d, Options{})
	n := s.Sealed(0, 0)[1].Number
	sectors.refuse(numberName(n)+segExt, 4096+1100, 4096+1100+512)
	for i := range refusals {
		if _, err := s.Stage(t.Context(), n, lineEncoder{}); !errors.Is(err, syscall.EIO) {
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
	wantGap(t, s, stageAll(t, s), 11, 18, 30) // what is in the same page of the disk is gone with it
}

// At Open nobody can wait: a second attempt, and the rest of the spool is there.
func TestBadSectorAtOpen(t *testing.T) {
	for i, gap := range [][2]uint64{{1, 8}, {11, 18}, {21, 28}} {
		d := memDir()
		mem := new(memDisk)
		d.index = mem.open
		sectors := &sectorFS{FS: d.fs}
		d.fs = sectors
		s := threeSegments(t, d, Options{})
		seg := s.Sealed(0, 0)[i]
		closeSpool(t, s)
		*mem = memDisk{}
		// The footer is gone, too, so that the blocks have to be read.
		flipAt(t, d, s.segPath(seg.Number), seg.Size-10)
		sectors.refuse(numberName(seg.Number)+segExt, 4096+1100+100, 4096+1100+101)
		s = d.open(t, Options{Destinations: []string{"a"}})
		if i == 1 {
			// Some disks come to their senses.
			sectors.refuse("", 0, 0)
			wantRecords(t, stageAll(t, s), 30, 500)
			balanced(t, s)
			continue
		}
		for range refusals {
			_, _ = s.Stage(t.Context(), seg.Number, lineEncoder{})
		}
		wantGap(t, s, stageAll(t, s), gap[0], gap[1], 30)
	}
}

// Others have filled the disk to the last block. What is needed to get rid of segments is found in files that nothing
// depends on.
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
		s.mu.Lock()
		spare = s.spare != nil
		s.mu.Unlock()
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
