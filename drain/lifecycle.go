package drain

import (
	"context"
	"sync"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// Lifecycle is a platform that may take this instance away: it announces that, hears how the service is doing, and is told
// how it ended. [Systemd] is one, packages asg, ecs and kube have others, and a program can have its own.
type Lifecycle interface {
	// Notice asks whether the platform has announced that it takes this instance away. The Drainer calls it about once a
	// second from the beginning of Run until the first notice. It may call it at any other time too, from several
	// goroutines. An error means that the platform cannot be asked now.
	Notice(ctx context.Context) (n Notice, goes bool, err error)
	// Update tells the platform how the service, or its end, is doing. The Drainer calls it about once a second from the
	// beginning of Run, one call at a time: with PhaseRun while the service runs, then with the phase of the end. If nothing
	// moves during the end for Options.StallTimeout, the calls stop. A slow call delays only the next call of the same
	// Lifecycle.
	Update(ctx context.Context, s Status)
	// Finish tells the platform how a Stop or Drain ended, after its report was written. Only a Drain whose Outcome is
	// Complete may let the platform take the disk. retained reports that the platform leaves the instance and its disk
	// although the Drain is not complete: the Drainer then continues until the Drain is complete, and calls Finish once
	// more. Finish bounds its own time; a second signal ends ctx. Update is called meanwhile.
	Finish(ctx context.Context, r *Report) (retained bool, err error)
}

// Notice is a platform's word that this instance goes.
type Notice struct {
	// Trigger is what the report names.
	Trigger string
	// Deadline is when the instance is gone at the latest, zero if unknown. The drain ends at this time or at its
	// Options.Timeout, whichever is first.
	Deadline time.Time
	// Retained: the platform has already given up waiting for this instance, and has left it and its disk.
	Retained bool
}

// Backlogged says whether a backlog is worth protecting an instance for: when pending exceeds bound, and then until it has
// fallen to half of it, so that a backlog which stays near the bound does not call the platform at each turn. before is
// what it said last.
func Backlogged(before bool, pending, bound uint64) bool {
	if before {
		bound /= 2
	}
	return pending > bound
}

// Status is how far the service, or its end, has come.
type Status struct {
	// Phase as in the package documentation, or PhaseRun.
	Phase string
	// Idle is how long nothing has moved since the end began.
	Idle time.Duration
	// Pending is what is still to be delivered, summed over classes, adopted spools and destinations.
	Pending segment.Tally
	// Destinations has what each destination is owed by the classes, and why it does not come to it.
	Destinations map[string]DestinationStatus
	// ETA of the slowest destination; 0 when nothing is pending, negative while one does not move.
	ETA time.Duration
}

// DestinationStatus is how far one destination has come, summed over classes.
type DestinationStatus struct {
	Pending segment.Tally
	Err     error // what is in its way now, nil if nothing is
}

// askEvery is how often a platform is asked, askTimeout what one answer may take.
const (
	askEvery   = time.Second
	askTimeout = 2 * time.Second
)

// platform is a Lifecycle that is told one thing at a time: the service's last word must not overlap with the end's first.
type platform struct {
	Lifecycle
	telling chan struct{} // of one place: who has it tells. A lock that ctx can end.
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
	if err := catch(func() error { p.Update(ctx, at); return nil }); err != nil {
		d.o.Logger.Error("telling the platform", "err", err)
	}
}

// watch tells every platform how the service does, and asks each whether it takes the instance away, until ctx ends.
// d.watching counts who does.
func (d *Drainer) watch(ctx context.Context) <-chan Notice {
	found := make(chan Notice, len(d.platforms))
	for _, p := range d.platforms {
		d.watching.Go(func() {
			every(ctx, askEvery, func() bool {
				at := d.progress()
				at.Phase = PhaseRun
				p.tell(ctx, d, at)
				return !d.isEnding()
			})
		})
		d.watching.Go(func() {
			var warned time.Time
			every(ctx, askEvery, func() bool {
				n, goes, err := ask(ctx, p)
				if goes {
					found <- n
					return false
				}
				if err != nil && ctx.Err() == nil && time.Since(warned) > time.Minute {
					warned = time.Now()
					d.o.Logger.Warn("cannot ask the platform whether this instance goes", "err", err)
				}
				return true
			})
		})
	}
	return found
}

// tellStarted tells the platforms once that the process has started, where nobody watches. One that takes long is left to it.
func (d *Drainer) tellStarted() {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	var wg sync.WaitGroup
	for _, p := range d.platforms {
		wg.Go(func() { p.tell(ctx, d, Status{Phase: PhaseRun}) })
	}
	go func() { wg.Wait(); cancel() }()
	<-ctx.Done()
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

func ask(ctx context.Context, l Lifecycle) (n Notice, goes bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err = catch(func() (err error) { n, goes, err = l.Notice(ctx); return err })
	return n, goes && err == nil, err
}

// Terminating asks whether a platform has already said that it takes this instance away, within two seconds. A service
// that starts asks before it opens a socket, and calls Resume instead of Run if so.
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
			// One answer that fails must not open a socket on an instance that goes.
			every(ctx, askEvery/4, func() bool {
				n, goes, failed := ask(ctx, p)
				if failed == nil || ctx.Err() == nil || err == nil { // the end of ctx explains less than what came before it
					a.n, a.goes, err = n, goes, failed
				}
				return failed != nil
			})
			if err != nil {
				d.o.Logger.Warn("cannot ask the platform whether this instance goes", "err", err)
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
		case <-ended: // a platform that heeds ctx answers now
			ended, late = nil, time.After(100*time.Millisecond)
			n++
		case <-late:
			return Notice{}, false
		}
	}
	return Notice{}, false
}
