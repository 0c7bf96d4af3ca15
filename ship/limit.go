package ship

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
)

// minRate is the least that a Limiter may let through: below it a single request of a driver would take longer than a
// peer waits for it.
const minRate = 16 << 10

// limitBurst is what may go at once after a rest, in time at the Limiter's rate.
const limitBurst = 100 * time.Millisecond

// Limiter bounds the rate of uploads, in bytes of the stored objects: a token bucket that holds a tenth of a second. Give
// one to the Shippers of several classes, and they share it; give a Shipper two for one destination, and it keeps to
// both. All methods may be called from any goroutine.
//
// It counts the bytes that uploads read: an upload that is repeated counts again. What comes back (objects that are read to
// verify them) and manifests do not count.
type Limiter struct {
	mu   sync.Mutex
	rate float64 // bytes per second
	// full is when the bucket is full again if nothing more is taken. Behind now by less than the burst: some is left; ahead
	// of now: so much is owed. One time holds both the level and the time of the last change.
	full    time.Time
	changed wait.Signal // the rate is another one
}

// NewLimiter returns a Limiter for so many bytes per second; less than 16 KiB/s is taken for that.
func NewLimiter(bytesPerSecond int64) *Limiter {
	return &Limiter{rate: float64(max(bytesPerSecond, minRate))}
}

// SetRate changes the rate, also of uploads that are under way. Whatever waits goes on at once, and what it owes at the old rate is
// forgiven: so one read of each upload that waits is not limited, and every later one is limited to the new rate.
func (l *Limiter) SetRate(bytesPerSecond int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate, l.full = float64(max(bytesPerSecond, minRate)), time.Time{}
	l.changed.Broadcast()
}

// reserve takes n bytes and returns when they may go: at that time, or once the channel is closed because the rate has changed. Whoever
// comes later waits after that: large and small requests are served in the order in which they come.
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
	case <-hurry: // nothing is counted: whoever is in a hurry owes nothing afterwards
		return l.ReaderAt.ReadAt(p, off)
	default:
	}
	type turn struct {
		at      time.Time
		changed <-chan struct{}
	}
	var turns []turn
	now := time.Now()
	for _, lim := range l.limiters { // all of them first: the times run at once
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

// rush says that somebody waits for everything to be delivered.
type rush struct {
	mu sync.Mutex
	n  int           // who wait
	on chan struct{} // closed while there is one
}

func (r *rush) init() { r.on = make(chan struct{}) }

// hurry begins a rush; what it returns ends it.
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

// wait returns a channel that is closed while there is a rush.
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
