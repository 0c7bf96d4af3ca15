// Package paged has sets of numbers for runs that are larger than memory.
//
// A [Set] has a bit for each number from 0 to n-1, in pages of 16 KiB. A page that is all zeros or all ones takes no room. The
// others are in memory or, if a [Store] bounds that, in a temporary file. Numbers that come roughly in order, as the lines of a
// sender do, touch few pages at a time, and leave full ones; so the file is rarely used. Numbers in any other order are counted
// as exactly, more slowly.
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

// MinMemory is the least that a Store can work with.
const MinMemory = 4 * pageBytes

// Store holds the pages of sets. It is not safe for concurrent use.
type Store struct {
	dir    string
	most   int // frames; 0: any number
	frames []*frame
	free   []int // indices of frames without a page
	hand   int   // of the clock that chooses the next page to leave memory

	file  *os.File // nil until a page leaves memory
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

// NewStore returns a store that keeps at most memory bytes of pages in memory, and the rest in a temporary file in dir, ""
// meaning the system's. memory 0 means no bound, and no file.
func NewStore(memory int64, dir string) (*Store, error) {
	if memory != 0 && memory < MinMemory {
		return nil, fmt.Errorf("paged: %d bytes of memory: %d is the least", memory, MinMemory)
	}
	return &Store{dir: dir, most: int(memory / pageBytes)}, nil
}

// Close removes the temporary file. The sets must not be used any more.
func (s *Store) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

// Spilled is the size of the temporary file in bytes.
func (s *Store) Spilled() int64 { return int64(s.slots) * pageBytes }

// take returns a frame without a page. It moves a page to the file if all frames are in use and there must not be more.
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
		_ = os.Remove(file.Name()) // so that nothing is left even after a kill; where the system refuses that, the file stays
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

// load reads the words of the page in a slot.
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

// full ends a page that has only ones.
func (s *Store) full(i int) {
	f := s.frames[i]
	f.set.table[f.page] = full
	if f.slot != 0 {
		s.holes = append(s.holes, f.slot)
	}
	*f = frame{}
	s.free = append(s.free, i)
}
