package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/examples/internal/cli"
	"github.com/penstock-go/penstock/examples/internal/terminal"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
)

// The limits of the page, which anyone who can reach the port can use.
const (
	serveConns  = 64
	serveHeader = 16 << 10 // bytes
	serveTime   = 10 * time.Second
)

// marked is how far back an auditor that has just started writes markers of hours that were already complete.
const marked = 48 * time.Hour

// service holds what serve and wait have in common.
type service struct {
	audit.WatchOptions
	config, expect, http string
	at, pubkeys          []string
	mark                 string
	logLevel, logFormat  string

	marker ship.Destination
	log    *slog.Logger
}

// flagSet returns the flags that serve and wait have in common, and sets their defaults in s.
func (s *service) flagSet(name string) *cli.Set {
	f := cli.NewSet(name)
	s.logLevel, s.logFormat = "info", "text"
	f.Text(&s.config, "config", "`FILE` with settings: YAML whose keys are the names of these flags")
	f.List(&s.at, "at", "`URL` of a destination, with credentials that can read and list")
	f.Text(&s.Class, "class", "watch only this `CLASS`")
	f.List(&s.pubkeys, "pubkey", "`FILE` with the public key (PEM, ed25519) of a collector: every chain must be signed by one of the keys given")
	f.Text(&s.expect, "expect", "`FILE` of spool ids or instances, one per line, that must appear")
	f.Value("parallel", "`N` requests in flight at each destination (default 16)", func(v string) error {
		_, err := fmt.Sscan(v, &s.Workers)
		return err
	})
	f.Duration(&s.Retention, "retention", "objects whose newest record is older than this `TIME` may have been deleted (default: none may)")
	f.Duration(&s.Interval, "interval", "`TIME` from one increment to the next (default 30s)")
	f.Text(&s.mark, "mark", "write a marker below _complete/ for each complete hour to the destination at `URL`, with credentials that can write there; the default is to write nothing")
	f.Choice(&s.logLevel, "log-level", "write log lines of this `LEVEL` and above: debug, info, warn or error (default info)", "debug", "info", "warn", "error")
	f.Choice(&s.logFormat, "log-format", "`FORMAT` of the log: text or json (default text)", "text", "json")
	return f
}

// load reads the settings and opens the destinations. done closes them.
func (s *service) load(ctx context.Context, f *cli.Set, stderr io.Writer) (done func(), err error) {
	if f.NArg() > 0 {
		f.Stray(f.Arg(0))
	}
	if len(s.at) == 0 {
		f.Bad("at", "", "it is missing: name at least one destination")
	}
	for _, path := range s.pubkeys {
		key, err := ship.ReadPublicKey(path)
		if err != nil {
			f.Bad("pubkey", path, "%w", err)
		}
		s.Keys = append(s.Keys, key)
	}
	if s.expect != "" {
		if s.Expect, err = names(s.expect); err != nil {
			f.Bad("expect", "", "%w", err)
		}
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	s.log = newLog(stderr, s.logLevel, s.logFormat)
	for _, w := range f.Warnings() {
		s.log.Warn("audit: " + w)
	}
	s.Logger = s.log
	var closePlaces, closeMarker func()
	if s.Places, closePlaces, err = places(ctx, s.log, s.at...); err != nil {
		return nil, err
	}
	closeMarker = func() {}
	if s.mark != "" {
		to, c, err := places(ctx, s.log, s.mark)
		if err != nil {
			closePlaces()
			return nil, err
		}
		s.marker, closeMarker = to[0].Destination, c
	}
	return func() { closePlaces(); closeMarker() }, nil
}

func newLog(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // it is one of the choices
	o := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// writeMarker writes the marker of an hour. A failure is logged.
func (s *service) writeMarker(ctx context.Context, to ship.Destination, r *audit.Result, h audit.HourReport) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	key, before, err := audit.Mark(ctx, to, r, h)
	if err != nil {
		s.log.Error("audit: cannot write the marker of an hour; check that its credentials may create objects below _complete/", "class", h.Class, "hour", h.Hour, "err", err)
		return err
	}
	if !before {
		s.log.Info("audit: the marker of an hour is written", "class", h.Class, "hour", h.Hour, "key", key)
	}
	return nil
}

// serveFlags are the flags of serve.
func serveFlags() (*service, *cli.Set) {
	s := &service{http: "localhost:8090"}
	f := s.flagSet("audit serve")
	f.BoolVar(&s.Deep, "deep", false, "read every object and count its records")
	f.Duration(&s.FullInterval, "full-interval", "`TIME` from one full audit to the next (default 24h)")
	f.Duration(&s.Overdue, "overdue", "`TIME` for which a chain that is neither final nor closed may say nothing (default 75m)")
	f.Text(&s.http, "http", "`ADDR` of the page at /, and of /status.json, /metrics, /livez and /readyz (default "+s.http+")")
	return s, f
}

// serve watches the destinations and serves what it finds until ctx ends.
func serve(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, f := serveFlags()
	if f.Load(args, os.Environ(), "config") != nil {
		command().Find("serve").Help(stdout)
		return 0
	}
	done, err := s.load(ctx, f, stderr)
	if err != nil {
		return refused(stderr, err)
	}
	defer done()
	var w *audit.Watcher
	var m *marks
	if s.marker != nil {
		m = newMarks(s, s.marker)
		s.Announce = func(h audit.HourReport, was audit.Verdict) { m.note(w.Status(), h, was) }
	}
	if w, err = audit.NewWatcher(&s.WatchOptions); err != nil {
		return refused(stderr, err)
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a log that nobody reads any more must not end the process
	l, err := net.Listen("tcp", s.http)
	if err == nil && l.Addr() == nil {
		err = errors.New("the system does not tell the address of the socket (getsockname(2) is refused): allow it")
	}
	if err != nil {
		return refused(stderr, fmt.Errorf("-http: %w", err))
	}
	s.log.Info("audit: watching", "destinations", len(s.Places), "page", "http://"+l.Addr().String())
	if err := s.run(ctx, w, l, m); err != nil {
		return failed(stderr, err)
	}
	return 0
}

// refused prints why a command does not start.
func refused(stderr io.Writer, err error) int {
	fmt.Fprintln(stderr, "audit:", terminal.Paragraph(err.Error()))
	return exitUsage
}

// run watches and serves until ctx ends or the server fails. It writes markers unless m is nil.
func (s *service) run(ctx context.Context, w *audit.Watcher, l net.Listener, m *marks) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := newServer(s.handler(w), s.log)
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() {
		if err := server.Serve(&limited{Listener: l, slots: make(chan struct{}, serveConns)}); !errors.Is(err, http.ErrServerClosed) {
			failed = fmt.Errorf("audit: -http: %w", err)
			cancel()
		}
	})
	if m != nil {
		wg.Go(func() { m.run(ctx, time.Minute) })
	}
	err := w.Run(ctx)
	cancel()
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), serveTime)
	defer stop()
	if server.Shutdown(end) != nil {
		_ = server.Close() // clients that are still reading have had their time
	}
	wg.Wait()
	return errors.Join(err, failed)
}

func newServer(h http.Handler, log *slog.Logger) *http.Server {
	s := &http.Server{
		Handler: h, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ReadTimeout: serveTime / 2, WriteTimeout: serveTime, MaxHeaderBytes: serveHeader,
	}
	s.SetKeepAlivesEnabled(false) // a connection kept alive would occupy its slot
	return s
}

// limited is a listener that accepts no more connections than it has slots. Further connections wait in the kernel until one is
// closed. Each connection serves one request, so the wait is at most as long as a request may take.
type limited struct {
	net.Listener
	slots chan struct{}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.slots <- struct{}{}
	return &slotted{Conn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

type slotted struct {
	net.Conn
	free func()
}

// Close implements net.Conn.
func (c *slotted) Close() error {
	defer c.free()
	return c.Conn.Close()
}

// handler serves the page, the JSON and the metrics. It only reads.
func (s *service) handler(w *audit.Watcher) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(rw http.ResponseWriter, r *http.Request) { servePage(rw, r, w.Status(), s.log) })
	mux.HandleFunc("GET /metrics", func(rw http.ResponseWriter, _ *http.Request) { serveMetrics(rw, w.Status()) })
	mux.HandleFunc("GET /status.json", func(rw http.ResponseWriter, _ *http.Request) {
		secure(rw, "application/json")
		st := w.Status()
		if st == nil {
			st = new(audit.Status)
		}
		_ = json.NewEncoder(rw).Encode(st) // the client may have closed the connection
	})
	mux.HandleFunc("GET /livez", func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "ok\n") })
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, _ *http.Request) {
		if st := w.Status(); st == nil || st.Result == nil {
			http.Error(rw, "the first audit is not done", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(rw, "ok\n")
	})
	return mux
}
