package paged

import (
	"fmt"
	"math/bits"
)

// Set is a set of the numbers from 0 to n-1.
type Set struct {
	store *Store
	n     uint64
	count uint64
	table []entry
}

// entry says where a page is: nowhere (all zeros or all ones), in a frame, or in a slot of the file.
type entry uint64

const (
	empty    entry = 0
	full     entry = 1
	inMemory entry = 1 << 40 // + index of the frame
	inFile   entry = 1 << 41 // + slot
	index    entry = 1<<40 - 1
)

// MaxNumbers bounds a set. The table of the largest set has 64 MiB.
const MaxNumbers = 1 << 40

// Set returns an empty set of the numbers from 0 to n-1.
func (s *Store) Set(n uint64) (*Set, error) {
	if n > MaxNumbers {
		return nil, fmt.Errorf("paged: a set of %d numbers: %d is the most", n, uint64(MaxNumbers))
	}
	return &Set{store: s, n: n, table: make([]entry, (n+pageBits-1)/pageBits)}, nil
}

// Len returns how many numbers are in the set.
func (s *Set) Len() uint64 { return s.count }

// bitsOf returns how many numbers a page covers: the last one may cover fewer.
func (s *Set) bitsOf(page int) int { return int(min(pageBits, s.n-uint64(page)*pageBits)) }

// Add adds a number below n. had reports whether the set already contained it.
func (s *Set) Add(number uint64) (had bool, err error) {
	page := int(number / pageBits)
	e := s.table[page]
	if e == full {
		return true, nil
	}
	if e&inMemory == 0 {
		if e, err = s.fetch(page); err != nil {
			return false, err
		}
	}
	i := int(e & index)
	f := s.store.frames[i]
	f.used = true
	word, bit := &f.bits[number%pageBits/64], uint64(1)<<(number%64)
	if *word&bit != 0 {
		return true, nil
	}
	*word |= bit
	f.ones++
	s.count++
	if f.ones == s.bitsOf(page) {
		s.store.full(i)
	}
	return false, nil
}

// fetch brings a page that is empty or in the file into a frame.
func (s *Set) fetch(page int) (entry, error) {
	i, err := s.store.take()
	if err != nil {
		return 0, err
	}
	f := s.store.frames[i]
	*f = frame{set: s, page: page}
	if e := s.table[page]; e&inFile != 0 {
		f.slot = uint32(e & index)
		if err := s.store.load(f.slot, &f.bits); err != nil {
			*f = frame{}
			s.store.free = append(s.store.free, i)
			return 0, err
		}
		for _, w := range f.bits {
			f.ones += bits.OnesCount64(w)
		}
	}
	s.table[page] = inMemory + entry(i)
	return s.table[page], nil
}

// Has reports whether the set contains a number.
func (s *Set) Has(number uint64) (bool, error) {
	if number >= s.n {
		return false, nil
	}
	page := int(number / pageBits)
	e := s.table[page]
	if e == empty || e == full {
		return e == full, nil
	}
	if e&inMemory == 0 {
		var err error
		if e, err = s.fetch(page); err != nil {
			return false, err
		}
	}
	return s.store.frames[e&index].bits[number%pageBits/64]>>(number%64)&1 == 1, nil
}

// Gaps calls f with each range of numbers that the set does not contain, from (included) to (not included), in order, until f
// returns false.
func (s *Set) Gaps(f func(from, to uint64) bool) error {
	var from, to uint64 // the gap so far
	// gap adds the missing range [a, b), and reports whether to continue.
	gap := func(a, b uint64) bool {
		if a == to && to > from {
			to = b
			return true
		}
		more := to == from || f(from, to)
		from, to = a, b
		return more
	}
	var words [pageWords]uint64
	for page, e := range s.table {
		base := uint64(page) * pageBits
		end := base + uint64(s.bitsOf(page))
		switch {
		case e == full:
			continue
		case e == empty:
			if !gap(base, end) {
				return nil
			}
			continue
		case e&inMemory != 0:
			words = s.store.frames[e&index].bits
		default:
			if err := s.store.load(uint32(e&index), &words); err != nil {
				return err
			}
		}
		for i, w := range words {
			for at := base + uint64(i)*64; w != ^uint64(0) && at < end; {
				zero := at + uint64(bits.TrailingZeros64(^w>>(at%64)))
				if zero >= min(end, base+uint64(i+1)*64) {
					break
				}
				one := min(end, base+uint64(i+1)*64, zero+uint64(bits.TrailingZeros64(w>>(zero%64))))
				if !gap(zero, one) {
					return nil
				}
				if at = one; at%64 == 0 {
					break
				}
			}
		}
	}
	if to > from {
		f(from, to)
	}
	return nil
}
