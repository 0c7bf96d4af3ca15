package segment

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
)

// Cause is the reason why a record that reached the host was not kept.
type Cause uint8

// The causes of loss. Their order is part of this package's API, so a new one comes last; their names are part of every
// format. A new cause needs a constant here and a name in causeNames. Everything else that lists causes (ledgers, reports,
// manifests, audits, log lines) iterates over them.
const (
	// KernelOverflow: the socket's receive buffer was full (bytes unknown).
	KernelOverflow Cause = iota
	// Truncated: a datagram was longer than the listener's maximum.
	Truncated
	// FrameTooLong: a frame of a stream was over the listener's limit and was skipped.
	FrameTooLong
	// Malformed: bytes that fit no frame, or a bad PROXY header.
	Malformed
	// Reset: the connection was reset in the middle of a frame.
	Reset
	// SpoolFull: the quota was used up. The spool rejected the record, or the kernel dropped it while the listener had to
	// wait for the spool.
	SpoolFull
	// Other: the sum of all causes whose names this version does not know, because a newer version has counted them. So the
	// ledger still balances.
	Other
	// GivenUp: the listener was closed before the sink had accepted the record, which was in memory or still queued in a socket.
	GivenUp
	// Refused: bytes that the peer of a connection over a limit had already sent.
	Refused
	// Panicked: code that the program has added to a listener (a Framer, a Transform, the choice of a Route) panicked.
	Panicked
	// NumCauses is the number of causes.
	NumCauses
)

var causeNames = [NumCauses]string{
	KernelOverflow: "kernel_overflow",
	Truncated:      "truncated",
	FrameTooLong:   "frame_too_long",
	Malformed:      "malformed",
	Reset:          "reset",
	SpoolFull:      "spool_full",
	Other:          "other",
	GivenUp:        "given_up",
	Refused:        "refused",
	Panicked:       "panic",
}

// String returns the cause's name in every format.
func (c Cause) String() string {
	if c < NumCauses {
		return causeNames[c]
	}
	return fmt.Sprintf("Cause(%d)", uint8(c))
}

// parseCause is the reverse of String.
func parseCause(name string) (Cause, error) {
	for c, n := range causeNames {
		if n == name {
			return Cause(c), nil
		}
	}
	return 0, fmt.Errorf("segment: unknown cause of loss %q", name)
}

// Loss counts lost records.
type Loss struct {
	Records uint64
	// Bytes is the number of lost bytes that were seen: all of them, unless BytesUnknown is set.
	Bytes uint64
	// BytesUnknown is set once a record of unknown length was lost. JSON then has null for the bytes, never 0.
	BytesUnknown bool
	// AtLeast marks a count of records that is only a lower bound: for aggregates of UDP GRO, and for the rest of a stream that was
	// cut off, in which frames could not be distinguished.
	AtLeast bool
	// AtMost marks a count of records that includes an upper bound: for datagrams that could not be read from a socket, of
	// which only the memory that they use is known.
	AtMost bool
}

// lossJSON is Loss in JSON. Seen is the number of seen bytes if others are unknown. Without it the bytes would no longer balance
// after a ledger was read back.
type lossJSON struct {
	Records uint64  `json:"records"`
	Bytes   *uint64 `json:"bytes"`
	Seen    uint64  `json:"bytes_seen,omitempty"`
	AtLeast bool    `json:"at_least,omitempty"`
	AtMost  bool    `json:"at_most,omitempty"`
}

// MarshalJSON writes {"records":n,"bytes":n}. If bytes are unknown, "bytes" is null, and "bytes_seen" has the number of known
// bytes; "at_least":true marks a lower bound, "at_most":true an upper one.
func (l Loss) MarshalJSON() ([]byte, error) {
	j := lossJSON{Records: l.Records, Bytes: &l.Bytes, AtLeast: l.AtLeast, AtMost: l.AtMost}
	if l.BytesUnknown {
		j.Bytes, j.Seen = nil, l.Bytes
	}
	return json.Marshal(j)
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (l *Loss) UnmarshalJSON(b []byte) error {
	var j lossJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*l = Loss{Records: j.Records, AtLeast: j.AtLeast, AtMost: j.AtMost}
	if j.Bytes == nil {
		l.Bytes, l.BytesUnknown = j.Seen, true
	} else {
		l.Bytes = *j.Bytes
	}
	return nil
}

// Add adds o to l.
func (l *Loss) Add(o Loss) {
	l.Records += o.Records
	l.Bytes += o.Bytes
	l.BytesUnknown = l.BytesUnknown || o.BytesUnknown
	l.AtLeast = l.AtLeast || o.AtLeast
	l.AtMost = l.AtMost || o.AtMost
}

// sub returns what l adds to an earlier count. If records were added, the flags of l stay set, because it is not recorded for which
// records they were set.
func (l Loss) sub(earlier Loss) Loss {
	d := Tally{l.Records, l.Bytes}.Sub(Tally{earlier.Records, earlier.Bytes})
	return Loss{
		Records: d.Records, Bytes: d.Bytes,
		BytesUnknown: l.BytesUnknown && d.Records > 0, AtLeast: l.AtLeast && d.Records > 0,
		AtMost: l.AtMost && d.Records > 0,
	}
}

// Losses holds a Loss for every Cause.
type Losses [NumCauses]Loss

// Add adds o to l, cause by cause.
func (l *Losses) Add(o Losses) {
	for c := range l {
		l[c].Add(o[c])
	}
}

// Sub returns the losses since an earlier count of the same spool: a manifest's loss lines. A count that has become
// smaller, which should not happen, gives 0.
func (l Losses) Sub(earlier Losses) Losses {
	for c := range l {
		l[c] = l[c].sub(earlier[c])
	}
	return l
}

// Total returns the lost records of all causes, and the bytes of those whose bytes were seen.
func (l *Losses) Total() (t Tally) {
	for _, x := range l {
		t.Add(Tally{x.Records, x.Bytes})
	}
	return t
}

// All yields the causes that occurred, in their order, each with its loss.
func (l *Losses) All() iter.Seq2[Cause, Loss] {
	return func(yield func(Cause, Loss) bool) {
		for c, x := range l {
			if x != (Loss{}) && !yield(Cause(c), x) {
				return
			}
		}
	}
}

// Text returns the lost records by cause as text: "spool_full 12, given_up at least 3".
func (l *Losses) Text() string {
	var b strings.Builder
	for c, x := range l.All() {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		bound := ""
		switch {
		case x.AtMost:
			bound = "at most "
		case x.AtLeast:
			bound = "at least "
		}
		fmt.Fprintf(&b, "%s %s%d", c, bound, x.Records)
	}
	return b.String()
}

// MarshalJSON writes an object with the names of the causes as keys, in their order. A cause that never occurred is left out.
func (l Losses) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for c, x := range l.All() {
		if len(b) > 1 {
			b = append(b, ',')
		}
		js, err := json.Marshal(x)
		if err != nil {
			return nil, err
		}
		b = fmt.Appendf(b, "%q:%s", c, js)
	}
	return append(b, '}'), nil
}

// UnmarshalJSON is the reverse of MarshalJSON. It adds causes that it does not know to Other.
func (l *Losses) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	var m map[string]Loss
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	*l = Losses{}
	for name, x := range m {
		c, err := parseCause(name)
		if err != nil {
			c = Other
		}
		l[c].Add(x)
	}
	return nil
}
