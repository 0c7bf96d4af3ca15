package drain

import (
	"context"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// Lifecycle is a platform's part in the end of an instance: it says when the instance is about to be taken away, is told
// how the end goes on, and hears how it ended. [Systemd] is one, package asg has another; a user's own takes part in the
// same way.
type Lifecycle interface {
	// Notice asks whether the platform has said that it takes this instance away. It is called about every second from the
	// beginning of Run until that, and may be called at any other time, by several goroutines. An error means that the
	// platform cannot be asked now.
	Notice(ctx context.Context) (n Notice, goes bool, err error)
	// Progress is called once when Run begins, with the phase "run", and then about once a second while the end goes on,
	// by one goroutine. When nothing has moved for Options.StallTimeout the calls cease. A call that takes longer delays
	// only the next one.
	Progress(ctx context.Context, p Progress)
	// Complete is called when a report has been written, after a Stop too. Only a Drain whose Outcome is Complete may let
	// the platform take the disk. retained says that the platform leaves the instance and its disk all the same: a drain
	// then goes on until it is complete. Complete bounds its own time; ctx ends it when a second signal does.
	Complete(ctx context.Context, r *Report) (retained bool, err error)
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

// Progress is how far the end has come.
type Progress struct {
	// Phase as in the package documentation.
	Phase string
	// Idle is how long nothing has moved.
	Idle time.Duration
	// Pending is what is still to be delivered, summed over classes and destinations.
	Pending segment.Tally
	// ETA of the slowest destination; 0 when nothing is pending, negative while one does not move.
	ETA time.Duration
}

// askEvery is how often a platform is asked, askTimeout what one answer may take.
const (
	askEvery   = time.Second
	askTimeout = 2 * time.Second
)

// watch tells every platform that the service is up, and asks each until ctx ends. d.watching counts who does.
func (d *Drainer) watch(ctx context.Context) <-chan Notice {
	found := make(chan Notice, len(d.o.Lifecycles))
	for _, l := range d.o.Lifecycles {
		d.watching.Go(func() {
			if err := guard(func() error { l.Progress(ctx, Progress{Phase: phaseRun}); return nil }); err != nil {
				d.o.Logger.Error("telling the platform", "err", err)
			}
		})
		d.watching.Go(func() {
			tick := time.NewTicker(askEvery)
			defer tick.Stop()
			var warned time.Time
			for {
				n, goes, err := ask(ctx, l)
				if goes {
					found <- n
					return
				}
				if err != nil && ctx.Err() == nil && time.Since(warned) > time.Minute {
					warned = time.Now()
					d.o.Logger.Warn("cannot ask the platform whether this instance goes", "err", err)
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	return found
}

func ask(ctx context.Context, l Lifecycle) (n Notice, goes bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err = guard(func() (err error) { n, goes, err = l.Notice(ctx); return err })
	return n, goes && err == nil, err
}

// Terminating asks whether a platform has already said that it takes this instance away, within two seconds. A service
// that starts asks before it opens a socket, and calls Resume instead of Run if so.
func (d *Drainer) Terminating(ctx context.Context) (Notice, bool) {
	type answer struct {
		n    Notice
		goes bool
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, len(d.o.Lifecycles))
	for _, l := range d.o.Lifecycles {
		go func() {
			n, goes, err := ask(ctx, l)
			if err != nil {
				d.o.Logger.Warn("cannot ask the platform whether this instance goes", "err", err)
			}
			answers <- answer{n, goes}
		}()
	}
	for range d.o.Lifecycles {
		if a := <-answers; a.goes {
			d.mu.Lock()
			d.told = &a.n
			d.mu.Unlock()
			return a.n, true
		}
	}
	return Notice{}, false
}
