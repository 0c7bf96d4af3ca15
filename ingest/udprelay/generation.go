package udprelay

import "time"

// schedule decides which generation of source ports is in use. It derives the generation from the clock, so that a restarted
// relay continues with the generation that is due: a port rests even if the process that used it is gone.
type schedule struct {
	ports Ports
	begun time.Time // with a monotonic clock reading: a step of the clock must not shorten a rest
	at    int       // the generation in use; -1 for none
	used  []time.Time
}

func newSchedule(p Ports, now time.Time) *schedule {
	return &schedule{ports: p, begun: now, at: -1, used: make([]time.Time, p.Generations)}
}

// found notes that an existing table uses the ports from first to last.
func (s *schedule) found(first, last int, now time.Time) {
	for g := range s.used {
		if from := s.ports.first(g); from <= last && first < from+s.ports.Count {
			s.used[g] = now
			if from == first && from+s.ports.Count-1 == last {
				s.at = g
			}
		}
	}
}

// pick returns the generation to use now. The current one stays in use until the next one has rested.
func (s *schedule) pick(now time.Time) int {
	if s.at >= 0 {
		s.used[s.at] = now
	}
	next := s.byClock(now)
	if next == s.at || s.at >= 0 && !s.rested(next, now) {
		return s.at
	}
	for i := range s.used { // after a table with other ports, several generations may not have rested
		if g := (next + i) % len(s.used); s.rested(g, now) {
			s.at = g
			return g
		}
	}
	s.at = next
	return next
}

func (s *schedule) rested(g int, now time.Time) bool {
	return s.used[g].IsZero() || now.Sub(s.used[g]) > s.ports.Forgets
}

func (s *schedule) byClock(now time.Time) int {
	t := s.begun.UnixNano() + int64(now.Sub(s.begun))
	return int(t / int64(s.ports.Every) % int64(s.ports.Generations))
}
