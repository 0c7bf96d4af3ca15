package ecs

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/draintest"
)

// TestAfterComplete: a Drainer continues to call Update while its other platforms complete. A task whose protection has
// ended stays unprotected.
func TestAfterComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		task := &draintest.ECSTask{}
		l := open(t, task, Options{})
		var wg sync.WaitGroup
		wg.Go(func() { drive(t.Context(), l, task, drain.Status{Phase: "finish"}, time.Hour) })
		time.Sleep(time.Minute)
		if !task.Protected() {
			t.Error("not protected while it drains")
		}
		if _, err := l.Finish(t.Context(), &drain.Report{Intent: drain.Drain, Outcome: drain.Delivered}); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if task.Protected() {
			t.Error("empty, and protected again")
		}
	})
}
