package wait

import "sync"

// Signal wakes all goroutines that wait for a change of some state. A goroutine that waits takes the channel first, then
// looks at the state, and then waits: a change in between closes the channel that it took, so that none is missed. The zero
// value is ready to use.
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

// Broadcast closes the channel that Next has returned since the last Broadcast.
func (s *Signal) Broadcast() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
