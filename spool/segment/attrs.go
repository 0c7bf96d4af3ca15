package segment

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a set of attributes.
const (
	// MaxAttrs is the maximum number of pairs in a set.
	MaxAttrs = 32
	// MaxAttrKey is the maximum length of a key.
	MaxAttrKey = 64
	// MaxAttrsSize is the maximum size of a set in bytes: its keys and values, and three bytes for each pair. It is small because a
	// block repeats each set that its records use, and the text formats repeat a record's set in its line.
	MaxAttrsSize = 2000

	attrOverhead = 3 // bytes besides key and value
)

// Attrs is a set of key/value pairs that a record has besides its payload: for instance facts about its connection, or values by
// which the embedder wants to find it. It never changes, so records, batches and goroutines can share it. Make
// one set for many records, for example one for each connection: a block of a segment contains each set once, and a
// record with the same set as the record before it needs no further bytes for it.
//
// A nil *Attrs and the zero value are the empty set. All methods accept them.
type Attrs struct {
	enc string // as in a block
}

// NewAttrs returns the set of the given pairs, nil if there are none. A key is 1 to 64 characters of [a-z0-9_.-], which engines
// that ignore case can use as the name of a column. A value is UTF-8 text without control characters; it may be empty. The
// error lists every mistake.
func NewAttrs(pairs map[string]string) (*Attrs, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	var errs []error
	size := 0
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		size += attrOverhead + len(key) + len(pairs[key])
		if !isAttrKey([]byte(key)) {
			errs = append(errs, fmt.Errorf("segment: attribute key %q is not 1 to %d characters of [a-z0-9_.-]", key, MaxAttrKey))
		}
		if !isAttrValue([]byte(pairs[key])) {
			errs = append(errs, fmt.Errorf("segment: attribute %s=%q is not UTF-8 text without control characters", key, pairs[key]))
		}
	}
	if len(pairs) > MaxAttrs {
		errs = append(errs, fmt.Errorf("segment: %d attributes exceed %d", len(pairs), MaxAttrs))
	}
	if size > MaxAttrsSize {
		errs = append(errs, fmt.Errorf("segment: attributes of %d bytes exceed %d", size, MaxAttrsSize))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	enc := make([]byte, 0, size)
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		enc = append(enc, byte(len(key)))
		enc = le.AppendUint16(enc, uint16(len(pairs[key])))
		enc = append(append(enc, key...), pairs[key]...)
	}
	return &Attrs{string(enc)}, nil
}

// isAttrKey reports whether b may be a key.
func isAttrKey(b []byte) bool {
	return len(b) >= 1 && len(b) <= MaxAttrKey && only(b, "_.-")
}

// isAttrValue reports whether b may be a value.
func isAttrValue(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(b)
}

// isAttrs reports whether enc is a set as NewAttrs encodes it. It allocates nothing.
func isAttrs(enc []byte) bool {
	if len(enc) == 0 || len(enc) > MaxAttrsSize {
		return false
	}
	n := 0
	for last := []byte(nil); len(enc) > 0; n++ {
		key, value, rest, ok := cutAttr(enc)
		if !ok || bytes.Compare(key, last) <= 0 || !isAttrKey(key) || !isAttrValue(value) {
			return false
		}
		enc, last = rest, key
	}
	return n <= MaxAttrs
}

// cutAttr cuts the first pair off an encoded set.
func cutAttr[T string | []byte](enc T) (key, value, rest T, ok bool) {
	if len(enc) < attrOverhead {
		return key, value, rest, false
	}
	k, v := int(enc[0]), int(enc[1])|int(enc[2])<<8
	if enc = enc[attrOverhead:]; len(enc) < k+v {
		return key, value, rest, false
	}
	return enc[:k], enc[k : k+v], enc[k+v:], true
}

// All yields the pairs in the order of their keys.
func (a *Attrs) All() iter.Seq2[string, string] {
	return func(yield func(key, value string) bool) {
		if a == nil {
			return
		}
		for rest := a.enc; rest != ""; {
			key, value, after, _ := cutAttr(rest)
			if !yield(key, value) {
				return
			}
			rest = after
		}
	}
}

// Get returns the value of a key, and false if the set does not have it.
func (a *Attrs) Get(key string) (value string, ok bool) {
	for k, v := range a.All() {
		if k == key {
			return v, true
		}
	}
	return "", false
}

// Len returns the number of pairs.
func (a *Attrs) Len() (n int) {
	for range a.All() {
		n++
	}
	return n
}

// Equal reports whether two sets have the same pairs. It is cheap.
func (a *Attrs) Equal(b *Attrs) bool {
	return a == b || a.encoded() == b.encoded()
}

// Size returns how many bytes a block needs for the set, 0 for the empty one.
func (a *Attrs) Size() int {
	if a.encoded() == "" {
		return 0
	}
	return itemSize + len(a.enc)
}

// encoded returns the encoding of the set in a block, "" for the empty set, which blocks do not contain.
func (a *Attrs) encoded() string {
	if a == nil {
		return ""
	}
	return a.enc
}

// String returns the pairs as text: key="value", separated by spaces.
func (a *Attrs) String() string {
	var b strings.Builder
	for key, value := range a.All() {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s=%q", key, value)
	}
	return b.String()
}
