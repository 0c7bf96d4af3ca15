// Package shell quotes words for shells.
package shell

import "strings"

// Quote makes s one word for a POSIX shell, whatever it contains. Words of letters, digits and "/=._-" are not changed.
func Quote(s string) string {
	special := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/=._-", r))
	}
	if s != "" && !strings.ContainsFunc(s, special) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
