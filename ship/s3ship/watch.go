package s3ship

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/penstock-go/penstock/ship"
)

const (
	// dialTimeout leaves room for two lost SYNs. Attempts are spent on it only while somebody answers, if with a refusal.
	dialTimeout = 5 * time.Second
	// cleanupTimeout bounds what is done after a cancelled upload.
	cleanupTimeout = 10 * time.Second
	// ioBuffer of a connection: with net/http's 4 KiB a body goes out in thousands of small writes.
	ioBuffer = 128 << 10
	// idleConns must cover all parts of all uploads at once, or each request pays a new handshake.
	idleConns = 128
)

// stallError ends a request in which nothing moved. The SDK does not retry it: a peer that was silent for so long will
// be silent in the next seconds too, and the caller wants to know within a bounded time.
type stallError struct{ after time.Duration }

// Timeout makes it a time-out for whoever asks, and RetryableError is what the SDK asks.
func (e *stallError) Error() string        { return fmt.Sprintf("nothing moved for %v", e.after) }
func (e *stallError) Timeout() bool        { return true }
func (e *stallError) RetryableError() bool { return false }

// watch is the HTTP client of a Destination. net/http has time limits for dialling and for headers, and none for a body that
// makes no progress; a limit on a whole request would cut off slow lines. So there is one timer per request, which each byte
// that moves sets back, whether sent or received. It rests while our own side is the slow one.
type watch struct {
	next interface {
		Do(*http.Request) (*http.Response, error)
	}
	stall  time.Duration
	scheme scheme
}

// roundTripper is a transport as a client: no redirects, which would carry a signature to where it does not belong, no
// cookies.
type roundTripper struct{ *http.Transport }

func (r roundTripper) Do(req *http.Request) (*http.Response, error) { return r.RoundTrip(req) }

// newWatch builds the client on base: the SDK's own client, with its proxy and CA settings, is tuned; any other is the
// embedder's and used as it is.
func newWatch(base aws.HTTPClient, o *Options) (*watch, error) {
	var t *http.Transport
	switch c := base.(type) {
	case nil: // not http.DefaultTransport, which many a process has wrapped
		t = awshttp.NewBuildableClient().GetTransport()
	case *awshttp.BuildableClient:
		t = c.GetTransport()
	default:
		if o.CAFile != "" {
			return nil, errors.New("ca_file cannot be added to an HTTP client of your own")
		}
		return &watch{next: base, stall: o.StallTimeout}, nil
	}
	t.DialContext = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext
	t.TLSHandshakeTimeout = 2 * dialTimeout
	t.MaxIdleConns, t.MaxIdleConnsPerHost, t.MaxConnsPerHost = 0, idleConns, 0
	t.IdleConnTimeout = 60 * time.Second
	t.WriteBufferSize, t.ReadBufferSize = ioBuffer, ioBuffer
	// Over HTTP/2 all parts would share one connection and one congestion window.
	t.ForceAttemptHTTP2, t.TLSNextProto = false, map[string]func(string, *tls.Conn) http.RoundTripper{}
	t.DisableCompression = true
	t.OnProxyConnectResponse = proxyAnswer
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM form", o.CAFile)
		}
		t.TLSClientConfig.RootCAs = pool
	}
	return &watch{next: roundTripper{t}, stall: o.StallTimeout}, nil
}

// closeIdle is for Close: idle connections hold goroutines.
func (w *watch) closeIdle() {
	if c, ok := w.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// Do implements aws.HTTPClient.
func (w *watch) Do(req *http.Request) (*http.Response, error) {
	// Cancelled by the timer, or at the end of the response's body; until then the body belongs to the caller.
	ctx, cancel := context.WithCancelCause(req.Context())
	p := &pulse{stall: w.stall}
	p.timer = time.AfterFunc(w.stall, func() { cancel(&stallError{w.stall}) })
	req = req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &sent{req.Body, p}
		if again := req.GetBody; again != nil { // net/http replays a request whose idle connection had gone
			req.GetBody = func() (io.ReadCloser, error) {
				b, err := again()
				return &sent{b, p}, err
			}
		}
	}
	resp, err := w.next.Do(req)
	p.answer()
	if err != nil {
		err = w.scheme.explain(ctx, w.next, req, cause(ctx, err))
		cancel(nil)
		return nil, err
	}
	resp.Body = &received{resp.Body, p, ctx, cancel}
	if !isObject(req, resp) {
		resp.Body = &answer{resp.Body, maxAnswer}
	}
	if e := foreign(req, resp); e != nil {
		return nil, e
	}
	return resp, nil
}

// cause gives a cancelled request's error its reason.
func cause(ctx context.Context, err error) error {
	if stalled, ok := errors.AsType[*stallError](context.Cause(ctx)); ok {
		return stalled
	}
	return err
}

// pulse is the timer of one request.
type pulse struct {
	stall time.Duration
	timer *time.Timer

	mu       sync.Mutex
	answered bool
}

// sending starts and stops the timer until the answer is there; from then on a body still being read counts no more.
func (p *pulse) sending(peer bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.answered {
		p.set(peer)
	}
}

// answer ends the request's side: what is still read of its body, as after a refusal, counts no more.
func (p *pulse) answer() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered = true
	p.set(false)
}

// set starts the timer when it is the peer's turn to move, and stops it when it is ours.
func (p *pulse) set(peer bool) {
	if peer {
		p.timer.Reset(p.stall)
	} else {
		p.timer.Stop()
	}
}

// sent is a request's body. When the transport comes for more, what it had has moved on.
type sent struct {
	io.ReadCloser
	p *pulse
}

func (s *sent) Read(b []byte) (int, error) {
	s.p.sending(false) // a slow disk or a bandwidth limit is not the peer's fault
	n, err := s.ReadCloser.Read(b)
	s.p.sending(true)
	return n, err
}

// received is a response's body.
type received struct {
	io.ReadCloser
	p      *pulse
	ctx    context.Context // the request's own
	cancel context.CancelCauseFunc
}

func (r *received) Read(b []byte) (int, error) {
	r.p.set(true)
	n, err := r.ReadCloser.Read(b)
	r.p.set(false)
	if err != nil && !errors.Is(err, io.EOF) {
		err = cause(r.ctx, err)
	}
	return n, err
}

// isObject reports whether a response's body is that of an object, of which its reader knows how long it should be.
func isObject(req *http.Request, resp *http.Response) bool {
	q := req.URL.Query()
	return req.Method == http.MethodGet && resp.StatusCode/100 == 2 && (len(q) == 0 || q.Get("x-id") == "GetObject")
}

// maxAnswer bounds any other answer in bytes, which the SDK keeps in memory. A thousand keys of 1,024 bytes, each byte of which
// is escaped, are less than half of it.
const maxAnswer = 16 << 20

// errEndless is permanent: another attempt would read as much again.
var errEndless = ship.Permanent(fmt.Errorf("the answer has more than %d bytes: this is not a store", maxAnswer))

// answer is the body of one that is no object.
type answer struct {
	io.ReadCloser
	left int64
}

func (a *answer) Read(b []byte) (int, error) {
	if a.left <= 0 {
		return 0, errEndless
	}
	n, err := a.ReadCloser.Read(b[:min(int64(len(b)), a.left)])
	a.left -= int64(n)
	return n, err
}

func (r *received) Close() error {
	r.p.set(false)
	err := r.ReadCloser.Close()
	r.cancel(nil)
	return err
}
