package spool

import (
	"errors"
	"testing"

	"github.com/penstock-go/penstock/spool/internal/index"
)

// TestAdoptJoinedRefused: a destination has joined after the newest segment was begun, so that no header names it, and the disk does not
// return spool.json. The chain states name it: it is owed its records, and an adopter that cannot deliver to it says so.
func TestAdoptJoinedRefused(t *testing.T) {
	d, sectors := badSectors()
	s := d.open(t, Options{Destinations: []string{"a"}})
	mustAppend(t, s, batch(1, 5, 100))
	mustSeal(t, s)
	mustAppend(t, s, batch(6, 5, 100))
	if err := s.shelf.Join("b"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, batch(11, 5, 100))
	closeSpool(t, s)
	sectors.refuse("/spool/"+identityName, 0, 1)
	o := AdoptOptions{Work: "/work", Instance: "adopter", MaxBytes: 64 << 20, Destinations: []string{"a"}}
	if s, err := adopt("/spool", d.fs, new(index.Mem).Open, &o); !errors.Is(err, ErrPending) {
		t.Errorf("without the destination that has joined: %v", err)
		closeSpool(t, s)
	}
	o.Destinations = append(o.Destinations, "b")
	s, err := adopt("/spool", d.fs, new(index.Mem).Open, &o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, dest := range o.Destinations {
		if n := s.Stats().Pending[dest].Records; n != 15 {
			t.Errorf("%s is owed %d of 15 records", dest, n)
		}
	}
}
