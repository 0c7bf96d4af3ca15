package shiptest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ship"
)

// lister returns the destination as a Lister, or skips the test: a destination need not be one.
func (s *suite) lister() ship.Lister {
	l, ok := s.d.(ship.Lister)
	if !ok {
		s.Skip("not a ship.Lister")
	}
	return l
}

// list: List yields all objects below whole and partial prefixes, in byte order of keys, and nothing else.
func (s *suite) list() {
	l := s.lister()
	// A walk of folders that sorts names, not keys, gets these wrong: '-' and '.' come before '/', '0' after it.
	sizes := map[string]int64{}
	for i, name := range []string{"a/b/2", "a/b/10", "a-b", "a.b", "a0", "b/x=1/y", "b/x=1/z", "b/x=2", "ab/c"} {
		key := s.key(name)
		s.mustPut(key, random(i))
		sizes[key] = int64(i)
	}
	for _, prefix := range []string{"", "a", "a/", "a/b/1", "b/x=", "b/x=1/", "b/x=1/y", "nothing", "a/b/2/3"} {
		prefix = s.key(prefix)
		var want []string
		for key := range sizes {
			if strings.HasPrefix(key, prefix) {
				want = append(want, key)
			}
		}
		slices.Sort(want)
		var got []string
		for e, err := range l.List(s.ctx, prefix) {
			if err != nil {
				s.Fatalf("List(%q): %v", prefix, err)
			}
			if e.Size != sizes[e.Key] {
				s.Errorf("List(%q): %s has %d bytes, want %d", prefix, e.Key, e.Size, sizes[e.Key])
			}
			got = append(got, e.Key)
		}
		if !slices.Equal(got, want) {
			s.Errorf("List(%q):\n got %q\nwant %q", prefix, got, want)
		}
	}
	if after, ok := s.d.(ship.ListerAfter); ok {
		s.listAfter(after, sizes)
	}
	// The whole destination, as an auditor lists it: no temporary files.
	for e, err := range l.List(s.ctx, "") {
		if err != nil {
			s.Fatalf("List of everything: %v", err)
		}
		if strings.HasPrefix(e.Key, "_tmp/") {
			s.Errorf("List shows the temporary file %s", e.Key)
		}
	}
}

// listAfter: ListAfter yields what List yields after a key, which need not exist.
func (s *suite) listAfter(l ship.ListerAfter, sizes map[string]int64) {
	for _, prefix := range []string{"", "a", "b/x=1/"} {
		for _, after := range []string{"", "a", "a/b/10", "a/b/3", "b/x=1/y", "b/x=1/z", "c"} {
			prefix, after := s.key(prefix), s.key(after)
			var want, got []string
			for key := range sizes {
				if strings.HasPrefix(key, prefix) && key > after {
					want = append(want, key)
				}
			}
			slices.Sort(want)
			for e, err := range l.ListAfter(s.ctx, prefix, after) {
				if err != nil {
					s.Fatalf("ListAfter(%q, %q): %v", prefix, after, err)
				}
				got = append(got, e.Key)
			}
			if !slices.Equal(got, want) {
				s.Errorf("ListAfter(%q, %q):\n got %q\nwant %q", prefix, after, got, want)
			}
		}
	}
}

// listEnds: a caller can stop a listing early, and a listing that was cut short ends with an error.
func (s *suite) listEnds() {
	l := s.lister()
	for _, name := range []string{"a", "b/c", "d"} {
		s.mustPut(s.key(name), random(5))
	}
	for e, err := range l.List(s.ctx, s.key("")) {
		if err != nil || e.Key != s.key("a") {
			s.Errorf("first of List = %+v, %v", e, err)
		}
		break
	}
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	var last error
	for _, err := range l.List(ctx, s.key("")) {
		last = err
	}
	if last == nil {
		s.Error("List with a cancelled context ends without an error: a part could be taken for the whole")
	}
}

// checkAndLocation: Location never changes, and each Check asks the destination again.
func (s *suite) checkAndLocation() {
	if l, ok := s.d.(ship.Locator); ok {
		s.Run("Location", func(t *testing.T) {
			first := l.Location()
			if again := l.Location(); first == "" || again != first {
				t.Errorf("Location() = %q, then %q", first, again)
			}
		})
	}
	c, ok := s.d.(ship.Checker)
	if !ok {
		s.Skip("not a ship.Checker")
	}
	if err := c.Check(s.ctx); err != nil {
		s.Errorf("Check: %v", err)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if c.Check(ctx) == nil {
		s.Error("Check with a cancelled context succeeds")
	}
}
