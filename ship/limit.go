package ship

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
)

// minRate is the lowest rate of a Limiter: below it, a single request of a driver would take longer than its peer waits.
const minRate = 16 << 10

// limitBurst is how much may be read at once after an idle time, expressed as time at the Limiter's rate.
const limitBurst = 100 * time.Millisecond

// Limiter bounds the rate of uploads, in bytes of the stored objects: a token bucket that holds a tenth of a second. Shippers
// of several classes that have the same Limiter share its rate; a Shipper that has two for one destination keeps to both. All
// methods may be called from any goroutine.
//
// It counts the bytes that uploads read: an upload that is repeated counts again. Manifests, and objects that are read back
// to verify them, do not count.
type Limiter struct {
	mu   sync.Mutex
	rate float64 // bytes per second
	// full is when the bucket is full again if nothing more is taken. If that is less than limitBurst after now, part of the
	// burst is left; anything beyond that is owed. So one time holds both the level and the time of the last change.
	full    time.Time
	changed wait.Signal // the rate has changed
}

// NewLimiter returns a Limiter for this many bytes per second, and at least 16 KiB/s.
func NewLimiter(bytesPerSecond int64) *Limiter {
	return &Limiter{rate: float64(max(bytesPerSecond, minRate))}
}

// SetRate changes the rate, also for uploads in progress. Reads that wait continue at once, and their debt at the old rate is
// forgiven: so one read of each waiting upload is not limited, and every later one is limited to the new rate.
func (l *Limiter) SetRate(bytesPerSecond int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate, l.full = float64(max(bytesPerSecond, minRate)), time.Time{}
	l.changed.Broadcast()
}

// reserve takes n bytes and returns when they may be read: at that time, or once the channel is closed because the rate has
// changed. Requests, large or small, are served in the order in which they arrive.
func (l *Limiter) reserve(n int, now time.Time) (at time.Time, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full.Before(now) {
		l.full = now
	}
	l.full = l.full.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
	return l.full.Add(-limitBurst), l.changed.Next()
}

// limited is a body that is read no faster than its limiters allow, unless there is a rush.
type limited struct {
	io.ReaderAt
	ctx      context.Context // of the one upload that reads this body
	limiters []*Limiter
	rush     *rush
}

// ReadAt waits first, so that an upload that is cancelled has not read what it does not send.
func (l *limited) ReadAt(p []byte, off int64) (int, error) {
	hurry := l.rush.wait()
	select {
	case <-hurry: // nothing is counted: reads during a rush leave no debt
		return l.ReaderAt.ReadAt(p, off)
	default:
	}
	type turn struct {
		at      time.Time
		changed <-chan struct{}
	}
	var turns []turn
	now := time.Now()
	for _, lim := range l.limiters { // reserve from all first, so that the waits overlap
		if at, changed := lim.reserve(len(p), now); at.After(now) {
			turns = append(turns, turn{at, changed})
		}
	}
	for _, t := range turns {
		if _, err := wait.For(l.ctx, time.Until(t.at), hurry, t.changed); err != nil {
			return 0, err
		}
	}
	return l.ReaderAt.ReadAt(p, off)
}

// limitRate returns a body that keeps to the limits of the destination.
func (l *lane) limitRate(ctx context.Context, body *io.SectionReader) *io.SectionReader {
	if len(l.limits) == 0 {
		return body
	}
	return io.NewSectionReader(&limited{body, ctx, l.limits, &l.s.rush}, 0, body.Size())
}

// rush records whether callers wait for everything to be delivered.
type rush struct {
	mu sync.Mutex
	n  int           // callers that wait
	on chan struct{} // closed while there is one
}

func (r *rush) init() { r.on = make(chan struct{}) }

// hurry begins a rush; the returned function ends it.
func (r *rush) hurry() (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n++; r.n == 1 {
		close(r.on)
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.n--; r.n == 0 {
			r.on = make(chan struct{})
		}
	}
}

// wait returns a channel that is closed while there is a rush, or once one begins.
func (r *rush) wait() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.on
}

// active reports whether there is a rush now.
func (r *rush) active() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n > 0
}
