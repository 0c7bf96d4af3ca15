package spool

import (
	"fmt"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
)

// The files of any two segments are swapped, also with the file that is prepared for the next segment; the headers in one or both are damaged
// so that only their fields can be guessed, and a third file may be deleted. The spool opens, and what it holds is one row of records
// without an overlap, so that every chain can continue.
func TestSwappedPairs(t *testing.T) {
	for a := range 4 {
		for b := a + 1; b < 5; b++ {
			for gone := range 6 { // the last: none
				if gone == a || gone == b {
					continue
				}
				for damaged := range 4 { // bit 0: the first, bit 1: the second
					for _, indexed := range []bool{true, false} {
						t.Run(fmt.Sprintf("%d and %d, without %d, damaged %d, index %v", a+1, b+1, gone+1, damaged, indexed), func(t *testing.T) {
							swappedPair(t, a, b, gone, damaged, indexed)
						})
					}
				}
			}
		}
	}
}

func swappedPair(t *testing.T, a, b, gone, damaged int, indexed bool) {
	k, segments := fourSegments(t)
	s := &site{fs: k.mem, dir: "/spool"}
	numbers, err := s.listSegments()
	if err != nil {
		t.Fatal(err)
	}
	spare := s.segPath(numbers[len(numbers)-1] + 1)
	if err := vfs.WriteFileAtomic(k.mem, spare, make([]byte, k.opts.SegmentBytes)); err != nil {
		t.Fatal(err)
	}
	segments = append(segments, spare)
	if !indexed {
		k.index = newWorld(k.opts).index
	}
	contents := map[int][]byte{}
	for i, j := range map[int]int{a: b, b: a} {
		c, err := vfs.ReadFile(k.mem, segments[j], 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if damaged&1 != 0 && i == a || damaged&2 != 0 && i == b {
			c[130] ^= 1
		}
		contents[i] = c
	}
	for i, c := range contents {
		if err := vfs.WriteFileAtomic(k.mem, segments[i], c); err != nil {
			t.Fatal(err)
		}
	}
	if gone < len(segments) {
		if err := k.mem.Remove(segments[gone]); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		s, err := open("/spool", k.mem, k.index.Open, &k.opts)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, batch(41, 1, 300))
		mustSeal(t, s)
		next := uint64(1)
		for _, seg := range s.shelf.Sealed(0, 0) {
			if seg.First != next {
				t.Errorf("segment %d begins at %d, %d is next", seg.Number, seg.First, next)
			}
			next = seg.Last + 1
		}
		for _, seg := range s.shelf.Sealed(0, 0) {
			for try := 0; err != nil || try == 0; try++ { // a file that cannot be read is given up after some attempts
				if _, err = s.shelf.Stage(t.Context(), seg.Number, lineEncoder{}); try > 9 {
					t.Fatal(err)
				}
			}
		}
		read, lost := stageAll(t, s), s.Ledger().Damaged.Records
		for n := range s.Ledger().Kept.Records {
			if _, ok := read[n+1]; !ok {
				lost--
			}
		}
		if l := s.Ledger(); l.Kept.Records != next-1 || l.Kept.Records < 41 || lost != 0 {
			t.Errorf("%d records can be read; kept %+v, damaged %+v: %+v", len(read), l.Kept, l.Damaged, s.shelf.Damages())
		}
		balanced(t, s)
		closeSpool(t, s)
	}
}
