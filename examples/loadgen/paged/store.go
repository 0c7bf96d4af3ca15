// Package paged has sets of numbers that may be larger than memory.
//
// A [Set] has a bit for each number from 0 to n-1, in pages of 16 KiB. A page that is all zeros or all ones needs no space. The
// other pages are in memory or, beyond the limit of a [Store], in a temporary file. Numbers in roughly ascending order, like
// the lines of a sender, touch few pages at a time and fill them completely, so the file is rarely used. Numbers in any other
// order are counted just as exactly, but more slowly.
package paged

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

const (
	pageBytes = 16 << 10
	pageBits  = 8 * pageBytes
	pageWords = pageBits / 64
)

// MinMemory is the least memory that a Store can work with.
const MinMemory = 4 * pageBytes

// Store holds the pages of sets. It is not safe for concurrent use.
type Store struct {
	dir    string
	most   int // number of frames at most; 0: any number
	frames []*frame
	free   []int // indices of frames without a page
	hand   int   // of the clock algorithm, which chooses the next page to move to the file

	file  *os.File // nil until the first page is moved to the file
	slots uint32   // in the file
	holes []uint32 // slots without a page
	bytes [pageBytes]byte
}

// frame is a page in memory.
type frame struct {
	set  *Set
	page int
	slot uint32 // in the file, +1; 0: none yet
	used bool   // since the clock's hand last passed
	ones int
	bits [pageWords]uint64
}

// NewStore returns a store that keeps at most memory bytes of pages in memory, and the rest in a temporary file in dir (""
// means the system's directory). With memory 0 there is no limit and no file.
func NewStore(memory int64, dir string) (*Store, error) {
	if memory != 0 && memory < MinMemory {
		return nil, fmt.Errorf("paged: %d bytes of memory: %d is the least", memory, MinMemory)
	}
	return &Store{dir: dir, most: int(memory / pageBytes)}, nil
}

// Close removes the temporary file. Afterwards the sets must not be used any more.
func (s *Store) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

// Spilled returns the size of the temporary file in bytes.
func (s *Store) Spilled() int64 { return int64(s.slots) * pageBytes }

// take returns a frame without a page. If all frames are in use and their number is limited, it moves a page to the file.
func (s *Store) take() (int, error) {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i, nil
	}
	if s.most == 0 || len(s.frames) < s.most {
		s.frames = append(s.frames, new(frame))
		return len(s.frames) - 1, nil
	}
	for ; s.frames[s.hand].used; s.hand = (s.hand + 1) % len(s.frames) {
		s.frames[s.hand].used = false
	}
	i := s.hand
	s.hand = (s.hand + 1) % len(s.frames)
	return i, s.spill(s.frames[i])
}

// spill writes a page to the file.
func (s *Store) spill(f *frame) error {
	if s.file == nil {
		file, err := os.CreateTemp(s.dir, "loadgen-check-*")
		if err != nil {
			return err
		}
		s.file = file
		_ = os.Remove(file.Name()) // so that even a kill leaves nothing behind; if the system refuses, the file stays
	}
	if f.slot == 0 {
		if n := len(s.holes); n > 0 {
			f.slot, s.holes = s.holes[n-1], s.holes[:n-1]
		} else {
			s.slots++
			f.slot = s.slots
		}
	}
	for i, w := range f.bits {
		binary.LittleEndian.PutUint64(s.bytes[8*i:], w)
	}
	if _, err := s.file.WriteAt(s.bytes[:], int64(f.slot-1)*pageBytes); err != nil {
		return err
	}
	f.set.table[f.page] = inFile + entry(f.slot)
	return nil
}

// load reads the page in a slot.
func (s *Store) load(slot uint32, to *[pageWords]uint64) error {
	if s.file == nil {
		return errors.New("paged: the store is closed")
	}
	if _, err := s.file.ReadAt(s.bytes[:], int64(slot-1)*pageBytes); err != nil {
		return err
	}
	for i := range to {
		to[i] = binary.LittleEndian.Uint64(s.bytes[8*i:])
	}
	return nil
}

// full replaces a page of only ones by the entry full.
func (s *Store) full(i int) {
	f := s.frames[i]
	f.set.table[f.page] = full
	if f.slot != 0 {
		s.holes = append(s.holes, f.slot)
	}
	*f = frame{}
	s.free = append(s.free, i)
}
