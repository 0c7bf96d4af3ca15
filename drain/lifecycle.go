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
	// Watch returns once the platform has said that it takes this instance away, at once if it has said so before, and
	// ctx's error when ctx ends. What the platform cannot be asked is tried again, not returned. Several goroutines may
	// call it at once, and again after it has returned. The first call says that the service is up.
	Watch(ctx context.Context) (Notice, error)
	// Progress is called about once a second while the end goes on, by one goroutine. When nothing has moved for
	// Options.StallTimeout the calls cease. A call that takes longer delays only the next one.
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

// watch asks every platform until ctx ends. d.watching counts who does.
func (d *Drainer) watch(ctx context.Context) <-chan Notice {
	found := make(chan Notice, len(d.o.Lifecycles))
	for _, l := range d.o.Lifecycles {
		d.watching.Go(func() {
			var n Notice
			err := guard(func() (err error) { n, err = l.Watch(ctx); return err })
			switch {
			case err == nil:
				found <- n
			case ctx.Err() == nil:
				d.o.Logger.Error("cannot watch the platform: its notice of termination will not be seen", "err", err)
			}
		})
	}
	return found
}

// Terminating asks whether a platform has already said that it takes this instance away, for at most the given time. A
// service that starts asks before it opens a socket, and calls Resume instead of Run if so.
func (d *Drainer) Terminating(ctx context.Context, atMost time.Duration) (Notice, bool) {
	if len(d.o.Lifecycles) == 0 {
		return Notice{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	select {
	case n := <-d.watch(ctx):
		return n, true
	case <-ctx.Done():
		return Notice{}, false
	}
}
