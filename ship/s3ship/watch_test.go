package s3ship

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// doer is a server in the same bubble.
type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

// slow gives one byte after each pause, n times.
type slow struct {
	ctx   context.Context // a real body ends with its request, too
	pause time.Duration
	n     int
}

func (s *slow) Read(p []byte) (int, error) {
	if s.n == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(s.pause):
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
	s.n--
	return copy(p, "x"), nil
}
func (s *slow) Close() error { return nil }

func TestWatch(t *testing.T) {
	const stall = 30 * time.Second
	ok := func(body io.ReadCloser) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: body}, nil
	}
	for name, c := range map[string]struct {
		// server reads the request in its own way; client is how its body is made.
		server  func(*http.Request) (*http.Response, error)
		client  *slow
		stalled bool
		after   time.Duration
	}{
		"no answer": {
			server:  func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() },
			stalled: true, after: stall,
		},
		"a slow but steady answer": {
			server: func(r *http.Request) (*http.Response, error) { return ok(&slow{r.Context(), stall - 1, 100}) },
			after:  100 * (stall - 1),
		},
		"an answer that stops": {
			server:  func(r *http.Request) (*http.Response, error) { return ok(&slow{r.Context(), time.Hour, 1}) },
			stalled: true, after: stall,
		},
		"a slow peer that goes on taking": {
			server: func(r *http.Request) (*http.Response, error) {
				for b := make([]byte, 1); ; {
					if _, err := r.Body.Read(b); err != nil {
						return ok(http.NoBody)
					}
					time.Sleep(stall - 1)
				}
			},
			client: &slow{context.Background(), 0, 50},
			after:  50 * (stall - 1),
		},
		"a peer that stops taking": {
			server: func(r *http.Request) (*http.Response, error) {
				if _, err := r.Body.Read(make([]byte, 1)); err != nil {
					return nil, err
				}
				<-r.Context().Done()
				return nil, r.Context().Err()
			},
			client:  &slow{context.Background(), 0, 50},
			stalled: true, after: stall,
		},
		"our own disk is slow": {
			server: func(r *http.Request) (*http.Response, error) {
				_, err := io.Copy(io.Discard, r.Body)
				return &http.Response{StatusCode: 200, Body: http.NoBody}, err
			},
			client: &slow{context.Background(), 10 * stall, 3},
			after:  30 * stall,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var body io.Reader
				if c.client != nil {
					body = c.client
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://h/", body)
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				resp, err := (&watch{next: doer(c.server), stall: stall}).Do(req)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					err = errors.Join(err, resp.Body.Close())
				}
				if _, stalled := errors.AsType[*stallError](err); stalled != c.stalled || !stalled && err != nil {
					t.Errorf("%v, want a stall: %v", err, c.stalled)
				}
				if d := time.Since(begin); d != c.after {
					t.Errorf("after %v, want %v", d, c.after)
				}
			})
		})
	}
}

// TestWatchIdle: a caller that reads slowly is not the peer's fault.
func TestWatchIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watch{next: doer(func(*http.Request) (*http.Response, error) {
			return &http.Response{Body: io.NopCloser(strings.NewReader("abc"))}, nil
		}), stall: time.Second}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://h/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := w.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if b, err := io.ReadAll(resp.Body); string(b) != "abc" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	})
}
