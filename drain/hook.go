package drain

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// lastWords is how long a process may live after its second signal: long enough to write the report,
// short enough that it has gone within two seconds.
const lastWords = 1500 * time.Millisecond

// Run is the shutdown hook of a service's main. It waits for SIGTERM, SIGINT or the end of ctx, then does what
// Options.OnSignal says and returns the report; main exits with its ExitCode. A second signal ends the wait: what is
// known is reported and Run returns within two seconds.
func (d *Drainer) Run(ctx context.Context) (*Report, error) {
	sig := make(chan os.Signal, 2)
	signal.Notify(sig, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(sig)
	trigger := ""
	select {
	case s := <-sig:
		trigger = "signal " + s.String()
	case <-ctx.Done():
		trigger = fmt.Sprint(context.Cause(ctx))
	}
	return d.run(trigger, sig)
}

// Resume goes on with a drain that was interrupted (see Interrupted), under the same signals as Run.
func (d *Drainer) Resume(trigger string) (*Report, error) {
	sig := make(chan os.Signal, 2)
	signal.Notify(sig, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(sig)
	d.o.OnSignal = Drain
	return d.run("resumed: "+trigger, sig)
}

// run ends the process as OnSignal says; one more signal cuts it short.
func (d *Drainer) run(trigger string, sig <-chan os.Signal) (*Report, error) {
	// The end has a deadline of its own; the context that triggered it may be over already.
	ctx, cut := context.WithCancelCause(context.Background())
	defer cut(nil)
	type result struct {
		r   *Report
		err error
	}
	done := make(chan result, 1)
	go func() {
		r, err := d.end(ctx, d.o.OnSignal, trigger)
		done <- result{r, err}
	}()
	select {
	case res := <-done:
		return res.r, res.err
	case s := <-sig:
		d.o.Logger.Warn("second signal: reporting and leaving", "signal", s.String())
		cut(fmt.Errorf("second signal: %s", s))
	}
	select {
	case res := <-done:
		return res.r, res.err
	case <-time.After(lastWords):
		// Something ignores its context (a disk that hangs in the kernel). The spool is safe as it is; say so and go.
		r := &Report{
			Version: 1, Intent: d.o.OnSignal, Outcome: Incomplete, Trigger: trigger, Started: time.Now(), Ended: time.Now(),
			Classes: map[string]ClassReport{}, Errors: []string{"cut short by a second signal; the spool is kept as it is"},
		}
		if d.o.OnSignal == Stop {
			r.Outcome = Kept
		}
		return r, nil
	}
}
