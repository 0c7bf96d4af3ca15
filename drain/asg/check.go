package asg

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Check checks that the group retains an instance whose drain is not complete, and waits long enough for a drain. It
// returns everything that is wrong, joined, each with its cure. That includes an instance that is in no group, since
// nothing waits for its drain.
func (l *Lifecycle) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf("asg: "+format, a...)) }
	a, h, st, err := l.find(ctx)
	switch {
	case errors.Is(err, errNoGroup):
		return fmt.Errorf("%w: nobody will wait for its drain; run without this lifecycle outside of a group", err)
	case errors.Is(err, errNoHook):
		errs = append(errs, fmt.Errorf("%w: create a hook for autoscaling:EC2_INSTANCE_TERMINATING, or give its name", err))
	case err != nil:
		return fmt.Errorf("%w: %w; the role needs autoscaling:DescribeAutoScalingInstances,"+
			" DescribeAutoScalingGroups and DescribeLifecycleHooks", errUnchecked, err)
	}
	if !st.Retain {
		bad("an abandoned hook terminates the instance, and its volume may go with it: set the group's" +
			" InstanceLifecyclePolicy.RetentionTriggers.TerminateHookAbandon to retain")
	}
	if a.Hook == "" {
		return errors.Join(errs...)
	}
	if h.DefaultResult != Abandon {
		bad("hook %s: if a drain never answers, the result is %s: set DefaultResult to ABANDON", h.Name, h.DefaultResult)
	}
	if need := max(2*l.o.StallTimeout, time.Minute); h.Heartbeat < need {
		bad("hook %s: a heartbeat timeout of %v is short for a drain that may stall for %v: set HeartbeatTimeout to at least %v, such as 1800 s",
			h.Name, h.Heartbeat, l.o.StallTimeout, need)
	}
	if h.Global > 0 && h.Global < l.o.Timeout {
		bad("hook %s: the group waits for %v at most, a drain may take %v: raise HeartbeatTimeout (the limit is 100 times that, 48 h at most) or lower the drain's timeout",
			h.Name, h.Global, l.o.Timeout)
	}
	return errors.Join(errs...)
}

// errUnchecked means that the API did not answer.
var errUnchecked = errors.New("asg: the group's settings are not checked")

// checkAgain is the pause before the next attempt: an instance that has just been launched may not have its role's
// credentials yet.
const checkAgain = time.Minute

// check logs the findings of Check, once.
func (l *Lifecycle) check(ctx context.Context) {
	if l.checked || time.Now().Before(l.checkNext) {
		return
	}
	err := l.Check(ctx)
	l.checked, l.checkNext = !errors.Is(err, errUnchecked), time.Now().Add(checkAgain)
	if err != nil && ctx.Err() == nil {
		for _, e := range unjoin(err) {
			l.log.Warn("asg: this instance may lose its volume at a scale-in, with the records on it: correct what err names", "err", e)
		}
	}
}

// unjoin returns the errors of errors.Join.
func unjoin(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}
