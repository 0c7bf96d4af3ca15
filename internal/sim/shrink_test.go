package sim

import "slices"

// shrink returns a shortest list that still fails in the same way. It removes events in ever smaller pieces (delta debugging),
// and then simplifies the remaining events. fails runs a list.
func shrink(events []Event, fails func([]Event) bool) []Event {
	for piece := len(events) / 2; piece > 0; {
		left := false
		for at := 0; at < len(events); {
			shorter := slices.Concat(events[:at], events[min(at+piece, len(events)):])
			if fails(shorter) {
				events, left = shorter, true
			} else {
				at += piece
			}
		}
		if !left || piece > len(events) {
			piece /= 2
		}
	}
	for i := range events {
		for _, simpler := range simplify(events[i]) {
			list := slices.Clone(events)
			list[i] = simpler
			if fails(list) {
				events = list
			}
		}
	}
	return events
}

// simplify returns simpler events.
func simplify(e Event) (all []Event) {
	if e.Kind == Start && e.A != 0 {
		all = append(all, Event{e.After, e.Host, e.Kind, 0, e.B})
	}
	if (e.Kind == Append || e.Kind == Offer || e.Kind == Octet) && e.A > 3 {
		all = append(all, Event{e.After, e.Host, e.Kind, 3, e.B})
	}
	return all
}
