package spool

// door says by which method a batch was appended.
type door struct {
	count bool // the spool counts the records as received; otherwise the listener does
	wait  bool // the caller waits until the batch is kept
	try   bool // the batch is refused instead of waiting: see TryOffer
	last  bool // the batch is accepted even over the quota, or refused without waiting: see Intake.Keep
}

// rejected says that the records have been counted as lost, so that the caller must not offer them again: ErrFull under Reject, or
// ErrTooLong. A listener, which does not import this package, recognizes it by the method Rejected.
type rejected struct{ why error }

func (r rejected) Error() string { return r.why.Error() }

func (r rejected) Unwrap() error { return r.why }

// Rejected reports that the records have been counted as lost.
func (rejected) Rejected() bool { return true }
