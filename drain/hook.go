package drain

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/penstock-go/penstock/internal/steadylog"
	"github.com/penstock-go/penstock/internal/wait"
)

// lastWords is how long a process may live after its second signal: long enough to write the report, and short enough to
// end within two seconds.
const lastWords = 1500 * time.Millisecond

// lastLines is how long the log may take for its last lines after a second signal.
const lastLines = 200 * time.Millisecond

// echo is how long after the first signal a further one counts as the same.
const echo = 200 * time.Millisecond

// Run is the shutdown hook of main. It waits for SIGTERM, SIGINT, the end of ctx, or a platform's notice
// (Options.Lifecycles). After a notice it drains. Otherwise it asks the platforms again: if one takes the instance away,
// it drains too, and if not, it follows Options.OnSignal. It returns the report; main exits with its ExitCode.
//
// If a drain of an earlier process was interrupted (see Interrupted), Run does not wait: it resumes that drain, which
// closes the inputs. So add every class before Run, or call Down for it: that drain's report knows no other class.
//
// If Stop, Drain or HandOver is called elsewhere, Run returns its result when it has ended. After Run has returned, a
// further call returns at once.
//
// A second signal cuts the end short: the report is written from what is known, and Run returns within two seconds. A
// signal within a fifth of a second of the first does not count as a second one: wrappers such as timeout(1) signal a
// process and then its group, and one signal may end both a ctx of signal.NotifyContext and this wait. If a platform's
// notice began the drain, or made it resume, the first signal does not cut it short: init systems send one to every
// process when an instance ends.
func (d *Drainer) Run(ctx context.Context) (*Report, error) {
	sig, stop := Signals(&SignalOptions{Logger: d.o.Logger})
	defer stop()
	return d.RunWith(ctx, sig) // refuses a nil ctx
}

// RunWith is Run for a program that handles signals itself. sig delivers the signals that must end the program; it may be
// nil.
func (d *Drainer) RunWith(ctx context.Context, sig <-chan os.Signal) (*Report, error) {
	if err := checkContext(ctx); err != nil {
		return nil, err
	}
	switch j, err := readJournal(d.o.Dir); {
	case d.isEnding(): // the file may be that of this process
	case err != nil: // a disk that fails now is no reason to receive nothing
		d.o.Logger.Error("drain: cannot read whether an earlier drain was interrupted; serving as if none was: see what the disk reports", "dir", d.o.Dir, "err", err)
	case j == nil, j.Started.After(d.made): // of a predecessor that still runs and hands over to this process; or the clock was set back, and this process serves
	default:
		d.o.Logger.Warn("drain: an earlier drain was interrupted; resuming it, so that the inputs close", "trigger", j.Trigger)
		d.Terminating(ctx) // for the notice's deadline, and since the signal that follows a notice does not cut a drain short
		return d.resume(j.Trigger, sig)
	}
	watch, stop := context.WithCancel(ctx)
	defer d.unwatch(stop)
	c, free := cause{intent: d.o.OnSignal, ask: true}, 0
	select {
	case s := <-sig:
		c.trigger = "signal " + s.String()
	case n := <-d.watch(watch):
		c, free = cause{intent: Drain, trigger: n.Trigger, notice: &n}, 1
	case <-ctx.Done():
		c.trigger = fmt.Sprint(context.Cause(ctx))
	case <-d.ended: // by Stop, Drain, HandOver or another Run
		steadylog.Flush(context.WithoutCancel(ctx), d.o.Logger)
		return d.report, d.err
	}
	stop()
	return d.run(c, sig, free)
}

// unwatch ends watch. A platform that hangs is abandoned.
func (d *Drainer) unwatch(stop context.CancelFunc) {
	stop()
	ended := make(chan struct{})
	go func() { d.watching.Wait(); close(ended) }()
	wait.Receive(context.Background(), 200*time.Millisecond, ended)
}

// Resume continues a drain that was interrupted (see Interrupted), or drains at the start of a process because a platform
// has announced that it takes the instance away (see Terminating). It reacts to the same signals as Run. It skips
// quiesce: a program that calls Resume opens no input. Run, which also resumes an interrupted drain, closes its inputs at once.
func (d *Drainer) Resume(trigger string) (*Report, error) {
	sig, stop := Signals(&SignalOptions{Logger: d.o.Logger})
	defer stop()
	return d.resume(trigger, sig)
}

// resume is Resume with the signals of sig.
func (d *Drainer) resume(trigger string, sig <-chan os.Signal) (*Report, error) {
	d.tellStarted()
	d.mu.Lock()
	c, free := cause{intent: Drain, trigger: "resumed: " + trigger, notice: d.notice, resumed: true}, 0
	d.mu.Unlock()
	if c.notice != nil {
		free = 1
	}
	return d.run(c, sig, free)
}

// run ends the process. It ignores as many signals as free says; the next one cuts the end short. It returns when the log
// has been written, so that a main that exits afterwards loses no line of the report. A log that nothing reads delays it
// by two seconds at most, and by a fifth of a second after a second signal.
func (d *Drainer) run(c cause, sig <-chan os.Signal, free int) (*Report, error) {
	// The end has its own deadline, because the context that triggered it may be over already.
	ctx, cut := context.WithCancelCause(context.Background())
	defer cut(nil)
	report, err := d.endWith(ctx, cut, c, sig, free)
	last := context.WithoutCancel(ctx)
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		last, cancel = context.WithTimeout(last, lastLines)
		defer cancel()
	}
	steadylog.Flush(last, d.o.Logger)
	return report, err
}

// endWith ends the process while it listens for signals. The signal after the free ones calls cut, which ends ctx.
func (d *Drainer) endWith(ctx context.Context, cut context.CancelCauseFunc, c cause, sig <-chan os.Signal, free int) (*Report, error) {
	type result struct {
		r   *Report
		err error
	}
	started := time.Now().UTC()
	done := make(chan result, 1)
	go func() {
		c := c
		if c.ask { // asked here, so that a second signal need not wait for the answer
			if n, yes := d.Terminating(ctx); yes {
				c = cause{intent: Drain, trigger: c.trigger + " after " + n.Trigger, notice: &n}
			}
		}
		r, err := d.endOnce(ctx, c)
		done <- result{r, err}
	}()
	for ctx.Err() == nil {
		select {
		case res := <-done:
			if res.r == nil && ctx.Err() != nil {
				continue // another call ends the process, and this one was cut short
			}
			return res.r, res.err
		case s := <-sig:
			if c.ask && time.Since(started) < echo { // c.ask: a signal or the end of ctx began the end
				continue
			}
			if free--; free >= 0 {
				d.o.Logger.Warn("drain: signal received; the drain continues, one more signal cuts it short", "signal", s.String())
				continue
			}
			d.o.Logger.Warn("drain: second signal received; writing the report and exiting", "signal", s.String())
			cut(errCut)
		}
	}
	if res, ended := wait.Receive(context.Background(), lastWords, done); ended && res.r != nil {
		return res.r, res.err
	}
	// Something ignores its context, such as a disk that hangs in the kernel. The spool is safe as it is, so report that
	// and return.
	return &Report{
		Version: 1, Intent: c.intent, Outcome: Incomplete, Trigger: c.trigger, Instance: d.o.Instance,
		Started: started, Ended: time.Now().UTC(),
		Classes: map[string]ClassReport{}, Errors: []string{errCut.Error() + "; the spool is kept as it is"},
	}, nil
}
