package status

import (
	"sync"
	"time"

	"github.com/penstock-go/penstock/drain"
)

// adoptionSpan is how long an adoption may take before it needs attention, as in the alert PenstockAdoptionWaits.
const adoptionSpan = time.Hour

// waits has the time since when each adopted spool has been undelivered.
type waits struct {
	mu    sync.Mutex
	since map[string]time.Time // by directory
}

// late notes the adoptions that are not delivered yet, and returns those that take too long.
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
