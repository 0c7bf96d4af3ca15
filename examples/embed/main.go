// Embed shows a service that an engineer would write around Penstock's packages: two classes with destinations of their own;
// syslog over UDP, TLS, RELP and through a load balancer that sends PROXY headers; and the service's own HTTP server, whose
// requests become records too. On a signal it drains, and loses nothing.
//
// It is an example to read and copy. `examples/collector` offers the same as a finished program, with every flag.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ingest/relp"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// config holds the settings that differ between hosts.
type config struct {
	dir       string // for the spools
	s3, sftp  string // URLs of the destinations
	cert, key string // files, for TLS
	// Addresses. The load balancer connects to proxied, from addresses in lb.
	udp, tls, relp, proxied, http string
	lb                            netip.Prefix
	logger                        *slog.Logger
}

func main() {
	var c config
	flag.StringVar(&c.dir, "spool", "/var/spool/embed", "`DIR` of the spools")
	flag.StringVar(&c.s3, "s3", "", "`URL` of the bucket: s3://BUCKET/PREFIX?region=…")
	flag.StringVar(&c.sftp, "sftp", "", "`URL` of the datacenter: sftp://USER@HOST/DIR?key=…&known_hosts=…")
	flag.StringVar(&c.cert, "cert", "", "`FILE` with the certificate for TLS")
	flag.StringVar(&c.key, "key", "", "`FILE` with its private key")
	flag.StringVar(&c.udp, "udp", ":514", "`ADDRESS` for syslog over UDP")
	flag.StringVar(&c.tls, "tls", ":6514", "`ADDRESS` for syslog over TLS")
	flag.StringVar(&c.relp, "relp", ":2514", "`ADDRESS` for RELP")
	flag.StringVar(&c.proxied, "proxied", ":5140", "`ADDRESS` for syslog behind the load balancer")
	flag.StringVar(&c.http, "http", ":8080", "`ADDRESS` for HTTP")
	flag.TextVar(&c.lb, "lb", netip.MustParsePrefix("10.0.0.0/8"), "`NETWORK` of the load balancer")
	flag.Parse()
	c.logger = drain.NonBlocking(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	s, err := newService(context.Background(), &c)
	if err != nil {
		c.logger.Error("cannot start, and nothing was received: correct what err names", "err", err)
		os.Exit(1)
	}
	report, err := s.run(context.Background())
	if err != nil {
		c.logger.Error("the end was not in order: the report says what is left", "err", err)
	}
	os.Exit(report.ExitCode())
}

// service is the whole process. The Drainer knows everything that it has opened.
type service struct {
	c       *config
	drainer *drain.Drainer
	server  *http.Server
	http    net.Listener
	// listeners by name.
	listeners map[string]ingest.Listener
}

// newService opens everything, and refuses a configuration that cannot work.
func newService(ctx context.Context, c *config) (*service, error) {
	s := &service{c: c, listeners: map[string]ingest.Listener{}}
	var err error
	if s.http, err = net.Listen("tcp", c.http); err != nil {
		return nil, err
	}
	s.server = &http.Server{ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute}
	s.drainer, err = drain.New(&drain.Options{
		Dir: c.dir, OnSignal: drain.Drain, Timeout: 20 * time.Minute, Logger: c.logger,
		// The service's own server appends records without being an Input, so it must end before the Drainer empties the
		// spools.
		Before: []drain.Step{{Name: "http", Run: s.server.Shutdown}},
	})
	if err != nil {
		return nil, err
	}
	security, err := s.openClass(ctx, "security", "s3", "sftp")
	if err != nil {
		return nil, err
	}
	other, err := s.openClass(ctx, "other", "s3")
	if err != nil {
		return nil, err
	}
	if err := s.listen(security, other); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", s.drainer.Handler()) // /livez and /readyz
	mux.Handle("POST /events", newEvents(other.spool))
	s.server.Handler = mux
	return s, nil
}

// class is one kind of traffic; no other class can delay it.
type class struct {
	spool   *spool.Spool
	shipper *ship.Shipper
}

// openClass opens a spool, and its destinations. Each class opens destinations of its own, so that no class waits for another's
// uploads. None of them is contacted here: a destination that is down never prevents a start.
func (s *service) openClass(ctx context.Context, name string, destinations ...string) (*class, error) {
	log := s.c.logger.With("class", name)
	all := map[string]ship.Destination{}
	for _, d := range destinations {
		var err error
		if all[d], err = open.Destination(ctx, map[string]string{"s3": s.c.s3, "sftp": s.c.sftp}[d], &open.Options{Logger: log}); err != nil {
			return nil, err
		}
	}
	sp, err := spool.Open(filepath.Join(s.c.dir, name), &spool.Options{
		Class: name, Destinations: destinations, Logger: log,
		MaxBytes: 8 << 30, // each class has its own quota, so a full class stops no other
	})
	if err != nil {
		return nil, err
	}
	sh, err := ship.New(sp, &ship.Options{Destinations: all})
	if err != nil {
		return nil, errors.Join(err, sp.Close())
	}
	return &class{sp, sh}, nil
}

// listen opens the sockets and hands everything to the Drainer, which closes it at the end.
func (s *service) listen(security, other *class) error {
	cert, err := tls.LoadX509KeyPair(s.c.cert, s.c.key)
	if err != nil {
		return err
	}
	log := s.c.logger
	udp, err1 := ingest.ListenUDP(s.c.udp, &ingest.UDPOptions{Logger: log})
	secure, err2 := ingest.ListenTCP(s.c.tls, &ingest.TCPOptions{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Logger: log})
	acked, err3 := ingest.ListenTCP(s.c.relp, &ingest.TCPOptions{Framing: relp.Framing, Logger: log})
	proxied, err4 := ingest.ListenTCP(s.c.proxied, &ingest.TCPOptions{ProxyFrom: []netip.Prefix{s.c.lb}, Logger: log})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	s.listeners = map[string]ingest.Listener{"udp": udp, "tls": secure, "relp": acked, "proxied": proxied}
	if err := s.drainer.Add(drain.Class{Shipper: security.shipper, Inputs: []drain.Input{secure, acked}}); err != nil {
		return err
	}
	if err := s.drainer.Add(drain.Class{Shipper: other.shipper, Inputs: []drain.Input{udp, proxied}}); err != nil {
		return err
	}
	for name, to := range map[string]*class{"udp": other, "tls": security, "relp": security, "proxied": other} {
		go func() {
			if err := s.listeners[name].Serve(to.spool.Intake()); !errors.Is(err, ingest.ErrServerClosed) {
				log.Error("a listener ended, and nothing more is received there", "listener", name, "err", err)
			}
		}()
	}
	return nil
}

const (
	maxEvent  = 1 << 20 // bounds the body of a request
	maxEvents = 64      // bounds how many are in memory at once: each waits while the spool is full, and for a slow client for ReadTimeout at most
)

// events turns HTTP requests into records.
type events struct {
	spool *spool.Spool
	slots chan struct{}
}

func newEvents(sp *spool.Spool) *events { return &events{sp, make(chan struct{}, maxEvents)} }

// ServeHTTP makes a record of a request. The answer 204 proves to the client that the record is kept.
func (e *events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	default: // the request was not read yet, so the client may send it again
		later(w, "too many requests at once")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	last, err := e.spool.Append(r.Context(), []segment.Record{{Time: time.Now().UnixNano(), Src: from, Data: body}})
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case last > 0: // accepted, but not kept yet: if the client sent it again, it would be stored twice
		w.WriteHeader(http.StatusAccepted)
	default: // nothing was accepted, so the client may send it again
		later(w, err.Error())
	}
}

// later refuses a request of which nothing was accepted.
func later(w http.ResponseWriter, why string) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, why, http.StatusServiceUnavailable)
}

// run serves until a signal arrives, ctx ends, or the HTTP server fails, and then drains.
func (s *service) run(ctx context.Context) (*drain.Report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		if err := s.server.Serve(s.http); !errors.Is(err, http.ErrServerClosed) {
			cancel(fmt.Errorf("the HTTP server: %w", err))
		}
	}()
	return s.drainer.Run(ctx)
}
