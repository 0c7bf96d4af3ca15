//go:build unix

package drain

import (
	"context"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestSignalWhileResumed: a first signal does not interrupt a drain that a platform's notice has made this process resume
// at its start, just as it does not interrupt a drain that begins later.
func TestSignalWhileResumed(t *testing.T) {
	w := newWorld(t)
	w.faulty.SetPlan(down)
	begun, heard := make(chan struct{}), make(chan struct{})
	d, sp := w.start(Options{
		Lifecycles: []Lifecycle{&fake{notice: notice()}}, Timeout: time.Hour,
		Before: []Step{{"begun", func(context.Context) error { close(begun); return nil }}},
	})
	var once sync.Once
	d.o.Logger = logHook(func(msg string) {
		if strings.Contains(msg, "signal received") {
			once.Do(func() { close(heard) })
		}
	})
	w.append(sp, 100)
	n, goes := d.Terminating(t.Context())
	if !goes {
		t.Fatal("the platform has said that the instance goes")
	}
	go func() {
		<-begun
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		<-heard
		w.faulty.SetPlan(nil)
	}()
	if r, err := d.Resume(n.Trigger); err != nil || r.Outcome != Delivered {
		t.Errorf("%v %s", err, r.JSON())
	}
}
