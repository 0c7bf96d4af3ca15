// Package giveway lets work that can wait give way to work that cannot.
//
// Encoding can wait: what it has not done yet is safe on the disk. A UDP socket cannot: when its queue is full, the kernel drops.
// Both compete for the same processors, and neither Go nor the kernel knows which of them is in a hurry. So a listener says [Behind]
// as long as it works through a long queue, and an encoder rests at the end of each block for as long as somebody goes on to say it.
//
// Nobody sets and clears a state: a listener that stops reading, because it ended or because a full spool makes it wait, says nothing any
// more, and the encoder goes on. It also goes on after [Rest] in each block, so that no load stops it altogether.
package giveway

import (
	"sync/atomic"
	"time"
)

const (
	// pause is how long an encoder lets others run before it looks again.
	pause = time.Millisecond
	// Rest is how long it rests at most in one block, which takes about a millisecond: a tenth of its speed is left.
	Rest = 10 * pause
)

// behind counts how often somebody was behind.
var behind atomic.Uint64

// Behind says that a receiver works through a long queue. It is called at each burst.
func Behind() { behind.Add(1) }

// Yielder is one who can wait. It is used by one goroutine at a time.
type Yielder struct{ seen uint64 }

// NewYielder returns a Yielder to whom nobody has been behind yet.
func NewYielder() Yielder { return Yielder{behind.Load()} }

// Behind reports whether somebody has been behind since the last Rest.
func (y *Yielder) Behind() bool { return behind.Load() != y.seen }

// Rest returns at once if nobody has been behind since the last call, and otherwise when nobody is any more.
func (y *Yielder) Rest() {
	for end := Rest / pause; end > 0 && y.Behind(); end-- {
		y.seen = behind.Load()
		time.Sleep(pause)
	}
}
