package ingest

import (
	"context"
	"sync"
)

// marks maps a number of a Route to the numbers up to which its Sinks must be durable. A session has few records that
// wait to be durable, and tracks them exactly. The Route itself is for senders without sessions, and waits for everything
// that any of them has appended.
type marks struct {
	exact bool

	mu      sync.Mutex
	seq     uint64
	last    []uint64 // by Sink: the highest number
	pending []mark   // of a session, oldest first
}

// mark is the number that a Sink has returned for records of a Route.
type mark struct {
	seq  uint64 // of the Route
	sink int
	last uint64
}

// add notes the number that a Sink has returned, and returns the number of the Route for it.
func (m *marks) add(sink int, last uint64) (seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seq++
	if last > 0 && m.exact {
		m.pending = append(m.pending, mark{m.seq, sink, last})
	}
	m.last[sink] = max(m.last[sink], last)
	return m.seq
}

// upTo returns up to which number each Sink must be durable, 0 for nothing.
func (m *marks) upTo(seq uint64) (last []uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	last = make([]uint64, len(m.last))
	if !m.exact {
		copy(last, m.last)
		return last
	}
	for _, p := range m.pending {
		if p.seq <= seq {
			last[p.sink] = max(last[p.sink], p.last)
		}
	}
	return last
}

// forget drops the marks up to a number.
func (m *marks) forget(seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for n < len(m.pending) && m.pending[n].seq <= seq {
		n++
	}
	m.pending = append(m.pending[:0], m.pending[n:]...)
}

// WaitDurable implements Durable: it waits for all Sinks.
func (r *Route) WaitDurable(ctx context.Context, seq uint64) error {
	for i, last := range r.marks.upTo(seq) {
		if last == 0 {
			continue
		}
		if err := waitDurable(ctx, r.sinks[i].Sink, last); err != nil {
			return err
		}
	}
	r.marks.forget(seq)
	return nil
}

// notDurable returns why the Route cannot serve a listener that acknowledges.
func (r *Route) notDurable() error {
	for _, s := range r.sinks {
		if _, err := durable(s.Sink); err != nil {
			return err
		}
	}
	return nil
}
