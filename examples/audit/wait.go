package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/penstock-go/penstock/examples/internal/cli"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
)

// waitFor holds the settings and the state of audit wait.
type waitFor struct {
	service
	timeout  time.Duration
	unmarked error // the error if the hour is complete but its marker could not be written
}

// waitFlags are the flags of wait.
func waitFlags() (*waitFor, *cli.Set) {
	s := new(waitFor)
	f := s.flagSet("audit wait")
	f.BoolVar(&s.Deep, "deep", false, "read every object of the hour and count its records")
	f.Value("hour", "wait for this `HOUR` in UTC: 2026-11-22T08", func(v string) (err error) {
		s.Hour, err = time.Parse("2006-01-02T15", v)
		return err
	})
	f.Duration(&s.timeout, "timeout", "give up after this `TIME`, with exit code 3 (default: never)")
	return s, f
}

// waitHour waits until an hour of a class is complete.
func waitHour(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, f := waitFlags()
	if f.Load(args, os.Environ(), "config") != nil {
		command().Find("wait").Help(stdout)
		return 0
	}
	if s.Hour.IsZero() {
		f.Bad("hour", "", "it is missing")
	}
	if s.Class == "" {
		f.Bad("class", "", "it is missing: a job waits for the hour of one class")
	}
	done, err := s.load(ctx, f, stderr)
	if err != nil {
		return refused(stderr, err)
	}
	defer done()
	if s.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, s.timeout, errTimeout)
		defer cancel()
	}
	w, err := audit.NewWatcher(&s.WatchOptions)
	if err != nil {
		return refused(stderr, err)
	}
	return s.wait(ctx, w, stdout, stderr)
}

var errTimeout = errors.New("the hour was not complete in time")

// wait audits until the hour is complete or damaged, or ctx ends. It retries a destination that does not answer, and a marker
// that could not be written.
func (s *waitFor) wait(ctx context.Context, w *audit.Watcher, stdout, stderr io.Writer) int {
	interval := s.Interval
	if interval <= 0 {
		interval = 30 * time.Second
	}
	var last *audit.Result
	for {
		begin := time.Now()
		st, err := w.Step(ctx)
		switch {
		case errors.Is(err, audit.ErrOptions):
			return failed(stderr, err)
		case err != nil && ctx.Err() == nil:
			s.log.Error("audit: the audit failed; it is tried again", "err", err)
		case err == nil:
			last = st.Result
			if code, over := s.judge(ctx, last, stdout, stderr); over {
				return code
			}
		}
		select {
		case <-time.After(max(time.Second, interval-time.Since(begin))):
			continue
		case <-ctx.Done():
		}
		if last != nil {
			_ = last.WriteText(stderr) // why the hour is not complete
		}
		fmt.Fprintf(stderr, "audit: hour %s of class %s: %v\n", s.Hour.Format("2006-01-02T15"), s.Class, context.Cause(ctx))
		if errors.Is(context.Cause(ctx), errTimeout) && last != nil && s.unmarked == nil {
			return exitOwed
		}
		return exitFailed
	}
}

// judge reports that the wait is over if the hour is complete, closed or damaged.
func (s *waitFor) judge(ctx context.Context, r *audit.Result, stdout, stderr io.Writer) (code int, over bool) {
	s.unmarked = nil
	if r.Verdict == audit.Owed || len(r.Hours) != 1 {
		return 0, false
	}
	h := r.Hours[0]
	if r.Verdict == audit.Damaged {
		_ = r.WriteText(stderr) // the exit code reports the damage, too
		return exitDamaged, true
	}
	if s.marker != nil {
		if s.unmarked = s.writeMarker(ctx, s.marker, r, h); s.unmarked != nil {
			return exitFailed, ship.IsPermanent(s.unmarked) || errors.Is(s.unmarked, audit.ErrMarkerTaken) // otherwise it is retried
		}
	}
	fmt.Fprintf(stdout, "hour %s of class %s is %s: %d objects, %d records\n", h.Hour.Format("2006-01-02T15"), h.Class, h.Verdict, h.Objects, h.Records)
	return 0, true
}
