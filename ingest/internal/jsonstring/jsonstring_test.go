package jsonstring

import (
	"encoding/json"
	"strings"
	"testing"
)

// A string that is escaped in pieces is the same as one that is escaped at once, wherever the pieces meet: inside a character,
// or among bytes that are not UTF-8.
func TestLongStrings(t *testing.T) {
	for _, unit := range []string{"\x01", "é", "€", "😀", "\xff", "\x80", "\xe2\x82", "\u2028<", "a\"😀\xf0\x9f"} {
		for shift := range 5 {
			s := strings.Repeat("x", shift) + strings.Repeat(unit, 3*piece/len(unit))
			want, err := json.Marshal(s)
			if got := Append(nil, []byte(s), 1<<20); err != nil || string(got) != string(want) {
				t.Errorf("%q after %d bytes is escaped otherwise", unit, shift)
			}
		}
	}
}
