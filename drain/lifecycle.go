package drain

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/spool/segment"
)

// Lifecycle is a platform that may take this instance away: it announces that, receives updates about the service, and is
// told how the service ended. [Systemd] is one, the packages below this one have others, and a program can have its own.
type Lifecycle interface {
	// Notice returns whether the platform has announced that it takes this instance away. The Drainer calls it about once
	// a second from the beginning of Run until the first notice, but may call it at any other time too, from several
	// goroutines. An error means that the platform cannot be asked now.
	Notice(ctx context.Context) (n Notice, goes bool, err error)
	// Update tells the platform the status of the service or of its end. The Drainer calls it about once a second from the
	// beginning of Run, one call at a time: with PhaseRun while the service runs, then with the phase of the end, at least once
	// before Finish, until the last Finish has returned (on an instance that is retained, also between two calls of Finish). If
	// nothing has moved during the end for Options.StallTimeout, the Drainer ends the phases, so Status.Idle never reaches that
	// time. A slow call delays only the next call of the same Lifecycle.
	Update(ctx context.Context, s Status)
	// Finish tells the platform how a Stop or Drain ended, after its report was written. Only a Drain whose Outcome is
	// Delivered may let the platform take the disk. retained reports that the platform leaves the instance and its disk
	// although the Drain is not complete: the Drainer then continues until the Drain is complete, and calls Finish once
	// more. Finish must bound its own time; ctx ends at a second signal, or after two hours. Update is called meanwhile.
	Finish(ctx context.Context, r *Report) (retained bool, err error)
}

// Notice is a platform's announcement that it takes this instance away.
type Notice struct {
	// Trigger says what triggered the drain, for the report.
	Trigger string
	// Deadline is when the instance is gone at the latest, zero if unknown. The drain ends at this time or after its
	// Options.Timeout, whichever is earlier.
	Deadline time.Time
	// Retained means that the platform has already given up waiting for this instance, and has left it running with its
	// disk.
	Retained bool
}

// Status is the status of the service or of its end.
type Status struct {
	// Phase as in the package documentation, or PhaseRun.
	Phase string
	// Idle is how long nothing has moved since the end began.
	Idle time.Duration
	// Pending is what is still to be delivered, summed over classes, adopted spools and destinations.
	Pending segment.Tally
	// Destinations has what is pending for each destination, and why deliveries to it fail.
	Destinations map[string]DestinationStatus
	// NotReady is why records cannot be taken at present; nil if they can. It is not set during the end.
	NotReady error
	// ETA of the slowest destination; 0 when nothing is pending, negative while one does not move.
	ETA time.Duration
}

// DestinationStatus is the status of one destination, summed over classes.
type DestinationStatus struct {
	Pending segment.Tally
	Err     error // why deliveries fail at present; nil if they do not
}

// askEvery is how often a platform is asked, askTimeout how long one answer may take.
const (
	askEvery   = time.Second
	askTimeout = 2 * time.Second
	askGrace   = 50 * time.Millisecond // see foreign.Call
)

// platform is a Lifecycle with one Update at a time, so that the last update of the running service cannot overlap with
// the first one of its end.
type platform struct {
	Lifecycle
	telling chan struct{} // holds a token during a call: a lock that ctx can end
	ending  atomic.Bool   // an Update has told it of the end
}

func (p *platform) tell(ctx context.Context, d *Drainer, at Status) {
	select {
	case p.telling <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-p.telling }()
	if ctx.Err() != nil || at.Phase == PhaseRun && d.isEnding() {
		return
	}
	p.update(ctx, d, at)
}

// tellEnd tells the platform of the end if no update has: an end that takes no time is over before the first one. It returns after
// askTimeout even if the platform hangs, and a Finish must not wait for it.
func (p *platform) tellEnd(ctx context.Context, d *Drainer, at Status) {
	if p.ending.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	told := make(chan struct{})
	go func() {
		defer close(told)
		defer cancel()
		select {
		case p.telling <- struct{}{}:
		case <-ctx.Done():
			return // an update hangs
		}
		defer func() { <-p.telling }()
		if !p.ending.Load() && ctx.Err() == nil {
			p.update(ctx, d, at)
		}
	}()
	select {
	case <-told:
	case <-ctx.Done():
	}
}

// update calls Update. The caller holds the token.
func (p *platform) update(ctx context.Context, d *Drainer, at Status) {
	if err := d.catch("Lifecycle.Update", func() error { p.Update(ctx, at); return nil }); err != nil {
		d.o.Logger.Error("drain: cannot update the platform; the next update tries again, and until then the platform may act on the last status: correct what err names", "err", err)
	}
	if at.Phase != PhaseRun {
		p.ending.Store(true)
	}
}

// watch updates every platform, and asks each for a notice, until ctx ends. d.watching counts its goroutines.
func (d *Drainer) watch(ctx context.Context) <-chan Notice {
	found := make(chan Notice, len(d.platforms))
	for _, p := range d.platforms {
		d.watching.Go(func() {
			every(ctx, askEvery, func() bool {
				at := d.progress()
				at.Phase = PhaseRun
				at.NotReady = d.catch("Input.Ready", func() error { return d.Ready("") })
				p.tell(ctx, d, at)
				return !d.isEnding()
			})
		})
		d.watching.Go(func() {
			var warned time.Time
			back := closed()
			every(ctx, askEvery, func() bool {
				var n Notice
				var goes bool
				var err error
				select {
				case <-back:
					n, goes, back, err = d.ask(ctx, p)
				default:
					err = foreign.ErrAbandoned // the previous call still hangs
				}
				if goes {
					found <- n
					return false
				}
				if err != nil && ctx.Err() == nil && time.Since(warned) > time.Minute {
					warned = time.Now()
					d.o.Logger.Warn("drain: cannot ask the platform whether it takes this instance away; it is asked again, and a signal ends the process all the same: correct what err names", "err", err)
				}
				return true
			})
		})
	}
	return found
}

// tellStarted tells the platforms once that the process has started, for a process that does not watch them. It waits for
// at most askTimeout.
func (d *Drainer) tellStarted() {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	var wg sync.WaitGroup
	for _, p := range d.platforms {
		wg.Go(func() { p.tell(ctx, d, Status{Phase: PhaseRun}) })
	}
	go func() { wg.Wait(); cancel() }()
	<-ctx.Done()
}

// closed returns a closed channel.
func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// every calls f at once and then at each tick, until it returns false or ctx ends.
func every(ctx context.Context, d time.Duration, f func() bool) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// ask asks a platform once. It abandons a Notice that ignores its context. back is closed when Notice has returned; until
// then the platform must not be asked again.
func (d *Drainer) ask(ctx context.Context, l Lifecycle) (n Notice, goes bool, back <-chan struct{}, err error) {
	type answer struct {
		n    Notice
		goes bool
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	returned := make(chan struct{})
	a, err := foreign.Call(ctx, askGrace, "Lifecycle.Notice", func() (a answer, err error) {
		defer close(returned)
		a.n, a.goes, err = l.Notice(ctx)
		return a, err
	})
	return a.n, a.goes && err == nil, returned, d.notePanic(err)
}

// Terminating asks whether a platform has already announced that it takes this instance away. It takes about two seconds
// at most. A service calls it before it opens a socket; if the result is true, it calls Resume instead of Run.
func (d *Drainer) Terminating(ctx context.Context) (Notice, bool) {
	type answer struct {
		n    Notice
		goes bool
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answers := make(chan answer, len(d.platforms))
	for _, p := range d.platforms {
		go func() {
			var a answer
			var err error
			back := closed()
			// A single failed answer must not open sockets on an instance that is being taken away.
			every(ctx, askEvery/4, func() bool {
				select {
				case <-back:
				default:
					return true // the previous call hangs
				}
				var n Notice
				var goes bool
				var failed error
				n, goes, back, failed = d.ask(ctx, p)
				if failed == nil || ctx.Err() == nil || err == nil { // an earlier error explains more than the end of ctx
					a.n, a.goes, err = n, goes, failed
				}
				return failed != nil
			})
			if err != nil {
				d.o.Logger.Warn("drain: cannot ask the platform whether it takes this instance away; it is asked again, and a signal ends the process all the same: correct what err names", "err", err)
			}
			answers <- a
		}()
	}
	ended, late := ctx.Done(), (<-chan time.Time)(nil)
	for n := len(d.platforms); n > 0; n-- {
		select {
		case a := <-answers:
			if a.goes {
				d.mu.Lock()
				d.notice = &a.n
				d.mu.Unlock()
				return a.n, true
			}
		case <-ended: // platforms that respect ctx answer now
			ended, late = nil, time.After(100*time.Millisecond)
			n++
		case <-late:
			return Notice{}, false
		}
	}
	return Notice{}, false
}
