package fwlog

import (
	"errors"

	"github.com/penstock-go/penstock/examples/loadgen/paged"
)

// Tally records which of the lines 0 … sent−1 of a run were found. It needs at most one bit per line.
type Tally struct {
	run  string
	sent uint64
	seen *paged.Set
	err  error

	Found     uint64 // different lines found
	Duplicate uint64 // lines found again
	Altered   uint64 // lines of this run that differ from those sent, or that were never sent
	Foreign   uint64 // records that are not of this run
}

// NewTally returns a Tally for a run of sent lines. Its memory is not bounded otherwise.
func NewTally(run string, sent uint64) *Tally {
	store, err := paged.NewStore(0, "")
	if err == nil {
		var t *Tally
		if t, err = NewTallyIn(store, run, sent); err == nil {
			return t
		}
	}
	return &Tally{run: run, sent: sent, err: err}
}

// NewTallyIn is NewTally with the memory of store.
func NewTallyIn(store *paged.Store, run string, sent uint64) (*Tally, error) {
	seen, err := store.Set(sent)
	if err != nil {
		return nil, err
	}
	return &Tally{run: run, sent: sent, seen: seen}, nil
}

// Add counts one record.
func (t *Tally) Add(data []byte) {
	if t.err != nil {
		return
	}
	_, seq, err := Parse(data, t.run)
	if errors.Is(err, ErrForeign) {
		t.Foreign++
		return
	}
	if err != nil || seq >= t.sent {
		t.Altered++
		return
	}
	had, err := t.seen.Add(seq)
	switch {
	case err != nil:
		t.err = err
	case had:
		t.Duplicate++
	default:
		t.Found++
	}
}

// Err returns the error that ended the counting; nil if every record was counted.
func (t *Tally) Err() error { return t.err }

// Sent returns how many lines were sent.
func (t *Tally) Sent() uint64 { return t.sent }

// Has reports whether a line was found.
func (t *Tally) Has(seq uint64) bool {
	if t.seen == nil {
		return false
	}
	has, err := t.seen.Has(seq)
	t.err = errors.Join(t.err, err)
	return has
}

// Missing returns how many lines were not found.
func (t *Tally) Missing() uint64 { return t.sent - t.Found }

// Gaps calls f with each range of lines that were not found, from (included) to (not included), until f returns false.
func (t *Tally) Gaps(f func(from, to uint64) bool) {
	if t.seen != nil {
		t.err = errors.Join(t.err, t.seen.Gaps(f))
	}
}

// FirstMissing returns the sequence numbers of the first max lines that were not found.
func (t *Tally) FirstMissing(max int) (seqs []uint64) {
	t.Gaps(func(from, to uint64) bool {
		for ; from < to && len(seqs) < max; from++ {
			seqs = append(seqs, from)
		}
		return len(seqs) < max
	})
	return seqs
}

// OK reports whether every line was found once, as it was sent.
func (t *Tally) OK() bool {
	return t.err == nil && t.Missing() == 0 && t.Duplicate == 0 && t.Altered == 0
}
