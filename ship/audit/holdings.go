package audit

import (
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/format"
)

// holdings is the lines that the chains of a place state.
type holdings struct {
	segments map[uint64]ship.SegmentLine // of a spool that has no relatives, by number
	contents map[content]ship.SegmentLine
	taken    map[string]bool // the keys of objects, of a group
}

func newHoldings(group bool) holdings {
	if group {
		return holdings{contents: map[content]ship.SegmentLine{}, taken: map[string]bool{}}
	}
	return holdings{segments: map[uint64]ship.SegmentLine{}}
}

func (h holdings) add(s *ship.SegmentLine) {
	if h.contents == nil {
		h.segments[s.Segment] = *s
		return
	}
	h.contents[contentOf(s)] = *s
	h.taken[s.Key] = true
}

// find returns this place's line about the records of another place's line. If there is none, it returns that other
// line, with the key that its object gets here. what says how the two contradict each other. A segment that was staged again may
// have other bytes here: whether they are right is judged by the line of this place.
func (h holdings) find(extra format.Extra, s *ship.SegmentLine) (there ship.SegmentLine, named bool, what string) {
	if h.contents == nil {
		if there, named = h.segments[s.Segment]; !named {
			return *s, false, ""
		}
		if what = (&step{line: s}).differs(&step{line: &there}); what != "" && mayBeRestaged(extra, s, &there) {
			what = ""
		}
		return there, true, what
	}
	if there, named = h.contents[contentOf(s)]; named {
		return there, true, lineDiffers(s, &there)
	}
	there = *s
	if h.taken[s.Key] {
		there.Key, _ = contentKey(s)
	}
	return there, false, ""
}
