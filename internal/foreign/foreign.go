package foreign

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
)

// Grace is how long a call may take to return after its context has ended.
const Grace = 5 * time.Second

// ErrAbandoned: the called code ignored its context, and was abandoned.
var ErrAbandoned = errors.New("did not return when its context ended; abandoned")

// errGoexit: the called code has ended its goroutine, as testing.T.FailNow does.
var errGoexit = errors.New("ended its goroutine instead of returning")

// PanicError is a panic in foreign code.
type PanicError struct {
	What  string // the call: "Destination.Put"; "" if the caller names it
	Value any
	Stack []byte
}

// Error names the call and the value of the panic. It leaves out the stack.
func (e *PanicError) Error() string {
	if e.What == "" {
		return fmt.Sprintf("panic: %v", e.Value)
	}
	return fmt.Sprintf("%s panicked: %v", e.What, e.Value)
}

// Unwrap returns the value if it is an error, such as that of a nil dereference.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Catch runs f on this goroutine and returns a panic as an error, in which what names the call.
func Catch(what string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{What: what, Value: p, Stack: debug.Stack()}
		}
	}()
	return f()
}

// Call runs f, which honours ctx, on a goroutine of its own. If f has not returned grace after ctx has ended, Call returns
// an error that wraps ErrAbandoned and the cause of ctx.
func Call[T any](ctx context.Context, grace time.Duration, what string, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		r := result{err: fmt.Errorf("%s %w", what, errGoexit)}
		defer func() { done <- r }()
		var v T
		err := Catch(what, func() (err error) { v, err = f(); return err })
		r = result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
	}
	if r, ok := wait.Receive(context.Background(), grace, done); ok {
		return r.v, r.err
	}
	var none T
	return none, fmt.Errorf("%s %w: %w", what, ErrAbandoned, context.Cause(ctx))
}

// IsNil reports whether v is nil, or an interface that holds a nil pointer, map, slice or function. Calling a method of such a
// value would panic.
func IsNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Chan:
		return r.IsNil()
	}
	return false
}
