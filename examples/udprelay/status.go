package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/penstock-go/penstock/ingest/udprelay"
)

// state is the contents of /status.json.
type state struct {
	Engine   string            `json:"engine"`
	Mode     string            `json:"mode"`
	Listen   []netip.AddrPort  `json:"listen"`
	Targets  []targetState     `json:"targets"`
	Account  *udprelay.Account `json:"account"`
	FailOpen bool              `json:"all_unhealthy"`
	ListedAt time.Time         `json:"list_read"`
	Trouble  []string          `json:"trouble"`

	changes, badLists, failedUse uint64
}

// targetState is one current target. Former targets are in the account only.
type targetState struct {
	Addr     netip.AddrPort `json:"addr"`
	Draining bool           `json:"draining"`
	InUse    bool           `json:"in_use"`
	health
}

// readings shares one reading of the account among all callers that wait, so that only one is made at a time. With the engine
// nft each reading starts a process, and the targets cannot be changed meanwhile.
type readings struct {
	mu   sync.Mutex
	busy bool     // a goroutine is making readings
	next *reading // not begun yet; nil if nobody waits for it
}

// reading is one reading of the account.
type reading struct {
	done    chan struct{}
	account *udprelay.Account
	err     error
}

// readTime bounds the reading of the counters.
const readTime = 5 * time.Second

// account returns the result of a reading that began after the call.
func (a *readings) account(from udprelay.Engine) (*udprelay.Account, error) {
	a.mu.Lock()
	if a.next == nil {
		a.next = &reading{done: make(chan struct{})}
	}
	r := a.next
	if !a.busy {
		a.busy = true
		go a.make(from)
	}
	a.mu.Unlock()
	<-r.done
	return r.account, r.err
}

// make makes readings as long as callers wait for one.
func (a *readings) make(from udprelay.Engine) {
	for {
		a.mu.Lock()
		r := a.next
		a.next, a.busy = nil, r != nil
		a.mu.Unlock()
		if r == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), readTime) // a caller's own context would end the reading for all callers
		r.account, r.err = from.Account(ctx)
		cancel()
		close(r.done)
	}
}

// state returns the current state.
func (w *watch) state() *state {
	account, err := w.readings.account(w.engine)
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &state{
		Engine: w.name, Mode: w.s.engineOptions.Mode.String(), Listen: w.s.engineOptions.Listen, Account: account, FailOpen: w.failOpen,
		ListedAt: w.listedAt, Trouble: []string{}, changes: w.changes, badLists: w.badLists, failedUse: w.failedUse,
	}
	for _, err := range []error{err, w.listErr, w.useErr} {
		if err != nil {
			s.Trouble = append(s.Trouble, err.Error())
		}
	}
	used := map[netip.AddrPort]bool{}
	for _, t := range w.inUse {
		used[t] = true
	}
	for _, t := range w.listed {
		s.Targets = append(s.Targets, targetState{t.Addr, t.Draining, used[t.Addr], w.prober.state(t.Addr)})
	}
	return s
}

// ready returns why nothing is forwarded.
func (w *watch) ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.everUsed && w.useErr != nil:
		return w.useErr
	case !w.everUsed:
		return errors.New("the targets are not known yet")
	case len(w.inUse) == 0:
		return errors.New("there is no target")
	}
	return nil
}

// listenHTTP serves /metrics, /readyz, /livez and /status.json until stop.
func listenHTTP(addr string, w *watch, log *slog.Logger) (stop func(), err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	srv := &http.Server{Handler: handler(w), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("udprelay: the HTTP server has ended; datagrams are forwarded on", "err", err)
		}
	}()
	log.Info("udprelay: state at /status.json and /metrics", "addr", l.Addr().String())
	return func() { srv.Close(); <-served }, nil
}

func handler(w *watch) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprintln(rw, "ok") })
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, _ *http.Request) {
		if err := w.ready(); err != nil {
			http.Error(rw, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(rw, "ok")
	})
	mux.HandleFunc("GET /status.json", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(rw)
		enc.SetIndent("", "  ")
		_ = enc.Encode(w.state()) // the client may have closed the connection
	})
	mux.Handle("GET /metrics", metricsHandler(w))
	return mux
}
