package drain

import (
	"strings"
	"testing"
)

func summary(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteSummary(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestSummaryCountsSegments: a segment that two destinations lack is one segment.
func TestSummaryCountsSegments(t *testing.T) {
	r := &Report{Outcome: Incomplete, Intent: Drain}
	for _, dest := range []string{"idc", "s3"} {
		for n := range uint64(3) {
			r.Left = append(r.Left, Leftover{Class: "vpn", Destination: dest, Segment: n + 1, First: 10*n + 1, Last: 10*n + 10, Why: "down"})
		}
	}
	if s := summary(t, r); !strings.Contains(s, "left: 3 segments, the first: class vpn, segment 1, records 1 to 10, not at idc: down\n") {
		t.Error(s)
	}
	r.Left = r.Left[:1]
	if s := summary(t, r); !strings.Contains(s, "left: 1 segment: class vpn, segment 1, records 1 to 10, not at idc: down\n") {
		t.Error(s)
	}
}

// TestSummarySaysWhyIncomplete: everything is delivered, but a phase failed.
func TestSummarySaysWhyIncomplete(t *testing.T) {
	r := &Report{Outcome: Incomplete, Intent: Drain, Phases: []Phase{{Name: "close"}, {Name: "seal", Err: "no space left on device"}}}
	if s := summary(t, r); !strings.Contains(s, "  seal failed: no space left on device\n") {
		t.Error(s)
	}
}
