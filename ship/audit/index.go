package audit

import (
	"slices"
	"strings"

	"github.com/penstock-go/penstock/ship"
)

// index is a remembered listing, in the order of its keys.
type index struct {
	entries []ship.Entry
	full    bool // everything has been listed once
}

// after returns the position of the first entry whose key is greater.
func (x *index) after(key string) int {
	i, found := slices.BinarySearchFunc(x.entries, key, func(e ship.Entry, key string) int { return strings.Compare(e.Key, key) })
	if found {
		i++
	}
	return i
}

// has reports whether a key is listed.
func (x *index) has(key string) bool {
	i := x.after(key)
	return i > 0 && x.entries[i-1].Key == key
}

// below returns the range of entries whose keys begin with prefix.
func (x *index) below(prefix string) (from, to int) {
	from, _ = slices.BinarySearchFunc(x.entries, prefix, func(e ship.Entry, key string) int { return strings.Compare(e.Key, key) })
	n, _ := slices.BinarySearchFunc(x.entries[from:], prefix, func(e ship.Entry, prefix string) int {
		if strings.HasPrefix(e.Key, prefix) {
			return -1
		}
		return 1
	})
	return from, from + n
}

// replace replaces a range by a new listing, and reports whether the two are the same. It calls changed with each key that appeared,
// disappeared, or has another size.
func (x *index) replace(from, to int, entries []ship.Entry, changed func(key string)) (same bool) {
	old := x.entries[from:to]
	same = len(old) == len(entries)
	i := 0
	for _, e := range entries {
		for ; i < len(old) && old[i].Key < e.Key; i++ {
			same = false
			changed(old[i].Key)
		}
		switch {
		case i < len(old) && old[i] == e:
			i++
			continue
		case i < len(old) && old[i].Key == e.Key:
			i++
		}
		same = false
		changed(e.Key)
	}
	for ; i < len(old); i++ {
		changed(old[i].Key)
	}
	if !same {
		x.entries = slices.Replace(x.entries, from, to, entries...)
	}
	return same
}

func (x *index) yield(yield func(ship.Entry, error) bool) {
	for _, e := range x.entries {
		if !yield(e, nil) {
			return
		}
	}
}
