package ingest

import (
	"errors"
	"runtime"
	"testing"
)

// A listener is ready once Serve has begun and not before: a sender that waits for readiness loses nothing to a Shutdown that
// comes early.
func TestReadyOnceServed(t *testing.T) {
	for _, url := range []string{"udp://127.0.0.1:0", "tcp://127.0.0.1:0"} {
		l, err := Listen(url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Ready(); err == nil {
			t.Errorf("%s: ready before Serve", url)
		}
		done := make(chan error, 1)
		go func() { done <- l.Serve(newSink()) }()
		for l.Ready() != nil {
			runtime.Gosched()
		}
		if err := l.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, ErrServerClosed) {
			t.Error(err)
		}
		never, err := Listen(url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := never.Shutdown(t.Context()); err != nil {
			t.Errorf("%s: Shutdown without Serve: %v", url, err)
		}
	}
}
