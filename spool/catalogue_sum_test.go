package spool

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestCatalogueSums: the sums in the catalogue are right after any change.
func TestCatalogueSums(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	c := &catalogue{changed: new(wait.Signal)}
	next := uint64(0)
	for range 3000 {
		pick := func() (n uint64) {
			if len(c.segs) > 0 {
				n = c.segs[rnd.IntN(len(c.segs))].Number
			}
			return n
		}
		switch op := rnd.IntN(20); {
		case op < 10:
			next += 1 + rnd.Uint64N(2)
			c.put(&sealed{Segment: Segment{Number: next, Records: rnd.Uint64N(9), Bytes: rnd.Uint64N(99), Created: time.Unix(int64(next), 0), Staged: rnd.IntN(2) == 0}})
		case op < 12:
			n := pick()
			c.put(&sealed{Segment: Segment{Number: n, Records: 1, Bytes: 2, Created: time.Unix(int64(n), 0)}}) // a hole
		case op < 15:
			c.update(pick(), func(s *sealed) { s.Staged = !s.Staged })
		case op < 17:
			c.note(pick(), func(s *sealed) { s.Records, s.Bytes = s.Records/2, s.Bytes/2 })
		case op == 17:
			c.remove(pick(), 1<<30)
		}
		after, last := rnd.Uint64N(next+2), rnd.Uint64N(next+2)
		if op := rnd.IntN(3); op == 0 {
			last = ^uint64(0)
		}
		var want segment.Tally
		staged, first := 0, time.Time{}
		for _, s := range c.segs {
			if s.Staged {
				staged++
			}
			if s.Number > after && first.IsZero() {
				first = s.Created
			}
			if s.Number > after && s.Number <= last {
				want.Add(segment.Tally{Records: s.Records, Bytes: s.Bytes})
			}
		}
		if got := c.sum(after, last); got != want {
			t.Fatalf("segments above %d up to %d: %v, want %v", after, last, got, want)
		}
		if all, n := c.count(); all != len(c.segs) || n != staged {
			t.Fatalf("%d of %d are staged, want %d of %d", n, all, staged, len(c.segs))
		}
		if got, _ := c.begins(after); !got.Equal(first) {
			t.Fatalf("the first above %d begins at %v, want %v", after, got, first)
		}
	}
}
