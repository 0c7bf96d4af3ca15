package wait

import "sync"

// Signal wakes all goroutines that wait for a change of a state. A waiting goroutine first gets the channel, then checks the
// state, and then waits. So it misses no change: a change after the check closes the channel that it has. The zero value is
// ready to use.
type Signal struct {
	mu sync.Mutex
	ch chan struct{} // nil while nobody waits
}

// Next returns a channel that the next Broadcast closes.
func (s *Signal) Next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

// Broadcast closes the channel that Next has returned since the last Broadcast, if any.
func (s *Signal) Broadcast() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
