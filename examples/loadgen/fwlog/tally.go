package fwlog

import (
	"errors"
	"math/bits"
)

// Tally counts which of the lines 0 … sent−1 of a run were found. It needs one bit per line.
type Tally struct {
	run  string
	sent uint64
	seen []uint64

	Found     uint64 // different lines found
	Duplicate uint64 // lines found again
	Altered   uint64 // lines of this run that differ from those sent, or that were never sent
	Foreign   uint64 // records that are not of this run
}

// NewTally returns a Tally of a run in which sent lines were sent.
func NewTally(run string, sent uint64) *Tally {
	return &Tally{run: run, sent: sent, seen: make([]uint64, (sent+63)/64)}
}

// Add counts one record.
func (t *Tally) Add(data []byte) {
	_, seq, err := Parse(data, t.run)
	switch {
	case errors.Is(err, ErrForeign):
		t.Foreign++
	case err != nil || seq >= t.sent:
		t.Altered++
	case t.seen[seq/64]>>(seq%64)&1 == 1:
		t.Duplicate++
	default:
		t.seen[seq/64] |= 1 << (seq % 64)
		t.Found++
	}
}

// Has reports whether a line was found.
func (t *Tally) Has(seq uint64) bool { return seq < t.sent && t.seen[seq/64]>>(seq%64)&1 == 1 }

// Missing is how many lines were not found.
func (t *Tally) Missing() uint64 { return t.sent - t.Found }

// FirstMissing returns the sequence numbers of the first max lines that were not found.
func (t *Tally) FirstMissing(max int) (seqs []uint64) {
	for i, w := range t.seen {
		for free := ^w; free != 0 && len(seqs) < max; free &= free - 1 {
			if seq := uint64(i)*64 + uint64(bits.TrailingZeros64(free)); seq < t.sent {
				seqs = append(seqs, seq)
			}
		}
	}
	return seqs
}

// OK reports whether every line was found once, as it was sent.
func (t *Tally) OK() bool { return t.Missing() == 0 && t.Duplicate == 0 && t.Altered == 0 }
