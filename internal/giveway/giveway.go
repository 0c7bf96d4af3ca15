// Package giveway lets work that can wait give way to work that cannot.
//
// Encoding can wait: what it has not done yet is safe on the disk. A UDP socket cannot: when its queue is full, the kernel drops.
// Both compete for the same processors, and neither Go nor the kernel knows which of them is in a hurry. So a listener says [Behind]
// at each burst as long as it works through a long queue, and an encoder rests between its writes for as long as somebody goes on to
// say it.
//
// Nobody sets and clears a state: a listener that stops reading, because it ended or because a full spool makes it wait, says nothing
// any more, and the encoder goes on. It also goes on after [Rest], for a tenth of that time at least, so that no load stops it altogether.
// It does not rest where there are processors for all.
package giveway

import (
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// pause is how long an encoder lets others run before it looks again, and how long it works at least between two rests, however
	// small its writes are.
	pause = time.Millisecond
	// Rest is how long it rests at most.
	Rest = 10 * pause
	// quiet is after how many pauses without a word a rest is over. A burst of aggregated datagrams takes some of them.
	quiet = 3
)

var (
	behind   atomic.Uint64 // counts how often somebody was behind
	yielders atomic.Int64  // at work
)

// Behind says that a receiver works through a long queue.
func Behind() { behind.Add(1) }

// Yielder is one who can wait. It is used by one goroutine at a time.
type Yielder struct {
	seen   uint64
	since  time.Time // it has worked
	enough int64     // so many others leave a processor to receivers
}

// NewYielder returns a Yielder to whom nobody has been behind yet. It counts as being at work until Done is called.
func NewYielder() *Yielder {
	yielders.Add(1)
	return &Yielder{behind.Load(), time.Now(), int64(runtime.GOMAXPROCS(0)) - 1}
}

// Done ends the work. It is called once.
func (y *Yielder) Done() { yielders.Add(-1) }

// Behind reports whether somebody has been behind since the last rest.
func (y *Yielder) Behind() bool { return behind.Load() != y.seen }

// Due reports whether it is time to rest.
func (y *Yielder) Due() bool {
	return y.Behind() && yielders.Load() >= y.enough && time.Since(y.since) >= pause
}

// Rest returns when nobody is behind any more, or after the time of that name.
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
