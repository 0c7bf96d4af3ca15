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
	// dialTimeout allows for two lost SYNs. A dial that times out is not retried here, only one that is refused: see retryable.
	dialTimeout = 5 * time.Second
	// cleanupTimeout bounds what is done after a cancelled upload.
	cleanupTimeout = 10 * time.Second
	// ioBuffer of a connection: with net/http's 4 KiB a body goes out in thousands of small writes.
	ioBuffer = 128 << 10
	// idleConns must cover all parts of all uploads at once; otherwise requests need new handshakes.
	idleConns = 128
)

// stallError ends a request in which nothing moved. The SDK does not retry it: a peer that was silent for so long will
// be silent in the next seconds too, and the caller wants to know within a bounded time.
type stallError struct{ after time.Duration }

// Timeout makes it a net.Error that is a timeout; the SDK calls RetryableError.
func (e *stallError) Error() string        { return fmt.Sprintf("nothing moved for %v", e.after) }
func (e *stallError) Timeout() bool        { return true }
func (e *stallError) RetryableError() bool { return false }

// watch is the HTTP client of a Destination. net/http has time limits for dialling and for headers, but none for a body that
// makes no progress; a limit on a whole request would cut off slow connections. So there is one timer per request, which is
// reset whenever bytes are sent or received. It is stopped while this process is the slow side.
type watch struct {
	next interface {
		Do(*http.Request) (*http.Response, error)
	}
	stall  time.Duration
	scheme scheme
}

// roundTripper makes a transport a client that follows no redirects, which would send the signature to another host, and keeps
// no cookies.
type roundTripper struct{ *http.Transport }

func (r roundTripper) Do(req *http.Request) (*http.Response, error) { return r.RoundTrip(req) }

// newWatch builds the client on base. It tunes the SDK's own client, and keeps its proxy and CA settings. Any other client is
// the embedder's, and used as it is.
func newWatch(base aws.HTTPClient, o *Options) (*watch, error) {
	var t *http.Transport
	switch c := base.(type) {
	case nil: // not http.DefaultTransport, which the process may have wrapped
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

// closeIdle closes idle connections, because they hold goroutines.
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
		if again := req.GetBody; again != nil { // net/http replays a request if its idle connection was closed
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

// cause returns the stallError of a request that the timer has cancelled.
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

// sending starts or stops the timer for the request's body. It has no effect after answer.
func (p *pulse) sending(peer bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.answered {
		p.set(peer)
	}
}

// answer stops the timer when the response is there. Later reads of the request's body no longer count.
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

// sent is a request's body. When the transport reads more of it, it has sent what it had read before.
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

// isObject reports whether a response's body is an object, whose expected length its reader knows.
func isObject(req *http.Request, resp *http.Response) bool {
	q := req.URL.Query()
	return req.Method == http.MethodGet && resp.StatusCode/100 == 2 && (len(q) == 0 || q.Get("x-id") == "GetObject")
}

// maxAnswer bounds any other response in bytes, because the SDK keeps it in memory. A listing of a thousand keys of 1,024
// bytes, each byte escaped, takes less than half of that.
const maxAnswer = 16 << 20

// errEndless is permanent: another attempt would read as much again.
var errEndless = ship.Permanent(fmt.Errorf("the answer has more than %d bytes: this is not a store", maxAnswer))

// answer is the body of a response that is not an object.
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
