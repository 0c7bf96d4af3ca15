package drain

import (
	"context"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestSecondSignal: the first signal begins a drain that cannot end, the second cuts it short.
func TestSecondSignal(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		w.faulty.SetPlan(down)
		begun := make(chan struct{})
		d, sp := w.start(Options{OnSignal: Drain, Timeout: time.Hour, Before: []Step{{"begun", func(context.Context) error {
			<-time.After(2 * echo)
			close(begun)
			return nil
		}}}})
		w.append(sp, 100)
		sig := make(chan os.Signal, 2)
		sig <- syscall.SIGTERM
		go func() {
			<-begun
			sig <- syscall.SIGTERM
		}()
		r, err := d.RunWith(t.Context(), sig)
		if err != nil || r.Outcome != Incomplete || r.Ended.Sub(r.Started) > 5*time.Second {
			t.Fatalf("%v %s", err, r.JSON())
		}
		if w.written().Classes["vpn"].Kept.Records != 100 {
			t.Error("the report on the volume lacks the balance")
		}
	})
}

// TestOneSignalTwice: the signal that has ended the context also arrives over the channel, as in a program that uses
// signal.NotifyContext. It does not count as a second one.
func TestOneSignalTwice(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		sig := make(chan os.Signal)
		d, sp := w.start(Options{OnSignal: Drain, Timeout: time.Hour, Before: []Step{{"twice", func(context.Context) error {
			sig <- syscall.SIGTERM // taken while the end goes on
			return nil
		}}}})
		w.append(sp, 100)
		time.AfterFunc(time.Second, cancel)
		r, err := d.RunWith(ctx, sig)
		if err != nil || r.Outcome != Delivered {
			t.Fatalf("%v %s", err, r.JSON())
		}
	})
}
