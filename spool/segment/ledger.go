package segment

import "time"

// Cause says why a record that reached the host was not kept.
type Cause uint8

// The causes of loss. Their order is part of this package's API, their names are part of every format.
const (
	// KernelOverflow: the socket's receive buffer was full (bytes unknown).
	KernelOverflow Cause = iota
	// Truncated: a datagram longer than the listener's maximum.
	Truncated
	// FrameTooLong: a stream frame over the listener's limit, skipped.
	FrameTooLong
	// Malformed: bytes that fit no frame, a bad PROXY header.
	Malformed
	// Reset: the connection was reset in mid-frame.
	Reset
	// SpoolFull: the quota was used up; rejected, or dropped by the kernel while the listener had to wait.
	SpoolFull
	// NumCauses is the number of causes.
	NumCauses
)

// Tally counts records and their payload bytes.
type Tally struct {
	Records uint64 `json:"records"`
	Bytes   uint64 `json:"bytes"`
}

// Loss counts lost records. Bytes is meaningless (null in JSON, never 0) once BytesUnknown is set; AtLeast marks a count
// that the kernel can only bound from below (UDP GRO).
type Loss struct {
	Records      uint64
	Bytes        uint64
	BytesUnknown bool
	AtLeast      bool
}

// Losses holds a Loss for every Cause.
type Losses [NumCauses]Loss

// Account is what a listener reports to its spool: the difference since its last report. It is passed by value and
// needs no allocation.
type Account struct {
	// Received counts what reached the listener, lost records included (their bytes where seen).
	Received Tally
	// Lost counts what the listener or the kernel below it could not keep.
	Lost Losses
	// Socket is the SO_COOKIE of the socket this report is about, 0 for none.
	Socket uint64
	// Drops is that socket's kernel drop counter, to which Lost[KernelOverflow] has now been accounted.
	Drops uint64
}

// Unaccounted marks a time for which the balance can only be bounded, since the process or the machine died: what was
// buffered then is gone. It is written by the Open that follows.
type Unaccounted struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Known counts records that a ledger block had counted as received and that are neither kept nor lost by cause.
	Known Tally `json:"known"`
	// AtMostBytes bounds what may have been taken beyond Known: the memory budget of the time.
	AtMostBytes uint64 `json:"at_most_bytes"`
}

// Delivery is the ledger's account of one destination.
type Delivery struct {
	Tally
	// Through is the sequence number up to which everything was delivered or is damaged.
	Through uint64 `json:"through"`
	// Forgotten is set for a destination that the operator gave up.
	Forgotten bool `json:"forgotten,omitempty"`
}

// Ledger holds the cumulative counters of a spool's whole life.
//
//	received = kept + buffered + sum(lost) + sum(unaccounted.known)
//	kept     = delivered(d) + pending(d) + damaged          for every destination d that is owed everything
type Ledger struct {
	Version int `json:"version"`
	// Time when the counters were read.
	Time     time.Time `json:"time"`
	Received Tally     `json:"received"`
	// Kept counts what was written to the log.
	Kept Tally `json:"kept"`
	// Lost by cause; a cause that never occurred is left out of the JSON.
	Lost Losses `json:"lost"`
	// Damaged counts kept records that the disk no longer returns (bytes as far as known).
	Damaged Tally `json:"damaged"`
	// Sockets holds the drop baseline per SO_COOKIE.
	Sockets      map[uint64]uint64   `json:"sockets,omitempty"`
	Unaccounted  []Unaccounted       `json:"unaccounted,omitempty"`
	Destinations map[string]Delivery `json:"destinations,omitempty"`
}
