package segment

import (
	"fmt"
	"math"
)

// Unbounded is the Last of a DamageError where nothing says how many records there were: the end of the file is missing,
// and with it the footer that had the number.
const Unbounded = math.MaxUint64

// DamageError reports a damaged stretch of a segment: bytes that had been acknowledged and are not what was written. The
// records before and after it are intact. errors.Is reports it as ErrCorrupt.
type DamageError struct {
	// First and Last sequence numbers that are lost. Last is First−1 if no record was (a ledger, the footer, the
	// header), and Unbounded if it is not known.
	First uint64
	Last  uint64
	// Offset and End of the stretch in the file; End may be beyond the end of a file that was cut off. They are
	// equal if the bytes are gone without a trace.
	Offset int64
	End    int64
	// Err is the error of the disk where it refused to return the bytes, and they were skipped: see
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

// Is makes every DamageError an ErrCorrupt.
func (e *DamageError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap returns the error of the disk, if any.
func (e *DamageError) Unwrap() error { return e.Err }
