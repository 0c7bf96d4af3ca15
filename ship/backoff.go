package ship

import "time"

const (
	backoffBase = 100 * time.Millisecond
	backoffCap  = 30 * time.Second
)

// Backoff returns how long to wait before the next attempt, after attempt (from 1) has failed; rnd in [0,1) is the caller's
// random number. The bound doubles from 200 ms to 30 s and the wait is spread over all of it ("full jitter", AWS Architecture
// Blog, "Exponential Backoff And Jitter"): when a destination comes back, a fleet that lost it at the same moment must not
// return at the same moment. The wait is never less than 100 ms, so that no random number causes a busy loop.
func Backoff(attempt int, rnd float64) time.Duration {
	bound := backoffCap
	// 2^9 × 100 ms is beyond the cap; testing before shifting keeps any attempt from overflowing.
	if attempt < 9 {
		bound = min(backoffBase<<max(attempt, 1), backoffCap)
	}
	return backoffBase + time.Duration(rnd*float64(bound-backoffBase))
}
