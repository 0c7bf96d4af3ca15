// Package jsonstring writes JSON strings within a limit, for framings that make JSON of data from untrusted senders.
package jsonstring

import (
	"encoding/json"
	"slices"
	"unicode/utf8"
)

// piece is how many bytes of a string are escaped at once. An escaped string may have six times the bytes of the string, and
// encoding/json allocates several times that.
const piece = 4 << 10

// Append appends s as a JSON string; bytes that are not UTF-8 become U+FFFD. Most strings need no escapes. One that does is escaped
// in pieces. Append stops after the piece with which dst exceeds limit: the caller must compare, and discard such a result.
func Append(dst, s []byte, limit int) []byte {
	plain := true
	for _, c := range s {
		if c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			plain = false
			break
		}
	}
	if plain {
		return append(append(append(dst, '"'), s...), '"')
	}
	dst = append(slices.Grow(dst, len(s)+2), '"')
	for len(s) > 0 && len(dst) <= limit {
		n := pieceEnd(s, piece)
		text, err := json.Marshal(string(s[:n]))
		if err != nil { // a string always has a JSON form
			break
		}
		dst, s = append(dst, text[1:len(text)-1]...), s[n:]
	}
	return append(dst, '"')
}

// pieceEnd returns where to cut s, at most n bytes from its front and not inside a character. A character has at most 4 bytes:
// if none begins in the 4 bytes before n, they are not UTF-8, and it does not matter where they are cut.
func pieceEnd(s []byte, n int) int {
	if len(s) <= n {
		return len(s)
	}
	for i := n; i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return i
		}
	}
	return n
}
