package terminal_test

import (
	"encoding/json"
	"testing"
	"unicode"

	"github.com/penstock-go/penstock/examples/internal/terminal"
)

// FuzzText: no unprintable character is left, and JSON keeps its meaning.
func FuzzText(f *testing.F) {
	for _, s := range []string{"plain", "a\nb", "\x1b]0;x\a", "\u009b2J", "\u202ex", "\U000e0001", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := json.Marshal([]string{s})
		if err != nil {
			t.Fatal(err)
		}
		var was, is []string
		safe := terminal.EscapeJSON(b)
		if json.Unmarshal(b, &was) != nil || json.Unmarshal(safe, &is) != nil || len(is) != 1 || was[0] != is[0] {
			t.Errorf("%q became %q", b, safe)
		}
		for _, c := range terminal.Printable(s) + string(safe) {
			if !unicode.IsPrint(c) {
				t.Errorf("%q has %q", s, c)
			}
		}
		for _, c := range terminal.Paragraph(s) {
			if !unicode.IsPrint(c) && c != '\n' {
				t.Errorf("%q has %q", s, c)
			}
		}
	})
}
