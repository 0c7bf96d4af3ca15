package sftpship

import (
	"context"
	"crypto/rand"
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
	_ ship.Destination = (*Destination)(nil)
	_ ship.Lister      = (*Destination)(nil)
	_ ship.Checker     = (*Destination)(nil)
	_ ship.Locator     = (*Destination)(nil)
)

var errClosed = fmt.Errorf("host is closed: %w", fs.ErrClosed)

// Destination is a directory on an SFTP server. Its methods may be called from any goroutine; at most Options.Workers connections
// serve them, each one large upload and some small operations at a time. Others wait.
type Destination struct {
	place place
	o     Options
	pool  *pool

	execFrom   int64         // execFrom; a test has smaller objects
	maxEntries int           // maxEntries; a test has smaller directories
	execNext   atomic.Int64  // Unix nanoseconds before which VerifyAuto does not try the remote command
	openssl    atomic.Bool   // whether the server's openssl gave the right answer when it was last tried
	renaming   chan struct{} // holds a token while someone publishes by renaming
	name       string        // random: begins the names of this Destination's temporary files
	links      atomic.Int32  // whether the server's hard links do what they say, see linksWork
	space      space
	left       leftovers
	dirs       names // directories known to exist, durably
	there      names // keys that were there when last asked about

	mu    sync.Mutex
	swept map[string]time.Time // spools whose temporary files were swept, and when
	said  map[string]struct{}  // warnings that were logged
}

// Open returns the Destination at sftp://USER@HOST[:PORT]/DIR?key=FILE&known_hosts=FILE; see the package for all parameters. It
// does not use the network. It reports all mistakes that can be found without the network in one error: in the URL, in its
// parameters, and files that cannot be read.
func Open(_ context.Context, rawURL string, o *Options) (*Destination, error) {
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
	h := &Destination{
		place:      p,
		o:          opts,
		pool:       newPool(opts.Workers),
		execFrom:   execFrom,
		maxEntries: maxEntries,
		renaming:   make(chan struct{}, 1),
		name:       rand.Text()[:10],
		swept:      make(map[string]time.Time),
		said:       make(map[string]struct{}),
	}
	h.complain(append(warnings, p.exposed()...))
	return h, nil
}

// complain logs warnings about files on this host, each text once: the files are read again at every connection.
func (h *Destination) complain(warnings []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, text := range warnings {
		if _, ok := h.said[text]; ok || len(h.said) >= maxSaid {
			continue
		}
		h.said[text] = struct{}{}
		h.o.Logger.Warn("sftpship: "+text, "location", h.Location())
	}
}

// maxSaid bounds the memory of warnings. After that many, no more are logged.
const maxSaid = 100

// Location implements ship.Locator. It includes the address of a bastion, because private addresses are not unique.
func (h *Destination) Location() string {
	if h.place.jump != nil {
		return h.place.location() + " via " + h.place.jump.addr
	}
	return h.place.location()
}

// Close cuts all connections; operations in progress fail. It returns when all goroutines of the connections have ended.
func (h *Destination) Close() error {
	h.pool.close()
	return nil
}

// session returns a session for one operation, reused if there is one that is not older than after.
func (h *Destination) session(ctx context.Context, large bool, after time.Time) (s *session, reused bool, err error) {
	if s, err = h.pool.acquire(ctx, large, after); s != nil || err != nil {
		return s, true, err
	}
	if s, err = h.dial(ctx); err != nil {
		h.pool.undialed()
		return nil, false, err
	}
	if err := h.pool.add(s, large); err != nil {
		s.close()
		s.sftp.Close()
		return nil, false, err
	}
	go h.run(s)
	return s, false, nil
}

// operation is something that is done on a session.
type operation struct {
	what  string
	large bool // moves so many bytes that it should share its connection with no other that does
	do    func(*turn) error
}

// do runs a small operation on a session.
func (h *Destination) do(ctx context.Context, what string, op func(*turn) error) error {
	return h.run1(ctx, operation{what: what, do: op})
}

// run1 runs an operation on a session.
func (h *Destination) run1(ctx context.Context, op operation) error {
	s, err := h.lend(ctx, op)
	if err == nil {
		h.giveBack(s, op.large, true)
	}
	return err
}

// lend runs an operation. Unless there is an error, the caller keeps the session, and must give it back. The server may have
// closed an idle connection: if no answer at all came over it, lend runs op once more on a new one. (Every operation here may be
// repeated.)
func (h *Destination) lend(ctx context.Context, op operation) (*session, error) {
	if err := h.pool.enter(ctx, op.large); err != nil {
		return nil, h.wrap(op.what, err)
	}
	var after time.Time
	for {
		s, reused, err := h.session(ctx, op.large, after)
		if err != nil {
			h.pool.leave(op.large)
			return nil, h.wrap(op.what, within(ctx, err))
		}
		// The limits apply only while op runs: a caller that reads slowly from Open is not a silent peer.
		t := s.beginTurn(ctx)
		err = op.do(t)
		fit := t.endTurn() && settled(err)
		h.o.Logger.Debug("sftpship: operation", "operation", op.what, "requests", t.Requests(), "round_trips", t.Trips(), "err", err)
		if err == nil {
			// Done, even if the connection has broken or ctx has ended since the last answer.
			if !fit {
				h.pool.retire(s)
			}
			return s, nil
		}
		// Not after a time limit: a peer that was silent for a StallTimeout would most likely cost another one.
		if reused && !settled(err) && !t.Answered() && s.conn.why() == nil && ctx.Err() == nil {
			s.close()
			h.pool.put(s, op.large, false)
			after = time.Now()
			continue
		}
		h.giveBack(s, op.large, fit)
		return nil, h.wrap(op.what, within(ctx, s.reason(err)))
	}
}

// giveBack ends the use of a session that lend returned.
func (h *Destination) giveBack(s *session, large, fit bool) {
	h.pool.put(s, large, fit)
	h.pool.leave(large)
}

// within prefixes err with the error of ctx, if ctx has ended: callers look for it, and the error of a connection that was cut
// for it says nothing about the server.
func within(ctx context.Context, err error) error {
	if cause := ctx.Err(); err != nil && cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w (%w)", cause, err)
	}
	return err
}

// wrap adds server and operation to an error.
func (h *Destination) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sftpship: %s: %s: %w", h.place.addr, what, err)
}

// path returns the path of a key on the server.
func (h *Destination) path(key string) string { return path.Join(h.place.dir, key) }
