package segment

import (
	"fmt"
	"math"
)

// Unbounded is the Last of a DamageError if the number of lost records is not known: the end of the file is missing,
// and with it the footer that has the number.
const Unbounded = math.MaxUint64

// DamageError reports a damaged stretch of a segment: bytes that were acknowledged and are not what was written. The
// records before and after it are intact. errors.Is reports it as ErrCorrupt.
type DamageError struct {
	// First and Last are the first and last lost sequence number. Last is First−1 if no record was lost (but a ledger, the footer, or
	// the header), and Unbounded if it is not known.
	First uint64
	Last  uint64
	// Offset and End are the start and the end of the stretch in the file; End may be beyond the end of a truncated file. They are
	// equal if records are missing although no bytes are.
	Offset int64
	End    int64
	// Err is the error of the disk if it could not read the bytes, and they were skipped: see
	// ReadOptions.SkipUnreadable.
	Err error
}

// Error says which range is damaged.
func (e *DamageError) Error() string {
	s := fmt.Sprintf("segment: damaged at [%d, %d)", e.Offset, e.End)
	switch {
	case e.Last == Unbounded:
		s += fmt.Sprintf(", lost everything from sequence number %d on", e.First)
	case e.Last >= e.First:
		s += fmt.Sprintf(", lost sequence numbers %d to %d", e.First, e.Last)
	default:
		s += ", no record lost"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Range returns the lost sequence numbers, and false if no record was lost.
func (e *DamageError) Range() (Range, bool) {
	return Range{e.First, e.Last}, e.Last >= e.First
}

// Is reports that every DamageError is an ErrCorrupt.
func (e *DamageError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap returns the error of the disk, if any.
func (e *DamageError) Unwrap() error { return e.Err }
