package sftpship

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/sftpc"
	"github.com/penstock-go/penstock/ship"
)

// readWindow is what a reader of Open holds in memory.
const readWindow = 4 << 20

// Stat implements ship.Destination. An SFTP server keeps no checksum: the receipt's is empty.
func (h *Destination) Stat(ctx context.Context, key string) (r ship.Receipt, err error) {
	if err := checkKey(key); err != nil {
		return r, h.wrap("stat", err)
	}
	err = h.do(ctx, "stat "+key, func(t *turn) error {
		begin := time.Now()
		a, err := t.Stat(h.path(key)).Wait()
		t.s.measure(begin)
		if err := h.regular(ctx, t, key, a, err); err != nil {
			return err
		}
		r = ship.Receipt{Size: a.Size, Method: "stat", Time: time.Now().UTC()}
		return nil
	})
	if err == nil {
		h.there.add(key)
	}
	return r, err
}

// regular checks the answer about a key.
func (h *Destination) regular(ctx context.Context, t *turn, key string, a sftpc.Attrs, err error) error {
	switch {
	case err != nil:
		return h.explain(h.path(key), t.clear(ctx, h.path(key), err))
	case a.Kind() != sftpc.Regular && a.Kind() != sftpc.Unknown:
		return fmt.Errorf("%s is no regular file there (%v): %w", h.path(key), a.Kind(), fs.ErrNotExist)
	case !a.HasSize:
		return ship.Permanent(fmt.Errorf("%s: %w", h.path(key), errNoSize))
	}
	return nil
}

// Open implements ship.Destination. The reader counts as a small operation until it is closed. It ends at the size
// that the file had at Open: a file that turns out shorter is an error, not a shorter object.
func (h *Destination) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := checkKey(key); err != nil {
		return nil, h.wrap("open", err)
	}
	r := &reader{h: h, ctx: ctx, what: "read " + key}
	s, err := h.lend(ctx, operation{what: "open " + key, do: func(t *turn) (err error) {
		// Both by name and at once: an object does not change, so the answer to Stat applies to the handle too.
		looked, opened := t.Stat(h.path(key)), t.Open(h.path(key), sftpc.Read)
		a, err := looked.Wait()
		var oerr error
		r.f, oerr = opened.Wait()
		err = h.regular(ctx, t, key, a, first(err, oerr))
		if err != nil && oerr == nil {
			t.Close(r.f)
		}
		r.size = a.Size
		return err
	}})
	if err != nil {
		return nil, err
	}
	r.s = s
	return r, nil
}

// reader reads a file in windows, so that a caller with a small buffer does not pay a round trip for each Read.
type reader struct {
	h    *Destination
	ctx  context.Context
	what string

	mu     sync.Mutex
	s      *session // nil once closed
	f      sftpc.Handle
	size   int64
	off    int64  // of the next window
	window []byte // memory of the window
	ahead  []byte // what is left of it
	err    error
}

func (r *reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ahead) == 0 && len(p) > 0 {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.ahead)
	r.ahead = r.ahead[n:]
	return n, nil
}

// fill reads the next window. Its error is final.
func (r *reader) fill() error {
	switch {
	case r.err != nil:
		return r.err
	case r.s == nil:
		return fs.ErrClosed
	case r.off == r.size:
		return io.EOF
	}
	if r.err = r.ctx.Err(); r.err == nil {
		if r.window == nil {
			r.window = make([]byte, min(readWindow, r.size))
		}
		t := r.s.beginTurn(r.ctx)
		n := 0
		r.err = t.download(r.ctx, r.f, r.off, min(r.off+int64(len(r.window)), r.size), func(b []byte) { n += copy(r.window[n:], b) })
		t.endTurn()
		r.ahead = r.window[:n]
		r.off += int64(n)
		r.err = r.s.reason(r.err)
	}
	r.err = r.h.wrap(r.what, within(r.ctx, r.err))
	if len(r.ahead) > 0 {
		return nil // first the bytes that came before the error
	}
	return r.err
}

func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.s == nil {
		return nil
	}
	t := r.s.beginTurn(r.ctx)
	t.Exchange.Close(r.f) // the answer does not matter
	fit := t.endTurn()
	r.h.giveBack(r.s, false, fit && r.err == nil)
	r.s, r.ahead = nil, nil
	return nil // everything that was read has been checked against the size; there is nothing left to go wrong
}
