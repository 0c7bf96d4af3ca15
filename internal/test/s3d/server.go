package s3d

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Server is an http.Handler that answers like S3.
type Server struct {
	o     *Options
	store *store
	now   func() time.Time

	// active is held for reading by each request: Close waits for them.
	active   sync.RWMutex
	close    sync.Once
	closeErr error

	// Set by Start.
	http     *http.Server
	endpoint string
	cancel   context.CancelFunc
	done     chan struct{}
}

var _ http.Handler = (*Server)(nil)

// New returns a handler that keeps its objects below dir, which is created if need be. An earlier server's objects and
// unfinished uploads are still there. Close it in the end.
func New(dir string, o *Options) (*Server, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	st, err := openStore(dir, o.Buckets)
	if err != nil {
		return nil, fmt.Errorf("s3d: %w", err)
	}
	return &Server{o: o, store: st, now: time.Now}, nil
}

// Start is New, and listens on Options.Addr and serves until Close.
func Start(dir string, o *Options) (*Server, error) {
	s, err := New(dir, o)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", s.o.Addr)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("s3d: %w", err), s.store.root.Close())
	}
	s.endpoint = "http://" + l.Addr().String()
	s.done = make(chan struct{})
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           s,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: s.o.IdleTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.o.Logger.Error("s3d stopped serving", "err", err)
		}
	}()
	return s, nil
}

// Endpoint is the URL of a started server: "http://127.0.0.1:41234".
func (s *Server) Endpoint() string { return s.endpoint }

// Close ends all connections at once, as a crash would, and lets the address go: a new server may be started on it and
// on the same directory. It is idempotent.
func (s *Server) Close() error {
	s.close.Do(func() {
		if s.http != nil {
			s.cancel()
			s.closeErr = s.http.Close()
			<-s.done
		}
		s.active.Lock()
		defer s.active.Unlock()
		s.closeErr = errors.Join(s.closeErr, s.store.root.Close())
	})
	return s.closeErr
}

// call is what the handlers of one request know about it.
type call struct {
	bucket, key string
	sig         *signature
	fault       Fault
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.active.RLock()
	defer s.active.RUnlock()
	w.Header().Set("x-amz-request-id", newID())
	w.Header().Set("Server", "s3d")
	// Also for a request that is refused unread: net/http reads the rest of its body before it continues.
	_ = http.NewResponseController(w).SetReadDeadline(s.now().Add(s.o.IdleTimeout)) // a recorder has none
	c := &call{}
	if s.o.Fault != nil {
		c.fault = s.o.Fault(r)
		if c.fault.disturb(w, r) {
			return
		}
		if c.fault.Truncate > 0 {
			w = &cut{ResponseWriter: w, r: r, left: c.fault.Truncate, hang: c.fault.Hang}
		}
	}
	if c.fault.Lose {
		if err := s.serve(mute{http.Header{}}, r, c); err != nil {
			s.o.Logger.Debug("s3d request refused, and nobody told", "err", err)
		}
		c.fault.lose(w, r)
		return
	}
	if err := s.serve(w, r, c); err != nil {
		s.answerError(w, r, err)
	}
}

// serve verifies the signature and finds the handler.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, c *call) error {
	var err error
	if c.sig, err = s.authenticate(r); err != nil {
		return err
	}
	c.bucket, c.key, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if !slices.Contains(s.o.Buckets, c.bucket) {
		return errNoSuchBucket
	}
	if c.key == "" {
		return s.serveBucket(w, r, c)
	}
	if err := checkKey(c.key); err != nil {
		return err
	}
	return s.serveKey(w, r, c)
}

// serveKey finds the handler by method and query. A query key that no handler knows is refused: a PUT with ?acl must
// never be taken for a PUT of the object.
func (s *Server) serveKey(w http.ResponseWriter, r *http.Request, c *call) error {
	q := r.URL.Query()
	delete(q, "x-id") // the SDK's name of the operation
	upload := q.Get("uploadId")
	part := q.Get("partNumber")
	switch {
	case r.Header.Get("x-amz-copy-source") != "":
		return errUnsupported
	case r.Method == http.MethodPut && len(q) == 0:
		return s.putObject(w, r, c)
	case r.Method == http.MethodPut && len(q) == 2 && upload != "" && part != "":
		return s.uploadPart(w, r, c, upload, part)
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && len(q) == 0:
		return s.getObject(w, r, c)
	case r.Method == http.MethodDelete && len(q) == 0:
		return s.deleteObject(w, r, c)
	case r.Method == http.MethodDelete && len(q) == 1 && upload != "":
		return s.abortUpload(w, r, c, upload)
	case r.Method == http.MethodPost && len(q) == 1 && q.Has("uploads"):
		return s.createUpload(w, r, c)
	case r.Method == http.MethodPost && len(q) == 1 && upload != "":
		return s.completeUpload(w, r, c, upload)
	}
	return errUnsupported
}

// serveBucket answers requests that name no key.
func (s *Server) serveBucket(w http.ResponseWriter, r *http.Request, c *call) error {
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodHead:
		w.Header().Set("x-amz-bucket-region", s.o.Region)
		w.WriteHeader(http.StatusOK)
		return nil
	case r.Method == http.MethodGet && q.Has("uploads"):
		return s.listUploads(w, r, c)
	case r.Method == http.MethodGet && q.Get("list-type") == "2":
		return s.listObjects(w, r, c)
	}
	return errUnsupported
}
