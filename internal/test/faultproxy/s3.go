package faultproxy

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"github.com/penstock-go/penstock/internal/test/s3d"
)

// S3 passes the requests of an S3 client on to a real server, but for the faults that its plan asks for.
type S3 struct {
	// Endpoint is the proxy's own URL.
	Endpoint string

	proxy  http.Handler
	server *http.Server
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	plan Plan
	seen map[string]int
}

// Plan says how the n-th request (from 1, since the plan was set) of an operation fails. It may also do something before the
// request continues. The operations are named as in the S3 API: Head, Get, Put, Create, UploadPart, Complete, Abort, List,
// ListUploads, HeadBucket.
type Plan func(op string, n int, r *http.Request) s3d.Fault

// ListenS3 returns a proxy on a free port of 127.0.0.1 to the server at endpoint, without faults. Close it in the end.
func ListenS3(endpoint string) (*S3, error) {
	to, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &S3{Endpoint: "http://" + l.Addr().String(), done: make(chan struct{}), seen: map[string]int{}}
	transport := &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}
	p.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // it is part of what was signed
		},
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	p.server = &http.Server{Handler: p, BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: log.New(io.Discard, "", 0)}
	go func() {
		defer close(p.done)
		defer transport.CloseIdleConnections()
		_ = p.server.Serve(l) // until Close
	}()
	return p, nil
}

// Close ends all connections. Idempotent.
func (p *S3) Close() error {
	p.cancel()
	err := p.server.Close()
	<-p.done
	return err
}

// SetPlan replaces the plan and counts again; nil: no faults.
func (p *S3) SetPlan(plan Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan, p.seen = plan, map[string]int{}
}

// Seen returns how many requests of an operation have come since the plan was set.
func (p *S3) Seen(op string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[op]
}

// ServeHTTP answers one request.
func (p *S3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op := Op(r)
	p.mu.Lock()
	p.seen[op]++
	plan, n := p.plan, p.seen[op]
	p.mu.Unlock()
	var f s3d.Fault
	if plan != nil {
		f = plan(op, n, r)
	}
	f.Serve(w, r, p.proxy)
}

// Op names the operation of a path-style request as the S3 API does.
func Op(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case q.Has("uploads") && r.Method == http.MethodGet:
		return "ListUploads"
	case q.Has("list-type"):
		return "List"
	case q.Has("uploads"):
		return "Create"
	case q.Has("uploadId"):
		return map[string]string{http.MethodPut: "UploadPart", http.MethodPost: "Complete", http.MethodDelete: "Abort"}[r.Method]
	case r.Method == http.MethodHead && strings.Count(strings.Trim(r.URL.Path, "/"), "/") == 0:
		return "HeadBucket"
	}
	return map[string]string{
		http.MethodHead: "Head", http.MethodGet: "Get", http.MethodPut: "Put", http.MethodDelete: "Delete",
	}[r.Method]
}
