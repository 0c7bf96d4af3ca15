package wait

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := Sleep(t.Context(), time.Hour); err != nil || time.Since(began) != time.Hour {
			t.Fatalf("%v after %v, want nil after an hour", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began = time.Now()
		if err := Sleep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Fatalf("%v after %v, want the end of the context after a minute", err, time.Since(began))
		}
		if err := Sleep(ctx, 0); err == nil {
			t.Fatal("a context that has ended must win over a time that has passed")
		}
	})
}

func TestFor(t *testing.T) {
	closed, value := make(chan struct{}), make(chan struct{}, 1)
	close(closed)
	value <- struct{}{}
	synctest.Test(t, func(t *testing.T) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for _, c := range []struct {
			what   string
			ctx    context.Context
			events []<-chan struct{}
			want   int
			after  time.Duration
		}{
			{"nothing to wait for but time", t.Context(), nil, Passed, time.Second},
			{"nil channels", t.Context(), []<-chan struct{}{nil, nil}, Passed, time.Second},
			{"a closed channel", t.Context(), []<-chan struct{}{closed}, 0, 0},
			{"a value on the second channel", t.Context(), []<-chan struct{}{nil, value}, 1, 0},
			{"a context that has ended", ended, []<-chan struct{}{nil}, Passed, 0},
		} {
			began := time.Now()
			got, err := For(c.ctx, time.Second, c.events...)
			if got != c.want || !errors.Is(err, c.ctx.Err()) || time.Since(began) != c.after {
				t.Errorf("%s: %d, %v after %v; want %d after %v", c.what, got, err, time.Since(began), c.want, c.after)
			}
		}
	})
}

func TestReceive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := make(chan int, 1)
		if _, ok := Receive(t.Context(), time.Second, c); ok {
			t.Fatal("received from an empty channel")
		}
		c <- 7
		if v, ok := Receive(t.Context(), time.Second, c); v != 7 || !ok {
			t.Fatalf("%d, %v, want 7", v, ok)
		}
		close(c)
		if v, ok := Receive(t.Context(), time.Second, c); v != 0 || !ok {
			t.Fatalf("%d, %v of a closed channel, want 0, true", v, ok)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, ok := Receive(ctx, time.Second, make(chan int)); ok {
			t.Fatal("received although the context has ended")
		}
	})
}

func TestSignal(t *testing.T) {
	var s Signal
	s.Broadcast() // nobody waits
	first, same := s.Next(), s.Next()
	if first != same {
		t.Fatal("two goroutines that wait for the same change have two channels")
	}
	select {
	case <-first:
		t.Fatal("closed before the broadcast")
	default:
	}
	s.Broadcast()
	<-first
	select {
	case <-s.Next():
		t.Fatal("a broadcast is over once it was made")
	default:
	}
}
