package asg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/internal/wait"
)

// Finish implements drain.Lifecycle. It answers CONTINUE for a Drain that is complete and verified, ABANDON for any other.
// It tries until the group accepts the answer, or until an answer is of no use any more. retained means that the group has
// left the instance in Terminating:Retained.
func (l *Lifecycle) Finish(ctx context.Context, r *drain.Report) (retained bool, err error) {
	l.mu.Lock()
	goes := l.goes
	l.mu.Unlock()
	if r.Intent != drain.Drain {
		return false, nil // a restart, or the hook's own time-out decides
	}
	if !goes {
		if goes, err = l.lastNotice(ctx); !goes {
			return false, errors.Join(err, l.unprotect(ctx, r))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, l.o.CompleteTimeout)
	defer cancel()
	answer := Abandon
	if verified(r) {
		answer = Continue
	}
	defer func() {
		l.mu.Lock()
		l.done = true
		l.mu.Unlock()
	}()
	state, err := l.answer(ctx, answer)
	if err != nil {
		err = fmt.Errorf("asg: completing with %s: %w", answer, err)
		if answer == Abandon && errors.Is(err, errSettled) && l.retained(ctx) { // by the hook's default result
			l.log.Warn("asg: the group retained the instance without an answer from this process; the volume is kept, and the drain continues", "err", err)
			return true, nil
		}
		return false, err
	}
	l.log.Info("asg: termination hook completed", "answer", answer, "state", state)
	return answer == Abandon && l.retained(ctx), nil
}

// lastNotice reads the metadata for the last time. If the metadata service has never answered this process, it makes only
// one attempt: the end must not wait for answers that a container with a hop limit of 1 never gets.
func (l *Lifecycle) lastNotice(ctx context.Context) (goes bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for attempts := 3; ; attempts-- {
		_, goes, err = l.Notice(ctx)
		if goes || err == nil || attempts == 1 || !l.link.answered(ctx) || wait.Sleep(ctx, time.Second/2) != nil {
			return goes, err
		}
	}
}

// verified checks the whole report, not only its Outcome, because the answer decides about a disk.
func verified(r *drain.Report) bool {
	if r.Intent != drain.Drain || r.Outcome != drain.Delivered || len(r.Left) > 0 || len(r.Adoptions) > 0 || len(r.Classes) == 0 {
		return false
	}
	for _, c := range r.Classes {
		if c.Err != "" || c.Buffered.Records > 0 || len(c.Destinations) == 0 {
			return false
		}
		for _, x := range c.Damages {
			if !x.GivenUp {
				return false
			}
		}
		for _, d := range c.Destinations {
			if !d.Verified || d.Pending.Records > 0 {
				return false
			}
		}
	}
	return true
}

// answer sends the answer until the API accepts it, and returns the state that the instance was in before.
func (l *Lifecycle) answer(ctx context.Context, answer Answer) (state string, err error) {
	var last error        // the last error before ctx ended
	var refused time.Time // since when the API has said that no action waits, although one should
	for {
		var inst Instance
		a, service, err := l.known(ctx)
		if err == nil {
			inst, err = service.Instance(ctx, a.Instance)
		}
		if err == nil {
			if over, err := settled(inst.State, answer); over {
				return inst.State, err
			}
			err = service.Answer(ctx, a, answer)
		}
		switch {
		case err == nil:
			return inst.State, nil
		case errors.Is(err, errNoGroup), errors.Is(err, errNoHook):
			return inst.State, err
		case !errors.Is(err, ErrNoAction) || begins(inst.State):
			refused = time.Time{} // the API fails, or the instance is still being deregistered
		case refused.IsZero():
			refused = time.Now()
		case time.Since(refused) > l.o.CompleteTimeout/12:
			return inst.State, err // another hook, an expired action or a reclaim without one: the API returns the same error for all
		}
		if ctx.Err() != nil {
			return inst.State, errors.Join(last, err)
		}
		last = err
		l.log.Info("asg: the termination hook does not accept its answer yet; will retry, and nothing needs to be done", "state", inst.State, "again_in", l.o.Retry, "err", err)
		if perr := wait.Sleep(ctx, l.o.Retry); perr != nil {
			return inst.State, errors.Join(err, perr)
		}
	}
}

// known returns the action, looked up once.
func (l *Lifecycle) known(ctx context.Context) (Action, Service, error) {
	_, service, _, err := l.link.get(ctx)
	if err != nil {
		return Action{}, nil, err
	}
	l.mu.Lock()
	a := l.action
	l.mu.Unlock()
	if a.Hook != "" {
		return a, service, nil
	}
	a, h, _, err := l.find(ctx)
	if err != nil {
		return a, nil, err
	}
	l.mu.Lock()
	l.action, l.hook = a, h
	l.mu.Unlock()
	return a, service, nil
}

// begins reports whether state precedes that of the hook: on the way out of the group, out of a warm pool, or back into
// it (Amazon EC2 Auto Scaling User Guide, "Manage retained instances").
func begins(state string) bool {
	return state == "Terminating" || state == "Warmed:Terminating" || state == "Warmed:Pending"
}

var errSettled = errors.New("the group no longer waits: the hook's time is up, or somebody has answered it")

// settled reports whether an answer is of no use in this state. It returns an error if answer is Abandon and the group
// has continued without it.
func settled(state string, answer Answer) (over bool, err error) {
	switch {
	case strings.HasSuffix(state, ":Retained"):
		return true, nil
	case strings.HasSuffix(state, ":Proceed"), state == "", state == "Terminated", resting(state):
		if answer != Continue {
			err = fmt.Errorf("%w (state %q)", errSettled, state)
		}
		return true, err
	}
	return false, nil
}

// retained waits until an abandoned instance is either retained or terminated. Terminating:Proceed does not decide that: an
// instance passes through it on its way to Terminating:Retained too (Amazon EC2 Auto Scaling User Guide, "Manage retained
// instances"). A group without that policy retains none.
func (l *Lifecycle) retained(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 24*l.o.Retry)
	defer cancel()
	a, service, err := l.known(ctx)
	if err != nil {
		return false
	}
	if st, err := service.Settings(ctx, a.Group); err == nil && !st.Retain {
		return false
	}
	for {
		inst, err := service.Instance(ctx, a.Instance)
		switch {
		case err != nil:
		case strings.HasSuffix(inst.State, ":Retained"):
			return true
		case inst.State == "", inst.State == "Terminated", resting(inst.State):
			return false
		}
		if wait.Sleep(ctx, l.o.Retry/2) != nil {
			return false
		}
	}
}
