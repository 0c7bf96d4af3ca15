package drain

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestSecondSignal: the first signal begins a drain that cannot end, the second cuts it short.
func TestSecondSignal(t *testing.T) {
	w := newWorld(t)
	w.faulty.SetPlan(down)
	begun := make(chan struct{})
	d, sp := w.start(Options{OnSignal: Drain, Timeout: time.Hour, Before: []Step{{"begun", func(context.Context) error { close(begun); return nil }}}})
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
}
