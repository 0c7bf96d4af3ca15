package status

import (
	"sync"
	"time"

	"github.com/penstock-go/penstock/drain"
)

// adoptionSpan is how long an adoption may take before it needs attention, as in the alert PenstockAdoptionWaits.
const adoptionSpan = time.Hour

// waits knows since when each adopted spool has not been delivered.
type waits struct {
	mu    sync.Mutex
	since map[string]time.Time // by directory
}

// late notes the adoptions that are not delivered at present, and returns those that take too long.
func (w *waits) late(all []drain.Adoption, now time.Time) (late []drain.Adoption) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.since
	w.since = make(map[string]time.Time, len(all))
	for _, a := range all {
		since, ok := before[a.Dir]
		if !ok {
			since = now
		}
		w.since[a.Dir] = since
		if now.Sub(since) >= adoptionSpan {
			late = append(late, a)
		}
	}
	return late
}
