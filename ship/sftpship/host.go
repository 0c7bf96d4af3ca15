package sftpship

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/ship"
)

var (
	_ ship.Destination = (*Host)(nil)
	_ ship.Lister      = (*Host)(nil)
	_ ship.Checker     = (*Host)(nil)
	_ ship.Locator     = (*Host)(nil)
)

var errClosed = fmt.Errorf("host is closed: %w", fs.ErrClosed)

// Host is a directory on an SFTP server. Its methods may be called from any goroutine; at most Options.Workers run at
// a time, the others wait.
type Host struct {
	place place
	o     Options
	pool  *pool

	execFrom int64         // execFrom; a test has smaller objects
	execNext atomic.Int64  // Unix nanoseconds before which VerifyAuto does not try the remote command
	renaming chan struct{} // holds a token while someone publishes by renaming

	mu    sync.Mutex
	dirs  map[string]struct{}  // directories known to exist, durably
	swept map[string]time.Time // spools whose temporary files were swept, and when
	said  map[string]struct{}  // warnings that were logged
}

// Open returns the destination behind sftp://USER@HOST[:PORT]/DIR?key=FILE&known_hosts=FILE; see the package for all
// parameters. It does not touch the network. Whatever can be known to be wrong without it is refused here, all mistakes
// in one error: the URL, its parameters, files that cannot be read.
func Open(_ context.Context, rawURL string, o *Options) (*Host, error) {
	// The URL is read over the defaults, so that validate sees what will be used. One mistake must not hide another:
	// someone who corrects a service's configuration wants to restart it once.
	opts := o.withDefaults()
	p, err := parse(rawURL, &opts)
	errs := []error{err, opts.validate()}
	var warnings []string
	if p.knownHosts != "" {
		_, _, skipped, err := p.hostKeys(p.hop)
		errs, warnings = append(errs, err), skipped
	}
	password, err := p.password.read("password", opts.Password)
	errs = append(errs, err)
	if p.key != "" {
		passphrase, err := p.passphrase.read("passphrase", opts.Passphrase)
		if err == nil {
			_, err = p.signer(passphrase)
		}
		errs = append(errs, err)
	} else if err == nil && password == "" && os.Getenv(agentSocket) == "" {
		errs = append(errs, errNoCredentials)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("sftpship: %w", err)
	}
	h := &Host{
		place:    p,
		o:        opts,
		pool:     newPool(opts.Workers),
		execFrom: execFrom,
		renaming: make(chan struct{}, 1),
		dirs:     make(map[string]struct{}),
		swept:    make(map[string]time.Time),
		said:     make(map[string]struct{}),
	}
	h.complain(append(warnings, p.exposed()...))
	return h, nil
}

// complain logs warnings about files on this host, each text once: the files are read again at every connection.
func (h *Host) complain(warnings []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, text := range warnings {
		if _, ok := h.said[text]; ok || len(h.said) >= maxSaid {
			continue
		}
		h.said[text] = struct{}{}
		h.o.Logger.Warn("sftpship: "+text, "at", h.Location())
	}
}

// maxSaid bounds the memory of warnings: who edits a file for years gets no more of them.
const maxSaid = 100

// Location implements ship.Locator. Behind a bastion, its address is part of it: private addresses are not unique.
func (h *Host) Location() string {
	if h.place.jump != nil {
		return h.place.location() + " via " + h.place.jump.addr
	}
	return h.place.location()
}

// Close cuts all connections; operations under way fail. It returns when everything that Host started has ended.
func (h *Host) Close() error {
	h.pool.close()
	return nil
}

// session returns a session for one operation, reused if there is one.
func (h *Host) session(ctx context.Context, reuse bool) (s *session, reused bool, err error) {
	if s, err = h.pool.take(); err != nil {
		return nil, false, err
	}
	if s != nil && reuse {
		return s, true, nil
	}
	if s != nil {
		s.close() // its neighbour turned out dead, and this one is as old
	}
	if s, err = h.dial(ctx); err != nil {
		return nil, false, err
	}
	if err := h.pool.add(s); err != nil {
		s.close()
		s.sftp.Close()
		return nil, false, err
	}
	go h.run(s)
	return s, false, nil
}

// do runs an operation on a session.
func (h *Host) do(ctx context.Context, what string, op func(s *session) error) error {
	s, err := h.lend(ctx, what, op)
	if err == nil {
		h.giveBack(s, true)
	}
	return err
}

// lend runs the beginning of an operation and leaves the session to the caller, who must give it back, unless there is
// an error. A connection that lay idle may have been closed by the server: if not one answer came over it, op is run
// once more on a new one. (Every operation here may be repeated.)
func (h *Host) lend(ctx context.Context, what string, op func(s *session) error) (*session, error) {
	if err := h.pool.enter(ctx); err != nil {
		return nil, h.wrap(what, err)
	}
	for reuse := true; ; reuse = false {
		s, reused, err := h.session(ctx, reuse)
		if err != nil {
			h.pool.leave()
			return nil, h.wrap(what, within(ctx, err))
		}
		// The limits hold while op runs and no longer: a caller that reads slowly from Open is no silent peer.
		end := s.begin(ctx)
		err = op(s)
		fit := end() && settled(err)
		if err == nil && fit {
			return s, nil
		}
		if err == nil {
			// Done, although the connection has broken or ctx has ended since the last answer.
			s.close()
			return s, nil
		}
		// Not after a silence: the peer that has not answered for a Watchdog would most likely cost another one.
		if reused && !settled(err) && s.conn.fresh.Load() && s.conn.why() == nil && ctx.Err() == nil {
			s.close()
			continue
		}
		h.giveBack(s, fit)
		return nil, h.wrap(what, within(ctx, s.reason(err)))
	}
}

// giveBack ends the use of a session that lend returned.
func (h *Host) giveBack(s *session, fit bool) {
	if fit {
		h.pool.put(s)
	} else {
		s.close()
	}
	h.pool.leave()
}

// within puts the end of ctx before whatever error it led to: callers look for it, and the error of a connection that
// was cut for it says nothing about the server.
func within(ctx context.Context, err error) error {
	if cause := ctx.Err(); err != nil && cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w (%w)", cause, err)
	}
	return err
}

// wrap says where an error happened.
func (h *Host) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sftpship: %s: %s: %w", h.place.addr, what, err)
}

// path of a key on the server.
func (h *Host) path(key string) string { return path.Join(h.place.dir, key) }
