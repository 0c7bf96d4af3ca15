package ship

import (
	"errors"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/units"
	"github.com/penstock-go/penstock/spool"
)

const (
	// logInterval is how often a destination that stays in trouble is logged, and lateInterval how often after lateAfter:
	// anyone who reads the log in the morning needs the sum, not a line for each minute of the night.
	logInterval  = time.Minute
	lateInterval = 10 * time.Minute
	// lateAfter is how long an outage that may end by itself is logged as a warning. After that, it is logged as an error.
	lateAfter = 10 * time.Minute
	// fullSoon: if the spool will be full within this time, an outage is logged as an error at once.
	fullSoon = time.Hour
)

// outage sums up the failures of a destination: the first one is logged at once, and later the sum. Guarded by lane.mu.
type outage struct {
	since    time.Time // of the first failure
	before   time.Time // when an outage began that an earlier process left behind; zero once something succeeds
	logged   time.Time // the last line
	worst    State     // that was logged
	late     bool      // it was logged as lasting longer than lateAfter
	failures uint64    // since the first
}

// begin starts the clock at the first failure, or continues that of the previous process.
func (o *outage) begin(now time.Time) {
	if o.since = now; !o.before.IsZero() {
		o.since = o.before
	}
	o.failures, o.late = 0, false
}

// note counts a failure, and reports whether it must be logged: the first one, each change to a worse state, each conflict
// (an operator has to look at every key), and from time to time one that sums up the others.
func (o *outage) note(state, condition State, now time.Time) (due bool) {
	o.failures++
	lasts, interval := now.Sub(o.since) >= lateAfter, logInterval
	if lasts && o.late {
		interval = lateInterval
	}
	due = state == StateConflict || rank[state] > rank[o.worst] || now.Sub(o.logged) >= interval || lasts && !o.late
	if due {
		o.logged, o.worst, o.late = now, condition, lasts
	}
	return due
}

// logFailure logs a failure with what it means: how much waits for this destination, since when, and for how long the spool has
// room for more.
func (l *lane) logFailure(what string, state State, err error, pause time.Duration, o outage) {
	args, full := l.backlogAttrs()
	args = append([]any{
		"operation", what, "err", err, "failures", o.failures, "failing_for", time.Since(o.since).Round(time.Second),
		"again_in", pause.Round(time.Millisecond),
	}, args...)
	_, here := errors.AsType[*hostError](err)
	switch {
	case here:
		l.log.Error("ship: this host cannot write to the spool's disk; the destination is not at fault: see err", args...)
	case errors.Is(err, spool.ErrFull):
		l.log.Error("ship: this host has no room for a staged file; the destination is not at fault: free the disk or raise the quota", args...)
	case state == StateRetrying && !o.late && !full:
		l.log.Warn("ship: destination fails; its records stay in the spool and are sent when it works again", args...)
	case state == StateRetrying:
		l.log.Error("ship: destination still fails; its records stay in the spool until that is full: find out why by err, or give the spool more room", args...)
	case errors.Is(err, errAltered):
		l.log.Error("ship: the destination holds other bytes than this process sent, and the chain stops here: check the store and everything on "+
			"the way to it, and move the object elsewhere (do not delete it); then it is sent again; everything else continues", args...)
	case state == StateConflict:
		l.log.Error("ship: key is taken by other bytes, and the chain stops here: find out who wrote them, and move them elsewhere; "+
			"do not delete them, they may be the only copy; everything else continues", args...)
	default:
		l.log.Error("ship: destination refuses this operation until an operator fixes the cause that err names; the operation is retried, and everything else continues", args...)
	}
}

// hostError is an error of this host's disk.
type hostError struct{ err error }

func (e *hostError) Error() string { return e.err.Error() }
func (e *hostError) Unwrap() error { return e.err }

// ofHost marks an error of the spool, nil for none.
func ofHost(err error) error {
	if err == nil {
		return nil
	}
	return &hostError{err}
}

// backlogAttrs returns log attributes: what is pending for the destination, how old its oldest part is, and when the spool
// will be full at the present rate. soon: that is within fullSoon, or it is full.
func (l *lane) backlogAttrs() (args []any, soon bool) {
	st := l.s.sp.Stats()
	t := st.Pending[l.name]
	args = []any{"backlog", units.Records(t.Records, t.Bytes)}
	if oldest := st.Oldest[l.name]; !oldest.IsZero() {
		args = append(args, "oldest_age", max(0, time.Since(oldest)).Round(time.Second))
	}
	room := st.Quota - st.Used
	if st.Disk.Size > 0 {
		room = min(room, st.Disk.Size-st.Disk.Used)
	}
	switch rate := l.s.intake.perSecond(l.s.sp.Ledger().Kept.Bytes, time.Now()); {
	case st.Full:
		return append(args, "full_in", time.Duration(0)), true
	case st.Quota <= 0 || rate < 1:
		return args, false
	default:
		in := time.Duration(min(float64(max(room, 0))/rate, 1e9) * float64(time.Second))
		return append(args, "full_in", in.Round(time.Second)), in < fullSoon
	}
}

// logRecovery logs the end of an outage, with its sum.
func (l *lane) logRecovery(o outage) {
	args, _ := l.backlogAttrs()
	l.log.Info("ship: destination works again; what waits for it is sent now", append([]any{
		"failing_for", time.Since(o.since).Round(time.Millisecond),
		"failures", o.failures,
	}, args...)...)
}

// intake measures the rate of incoming bytes: the mean since a measurement that is at least intakeWindow old.
type intake struct {
	mu                   sync.Mutex
	at, recent           time.Time
	bytes, recentlyBytes uint64
}

// intakeWindow is the shortest time over which a rate is measured, once that much time has passed.
const intakeWindow = 5 * time.Minute

// perSecond notes the number of bytes kept so far, and returns the rate.
func (i *intake) perSecond(bytes uint64, now time.Time) float64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.at.IsZero() {
		i.at, i.bytes, i.recent, i.recentlyBytes = now, bytes, now, bytes
	}
	if now.Sub(i.recent) >= intakeWindow {
		i.at, i.bytes, i.recent, i.recentlyBytes = i.recent, i.recentlyBytes, now, bytes
	}
	d := now.Sub(i.at).Seconds()
	if d < 1 || bytes < i.bytes {
		return 0
	}
	return float64(bytes-i.bytes) / d
}
