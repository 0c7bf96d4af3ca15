package drain

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// Outcome is the verdict of a Report.
type Outcome string

const (
	// Delivered: nothing is pending; in a Drain every destination has also confirmed everything again.
	Delivered Outcome = "delivered"
	// Stopped: everything that was received and not delivered is in the spool, for the next start.
	Stopped Outcome = "stopped"
	// Incomplete: a drain could not deliver and verify everything in time; the rest is in the spool and listed in Left. Or,
	// even after a Stop, kept records are damaged and the operator has not given them up (see ClassReport.Damages), or records
	// were lost during the end.
	Incomplete Outcome = "incomplete"
	// Mismatch: a destination holds other bytes than were sent, or no longer holds what it had confirmed.
	Mismatch Outcome = "mismatch"
)

// Report says what was received, what happened to it, and what is left. Counts cover the life of each spool.
type Report struct {
	Version  int       `json:"version"` // 1
	Outcome  Outcome   `json:"outcome"`
	Intent   Intent    `json:"intent"`
	Trigger  string    `json:"trigger"`
	Instance string    `json:"instance,omitempty"`
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended"`
	// Retained means that the platform was told not to take the instance, and left it running: the drain continued after
	// that.
	Retained bool `json:"retained,omitempty"`
	// Phases are in the order in which they ended. Some run more than once: see the package documentation.
	Phases []Phase `json:"phases"`

	Classes map[string]ClassReport `json:"classes"`
	// Adoptions lists the adopted spools that are not delivered (Options.Adoptions). Their volumes hold the only copy,
	// so a Drain with such a spool is Incomplete.
	Adoptions []Adoption `json:"adoptions,omitempty"`
	// Left lists segments that are not delivered, oldest first, at most 1000 per class and destination, and objects that
	// a destination no longer has as it had confirmed them.
	Left []Leftover `json:"left,omitempty"`
	// Errors of phases and steps.
	Errors []string `json:"errors,omitempty"`
	// Panics counts the panics in the program's own code, such as a Step or a Lifecycle, since the Drainer was made.
	Panics uint64 `json:"panics,omitempty"`
}

// Phase is one phase, with its duration.
type Phase struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	Err     string  `json:"error,omitempty"`
}

// ClassReport is the balance of one class, in records: received + made = kept + filtered + lost (+ buffered while the
// process runs).
type ClassReport struct {
	Spool    string         `json:"spool,omitempty"`
	Epoch    uint32         `json:"epoch,omitempty"`
	Received segment.Tally  `json:"received"`
	Made     segment.Tally  `json:"made,omitzero"` // made on purpose, as Filtered is dropped on purpose: see segment.Ledger
	Kept     segment.Tally  `json:"kept"`
	Filtered segment.Tally  `json:"filtered,omitzero"`
	Lost     segment.Losses `json:"lost"`
	Buffered segment.Tally  `json:"buffered"`
	Damaged  segment.Tally  `json:"damaged"`
	// Damages lists the damage of the spool, by segment and file. A class is not complete while it has damage that the
	// operator has not given up (spool.GiveUp): its files are the only copy of those records.
	Damages     []spool.Damage        `json:"damages,omitempty"`
	Unaccounted []segment.Unaccounted `json:"unaccounted,omitempty"`
	// LostInEnd is how many records of Lost were lost since the end began because the spool was full or a listener had to be
	// closed without waiting.
	LostInEnd uint64 `json:"lost_in_end,omitempty"`
	// LostMeanwhile has everything that was lost since the end began, by cause.
	LostMeanwhile segment.Losses               `json:"lost_meanwhile,omitzero"`
	Destinations  map[string]DestinationReport `json:"destinations"`
	// Err is why the class was not running, or why the balance is wrong.
	Err string `json:"error,omitempty"`

	inMemory uint64 // received or made, and neither kept nor filtered nor lost
}

// DestinationReport is the balance of one destination: kept = delivered + pending + damaged.
type DestinationReport struct {
	Delivered segment.Tally `json:"delivered"`
	Pending   segment.Tally `json:"pending"`
	// Verified means that the destination confirmed everything again in the phase verify.
	Verified bool   `json:"verified,omitempty"`
	State    string `json:"state,omitempty"`
	Err      string `json:"error,omitempty"`
	// Restored counts objects that were missing there and that verify has stored again.
	Restored int `json:"restored,omitempty"`
	// Drained is the part of Delivered that was delivered since the end began, BytesPerSecond its payload bytes over the
	// time from then to the report. Stored are the bytes, compressed, that the destination confirmed meanwhile.
	Drained        segment.Tally `json:"drained"`
	Stored         int64         `json:"stored_bytes"`
	BytesPerSecond float64       `json:"bytes_per_second"`
}

// Leftover is one segment that a destination does not have, or not as it was sent.
type Leftover struct {
	Class       string `json:"class"`
	Destination string `json:"destination"`
	Segment     uint64 `json:"segment"` // 0 for records that are not sealed, and for a manifest
	First       uint64 `json:"first"`
	Last        uint64 `json:"last"`
	Records     uint64 `json:"records"`
	Bytes       uint64 `json:"bytes"`
	Where       string `json:"where"` // "spool" or the key at the destination
	Why         string `json:"why"`
}

// ExitCode returns the exit code for a process that ends with this report: 0 delivered, 3 stopped, 4 incomplete, 5
// mismatch, and 1 without a report (nil).
func (r *Report) ExitCode() int {
	if r == nil {
		return 1
	}
	switch r.Outcome {
	case Delivered:
		return 0
	case Stopped:
		return 3
	case Incomplete:
		return 4
	case Mismatch:
		return 5
	}
	return 1
}

// JSON returns the report as indented JSON with a final newline.
func (r *Report) JSON() []byte {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		// Every field is a plain value; a failure here is a bug in a MarshalJSON, and the report must still appear.
		b = fmt.Appendf(nil, `{"version":1,"outcome":%q,"errors":[%q]}`, r.Outcome, err)
	}
	return append(b, '\n')
}

// WriteSummary writes the report for people to read.
func (r *Report) WriteSummary(w io.Writer) error {
	outcome := string(r.Outcome)
	if r.Retained {
		outcome += ", retained,"
	}
	_, err := fmt.Fprintf(w, "%s: %s after %s (%s)\n", r.Intent, outcome,
		r.Ended.Sub(r.Started).Round(time.Millisecond), r.Trigger)
	p := func(format string, a ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, format, a...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Classes)) {
		c := r.Classes[name]
		p("  class %s: received %d records, kept %d, lost %d", name, c.Received.Records, c.Kept.Records, lostRecords(c))
		if c.Filtered.Records > 0 {
			p(", filtered %d", c.Filtered.Records)
		}
		if c.Made.Records > 0 {
			p(", made %d", c.Made.Records)
		}
		if c.Damaged.Records > 0 {
			p(", damaged %d", c.Damaged.Records)
		}
		p("\n")
		if c.Err != "" {
			p("    %s\n", c.Err)
		}
		for _, x := range c.Damages {
			p("    damaged: segment %d, records %s", x.Segment, ranges(x.Ranges))
			if len(x.Files) > 0 {
				p(", in %s", strings.Join(x.Files, ", "))
			}
			if x.GivenUp {
				p(", given up")
			} else {
				p(", NOT given up: do not delete this spool")
			}
			p("\n")
		}
		if c.LostInEnd > 0 {
			p("    lost while it ended: %d (%s)\n", c.LostInEnd, c.LostMeanwhile.Text())
		}
		for cause, l := range c.Lost.All() {
			p("    lost to %s: %d\n", cause, l.Records)
		}
		for _, dest := range slices.Sorted(maps.Keys(c.Destinations)) {
			d := c.Destinations[dest]
			p("    %-12s delivered %d", dest, d.Delivered.Records)
			if d.Drained.Records > 0 {
				p(" (%d since the end began, %.1f MB/s)", d.Drained.Records, d.BytesPerSecond/1e6)
			}
			p(", pending %d", d.Pending.Records)
			if d.Verified {
				p(", verified")
			}
			if d.Restored > 0 {
				p(", %d objects stored again", d.Restored)
			}
			if d.Err != "" {
				p(" (%s)", d.Err)
			}
			p("\n")
		}
	}
	for _, a := range r.Adoptions {
		p("  adopted volume %s: NOT delivered, pending %s: %s\n", a.Dir, a.describePending(), a.Why)
	}
	r.writeLeft(p)
	for _, e := range r.Errors {
		p("  error: %s\n", e)
	}
	return err
}

// writeLeft describes the segments that are left or, if there are none, the phases that failed. If segments are left, the
// phases would only repeat that.
func (r *Report) writeLeft(p func(format string, a ...any)) {
	if n := r.segmentsLeft(); n > 0 {
		x, many := r.Left[0], "segment:"
		if n > 1 {
			many = "segments, the first:"
		}
		p("  left: %d %s class %s, segment %d, records %d to %d, not at %s: %s\n", n, many, x.Class, x.Segment, x.First, x.Last, x.Destination, x.Why)
	} else if r.Outcome != Delivered {
		for _, x := range r.Phases {
			if x.Err != "" {
				p("  %s failed: %s\n", x.Name, x.Err)
			}
		}
	}
}

// segmentsLeft counts the segments that are left; in Left, a segment has an entry for each destination.
func (r *Report) segmentsLeft() int {
	type key struct {
		class          string
		segment, first uint64
	}
	left := make(map[key]struct{})
	for _, x := range r.Left {
		left[key{x.Class, x.Segment, x.First}] = struct{}{}
	}
	return len(left)
}

// ranges writes sequence numbers for people.
func ranges(list []segment.Range) string {
	if len(list) == 0 {
		return "unknown"
	}
	const most = 20
	var parts []string
	for i, r := range list {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more ranges", len(list)-most))
			break
		}
		parts = append(parts, fmt.Sprintf("%d to %d", r.First, r.Last))
	}
	return strings.Join(parts, ", ")
}

func lostRecords(c ClassReport) (n uint64) {
	for _, l := range c.Lost {
		n += l.Records
	}
	for _, u := range c.Unaccounted {
		n += u.Known.Records
	}
	return n
}
