package drain

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// stuckUpdate is a Lifecycle whose Update of the end ignores its context.
type stuckUpdate struct {
	hang   chan struct{}
	heed   bool // Update ends with its context
	mu     sync.Mutex
	ctxErr error
	calls  int
}

func (p *stuckUpdate) Notice(context.Context) (Notice, bool, error) { return Notice{}, false, nil }
func (p *stuckUpdate) Update(ctx context.Context, at Status) {
	if at.Phase == PhaseRun {
		return
	}
	if p.heed {
		select {
		case <-p.hang:
		case <-ctx.Done():
		}
		return
	}
	<-p.hang
}

func (p *stuckUpdate) Finish(ctx context.Context, r *Report) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	p.ctxErr = ctx.Err()
	return false, nil
}

// TestHungUpdate: an Update that hangs keeps no Finish from being called.
func TestHungUpdate(t *testing.T) {
	synctest.Test(t, hungUpdate)
}

func hungUpdate(t *testing.T) {
	bad, n := 0, 30
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range n {
		a, b := &stuckUpdate{hang: make(chan struct{})}, &stuckUpdate{hang: make(chan struct{}), heed: true}
		close(b.hang)
		d, err := New(&Options{Dir: t.TempDir(), Lifecycles: []Lifecycle{a, b}})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			done := make(chan struct{})
			go func() { defer close(done); _, _ = d.Drain(context.Background(), "test") }()
			select {
			case <-done:
			case <-time.After(10 * time.Second):
			}
			a.mu.Lock()
			b.mu.Lock()
			mu.Lock()
			if a.calls == 0 || b.calls == 0 {
				bad++
			}
			mu.Unlock()
			b.mu.Unlock()
			a.mu.Unlock()
			close(a.hang)
			<-done
		})
	}
	wg.Wait()
	if bad > 0 {
		t.Errorf("in %d of %d ends a Finish was not called within ten seconds", bad, n)
	}
}

// TestFinishAfterCut: after a second signal, an Update that is slow takes no time from any Finish.
func TestFinishAfterCut(t *testing.T) {
	for _, heed := range []bool{true, false} {
		a, b := &stuckUpdate{hang: make(chan struct{}), heed: heed}, &stuckUpdate{hang: make(chan struct{}), heed: true}
		close(b.hang)
		d, err := New(&Options{Dir: t.TempDir(), Lifecycles: []Lifecycle{a, b}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cut := context.WithCancelCause(context.Background())
		cut(errCut)
		_, _ = d.Drain(ctx, "test")
		if !heed {
			close(a.hang)
		}
		a.mu.Lock()
		b.mu.Lock()
		for _, p := range []*stuckUpdate{a, b} {
			if p.ctxErr != nil || p.calls == 0 {
				t.Errorf("heeds its context %v: Finish was called %d times, %v", heed, p.calls, p.ctxErr)
			}
		}
		b.mu.Unlock()
		a.mu.Unlock()
	}
}
