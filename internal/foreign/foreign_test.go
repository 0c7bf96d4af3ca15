package foreign

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPanic: a panic becomes an error with the stack of the code that panicked, and errors.Is finds its cause.
func TestPanic(t *testing.T) {
	for _, call := range []func(func() error) error{
		func(f func() error) error { return Catch("Put", f) },
		func(f func() error) error {
			_, err := Call(t.Context(), Grace, "Put", func() (int, error) { return 0, f() })
			return err
		},
	} {
		err := call(func() error { panic(io.ErrNoProgress) })
		p, ok := errors.AsType[*PanicError](err)
		if !ok || !errors.Is(err, io.ErrNoProgress) || !strings.Contains(string(p.Stack), "TestPanic") || !strings.Contains(err.Error(), "Put panicked") {
			t.Errorf("%v", err)
		}
		if err := call(func() error { return io.EOF }); err != io.EOF {
			t.Errorf("%v", err)
		}
	}
}

// TestAbandon: code that ignores its context is abandoned after the grace, and not before.
func TestAbandon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, io.ErrClosedPipe)
		defer cancel()
		began, release := time.Now(), make(chan struct{})
		_, err := Call(ctx, Grace, "Put", func() (int, error) { <-release; return 1, nil })
		if took := time.Since(began); !errors.Is(err, ErrAbandoned) || !errors.Is(err, io.ErrClosedPipe) || took != time.Minute+Grace {
			t.Errorf("%v after %v", err, took)
		}
		close(release)
		n, err := Call(ctx, Grace, "Put", func() (int, error) { time.Sleep(Grace - time.Second); return 2, nil })
		if n != 2 || err != nil {
			t.Errorf("a call that ends within the grace: %d, %v", n, err)
		}
		if _, err := Call(t.Context(), Grace, "Put", func() (int, error) { runtime.Goexit(); return 1, nil }); !errors.Is(err, errGoexit) {
			t.Errorf("a call that ends its goroutine: %v", err)
		}
	})
}

func TestIsNil(t *testing.T) {
	var file *io.PipeReader
	var f func()
	var key []byte
	var m map[string]int
	for _, v := range []any{nil, file, f, key, m, io.Reader(file)} {
		if !IsNil(v) {
			t.Errorf("%T passes for something", v)
		}
	}
	for _, v := range []any{0, "", struct{}{}, &m, []byte{}, map[string]int{}} {
		if IsNil(v) {
			t.Errorf("%T passes for nil", v)
		}
	}
}
