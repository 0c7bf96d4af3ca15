package spool

// door says how a batch came in.
type door struct {
	count bool // the records are counted as received here
	wait  bool // until the batch is kept
	try   bool // it is refused where it would have to wait: see TryOffer
	last  bool // it is taken over the quota, or not at all: see Intake.Keep
}

// rejected says that the records have been counted as lost, so that whoever offered them goes on: ErrFull under Reject, or
// ErrTooLong. A listener, which does not know this package, finds that out by the method.
type rejected struct{ why error }

func (r rejected) Error() string { return r.why.Error() }

func (r rejected) Unwrap() error { return r.why }

// Rejected reports that the records have been counted as lost.
func (rejected) Rejected() bool { return true }
