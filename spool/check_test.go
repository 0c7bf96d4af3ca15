package spool_test

import (
	"errors"
	"testing"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestOptionsCheck checks options for an open spool and for one that no process has open.
func TestOptionsCheck(t *testing.T) {
	dir := t.TempDir()
	given := func(dests ...string) *spool.Options { return &spool.Options{Class: "vpn", Destinations: dests} }
	if err := given("a").Check(dir); err != nil {
		t.Errorf("an empty directory: %v", err)
	}
	s, err := spool.Open(dir, given("a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	forget := given("a")
	forget.Forget = []string{"b"}
	ask := func(when string, missing error) {
		t.Helper()
		for name, x := range map[string]struct {
			o    *spool.Options
			want error
		}{
			"the same": {given("a", "b"), nil}, "one more": {given("a", "b", "c"), nil}, "one less": {given("a"), missing},
			"forgotten": {forget, nil}, "unusable": {given("a", "a"), spool.ErrOptions},
		} {
			if err := x.o.Check(dir); !errors.Is(err, x.want) {
				t.Errorf("%s: %s: %v, want %v", when, name, err, x.want)
			}
		}
		if err := (&spool.Options{Class: "web", Destinations: []string{"a", "b"}}).Check(dir); err == nil {
			t.Errorf("%s: another class is accepted", when)
		}
	}
	ask("beside a process", spool.ErrPending) // more may come for it
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ask("nothing pending", nil)
	if s, err = spool.Open(dir, given("a", "b")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ask("pending", spool.ErrPending)
	if s, err := spool.Open(dir, given("a")); !errors.Is(err, spool.ErrPending) {
		t.Errorf("Open: %v", err)
		_ = s.Close()
	}
}
