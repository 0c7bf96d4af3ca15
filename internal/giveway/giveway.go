// Package giveway lets work that can wait give way to work that cannot.
//
// Encoding can wait: data that is not encoded yet is safe on the disk. A UDP socket cannot wait: when its queue is full, the
// kernel drops datagrams. Both compete for the same processors, and neither Go nor the kernel knows which of them is urgent. So
// a listener calls [Behind] for each burst while it works through a long queue, and an encoder rests between its writes as long
// as such calls continue.
//
// There is no state to set and clear: a listener that stops reading, because it ended or because a full spool makes it wait,
// makes no more calls, and the encoder continues. The encoder also continues after [Rest], and then works for at least a tenth
// of that time, so that no load stops it completely. It does not rest while there are enough processors for all.
package giveway

import (
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// pause is how long a resting encoder waits before it checks again, and the least time that it works between two rests,
	// however small its writes are.
	pause = time.Millisecond
	// Rest is the longest time of one rest.
	Rest = 10 * pause
	// quiet is after how many pauses without a call of Behind a rest ends. A burst of aggregated datagrams takes several
	// pauses.
	quiet = 3
)

var (
	behind   atomic.Uint64 // counts the calls of Behind
	yielders atomic.Int64  // that have not called Done
)

// Behind reports that a receiver is working through a long queue.
func Behind() { behind.Add(1) }

// Yielder is a worker that can wait, such as an encoder. Only one goroutine may use it at a time.
type Yielder struct {
	seen   uint64
	since  time.Time // since when it has worked
	enough int64     // it rests only while at least this many Yielders are at work
}

// NewYielder returns a Yielder that ignores earlier calls of Behind. It counts as at work until Done is called.
func NewYielder() *Yielder {
	yielders.Add(1)
	return &Yielder{behind.Load(), time.Now(), int64(runtime.GOMAXPROCS(0)) - 1}
}

// Done ends the work. It must be called once.
func (y *Yielder) Done() { yielders.Add(-1) }

// Behind reports whether Behind was called since the last rest.
func (y *Yielder) Behind() bool { return behind.Load() != y.seen }

// Due reports whether it is time to rest.
func (y *Yielder) Due() bool {
	return y.Behind() && yielders.Load() >= y.enough && time.Since(y.since) >= pause
}

// Rest waits until calls of Behind have stopped, at most for the constant Rest.
func (y *Yielder) Rest() {
	for n, silent := Rest/pause, 0; n > 0 && silent < quiet; n-- {
		y.seen = behind.Load()
		time.Sleep(pause)
		if silent++; y.Behind() {
			silent = 0
		}
	}
	y.since = time.Now()
}
