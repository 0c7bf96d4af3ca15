package spool

import "testing"

// TestNumbersGoOn: when everything was delivered and deleted, the segments of the next process do not take the numbers of
// those before. They would pass for delivered, and be deleted.
func TestNumbersGoOn(t *testing.T) {
	d := memDir()
	o := Options{Destinations: []string{"a", "b"}}
	s := d.open(t, o)
	for i := range 20 {
		mustAppend(t, s, batch(1+10*i, 10, 2000))
	}
	mustSeal(t, s)
	segs := s.shelf.Sealed(0, 0)
	last := segs[len(segs)-1].Number
	for _, dest := range o.Destinations {
		deliver(t, s, dest, last)
	}
	until(t, s, "all segments deleted", func() bool { return s.Stats().Segments == 0 })
	closeSpool(t, s)

	s = d.open(t, o)
	for i := range 3 {
		mustAppend(t, s, batch(201+i, 1, 10))
		mustSeal(t, s)
	}
	segs = s.shelf.Sealed(0, 0)
	if len(segs) != 3 || segs[0].Number <= last || s.Stats().Pending["a"].Records != 3 {
		t.Errorf("of 3 segments behind number %d there are %+v", last, segs)
	}
	balanced(t, s)
	closeSpool(t, s)
}
