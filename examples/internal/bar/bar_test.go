package bar

import (
	"bytes"
	"strings"
	"testing"
)

func TestLine(t *testing.T) {
	for part, want := range map[float64]int{0: 0, 0.5: 12, 1: 24, 7: 24, -1: 0} {
		if s := Line(part, "text"); strings.Count(s, "=") != want || len(s) != 24+2+5 {
			t.Errorf("%v: %q", part, s)
		}
	}
}

// TestDraw: nothing is drawn unless the output is a terminal.
func TestDraw(t *testing.T) {
	var b bytes.Buffer
	done := Draw(&b, func() string { return "line" })
	done()
	if b.Len() > 0 || IsTerminal(&b) {
		t.Errorf("%q", &b)
	}
}
