package s3d

import (
	"io"
	"net/http"
	"time"
)

// Fault says how one request fails. The zero value means that it does not fail. Delay can be combined with each of the others.
// Lose with ErrorBody or Hang performs the request and answers with an error or not at all; Truncate with Hang stops in the
// middle of the body.
type Fault struct {
	// Delay passes before anything else happens.
	Delay time.Duration
	// Status and Code are answered and nothing is done: 503 with SlowDown, 409 with ConditionalRequestConflict.
	Status int
	Code   string
	// Drop closes the connection and does nothing.
	Drop bool
	// Lose performs the request and closes the connection without an answer: the response is lost after the commit.
	Lose bool
	// Hang reads nothing and answers nothing until the client goes away, the server closes or its
	// IdleTimeout has passed: a black hole with an open connection.
	Hang bool
	// ErrorBody does nothing and answers 200 with an error as the body, as CompleteMultipartUpload may.
	ErrorBody bool
	// Flip inverts one bit of the received payload, after the client has computed its checksums.
	Flip bool
	// Truncate > 0 cuts the connection after that many bytes of the answer's body.
	Truncate int64
}

// disturb applies the faults that come before the request. done reports that the request must not continue.
func (f Fault) disturb(w http.ResponseWriter, r *http.Request) (done bool) {
	if f.Delay > 0 {
		t := time.NewTimer(f.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case f.Drop:
		panic(http.ErrAbortHandler)
	case f.Hang && f.Truncate == 0 && !f.Lose:
		// Without this read the server does not watch the connection, and would not notice its end. The body is not read,
		// unless it is empty.
		if r.ContentLength == 0 {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		hang(r)
	case f.Status != 0:
		if r.Method == http.MethodHead {
			w.WriteHeader(f.Status)
		} else {
			writeXML(w, f.Status, xmlError{Code: f.Code, Message: "a fault was asked for", Resource: r.URL.Path})
		}
		return true
	case f.ErrorBody && !f.Lose:
		answerBroken(w, r)
		return true
	}
	return false
}

// lose answers a request that has been carried out as if it had not.
func (f Fault) lose(w http.ResponseWriter, r *http.Request) {
	if f.Hang {
		hang(r)
	}
	if !f.ErrorBody {
		panic(http.ErrAbortHandler)
	}
	answerBroken(w, r)
}

// answerBroken says 200 ahead of an error: S3 has to, when it finds out after it has begun to answer.
func answerBroken(w http.ResponseWriter, r *http.Request) {
	writeXML(w, http.StatusOK, xmlError{Code: "InternalError", Message: "a fault was asked for", Resource: r.URL.Path})
}

// hang waits for the client or the server to go.
func hang(r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// mute takes an answer and throws it away.
type mute struct{ h http.Header }

func (m mute) Header() http.Header         { return m.h }
func (m mute) Write(b []byte) (int, error) { return len(b), nil }
func (m mute) WriteHeader(int)             {}

// cut passes left bytes of the body through, then closes the connection, or hangs.
type cut struct {
	http.ResponseWriter
	r    *http.Request
	left int64
	hang bool
}

func (c *cut) Write(b []byte) (int, error) {
	if int64(len(b)) > c.left {
		_, _ = c.ResponseWriter.Write(b[:c.left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		if c.hang {
			hang(c.r)
		}
		panic(http.ErrAbortHandler)
	}
	c.left -= int64(len(b))
	return c.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (c *cut) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// flip turns the lowest bit of the first byte.
type flip struct {
	io.Reader
	done bool
}

func (f *flip) Read(b []byte) (int, error) {
	n, err := f.Reader.Read(b)
	if n > 0 && !f.done {
		b[0] ^= 1
		f.done = true
	}
	return n, err
}

// Serve lets next answer a request, but for the fault: for a proxy before another server. Flip turns a bit in the middle
// of the body, framing and all.
func (f Fault) Serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if f.disturb(w, r) {
		return
	}
	if f.Flip && r.ContentLength > 0 {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(r.Body, r.ContentLength/2), &flip{Reader: r.Body}), r.Body}
	}
	if f.Truncate > 0 {
		w = &cut{ResponseWriter: w, r: r, left: f.Truncate, hang: f.Hang}
	}
	if f.Lose {
		next.ServeHTTP(mute{http.Header{}}, r)
		f.lose(w, r)
		return
	}
	next.ServeHTTP(w, r)
}
