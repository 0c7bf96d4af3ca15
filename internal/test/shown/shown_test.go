package shown

import (
	"strings"
	"testing"
)

// TestMatch: outputs that differ in numbers have the same shape, others do not.
func TestMatch(t *testing.T) {
	const page = "class main\n  spool 01m8ke8kvz3hbxr2y9n91vfc8y of i-0123456789abcdef0\n…\n    owed … records 1 to 2000 in 1 object, 248.3 kB, last heard of 3s ago\nup 57s, 1 error\nexit 3\n"
	for printed, same := range map[string]bool{
		strings.Replace(page, "…\n", "", 1): true,
		"class main\nspool 02abcdefghjkmnpqrstvwxyz00 of i-0000000000000001\none\ntwo\nowed at a records 7 to 8 in 9 object, 1.5 MB, last heard of 1m2s ago\nup 1m 2s, 2 errors\nexit 1\n": true,
		strings.Replace(page, "owed", "damaged", 1): false,
		page + "one line more\n":                    false,
		strings.Replace(page, "exit 3\n", "", 1):    false,
		"":                                          false,
	} {
		if err := Match(page, printed); (err == nil) != same {
			t.Errorf("%q: %v", printed, err)
		}
	}
}
