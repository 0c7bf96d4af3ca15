// Package terminal makes text safe to write to a terminal. Other parties choose the names of files and objects and the answers
// of servers: with an escape sequence or a newline in them they could control the terminal, or forge a line that says all is
// well.
package terminal

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable replaces characters that could control a terminal, including newlines.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// Paragraph is Printable for the text of a joined error, which contains newlines: it indents the lines after the first one.
func Paragraph(s string) string {
	all := strings.Split(s, "\n")
	for i := range all {
		all[i] = Printable(all[i])
	}
	return strings.Join(all, "\n    ")
}

// EscapeJSON escapes characters in JSON that are not printable. JSON itself escapes only the first 32 characters, but terminals
// obey others, too. Such characters occur in strings only, so the JSON keeps its meaning.
func EscapeJSON(b []byte) []byte {
	clean := true
	for _, c := range string(b) {
		clean = clean && (unicode.IsPrint(c) || c == '\n')
	}
	if clean {
		return b
	}
	out := make([]byte, 0, len(b)+64)
	for _, c := range string(b) {
		switch {
		case unicode.IsPrint(c) || c == '\n':
			out = utf8.AppendRune(out, c)
		case c > 0xffff:
			c -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+c>>10, 0xdc00+c&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, c)
		}
	}
	return out
}
