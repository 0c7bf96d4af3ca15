package sftpship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"github.com/penstock-go/penstock/ship"
)

// readWindow is read in one go, by concurrent requests. Between two windows lies a round trip: at 20 ms and 100 MB/s
// that is a third of the time.
const readWindow = 4 << 20

// readAt fills p from off; all of it must lie within the file. A server may answer with less than it was asked for;
// pkg/sftp takes that for the end of the file (and its WriteTo may then end early and say nothing). Here the end is
// where the file's size says it is.
func readAt(f *sftp.File, p []byte, off int64) (n int, err error) {
	for step := len(p); n < len(p); {
		m, err := f.ReadAt(p[n:min(n+step, len(p))], off+int64(n))
		n += m
		switch {
		case m > 0 && (err == nil || err == io.EOF):
			if err == io.EOF {
				// Requests that fit into a packet are repeated by pkg/sftp for the rest alone. Larger ones would have
				// to be sent again from the gap on, for one more short answer each time.
				step = packetSize
			}
		case err == nil || errors.Is(err, io.EOF):
			return n, fmt.Errorf("read: %w at offset %d", io.ErrUnexpectedEOF, off+int64(n))
		default:
			return n, err
		}
	}
	return n, nil
}

// Stat implements ship.Destination. An SFTP server keeps no checksum: the receipt's is empty.
func (h *Host) Stat(ctx context.Context, key string) (r ship.Receipt, err error) {
	if err := checkKey(key); err != nil {
		return r, h.wrap("stat", err)
	}
	err = h.do(ctx, "stat "+key, func(s *session) error {
		fi, err := s.stat(h.path(key))
		if err != nil {
			return h.explain(h.path(key), err)
		}
		if !fi.Mode().IsRegular() {
			return fmt.Errorf("%s is no regular file there (%v): %w", h.path(key), fi.Mode(), fs.ErrNotExist)
		}
		r = ship.Receipt{Size: fi.Size(), Method: "stat", Time: time.Now().UTC()}
		return nil
	})
	return r, err
}

// Open implements ship.Destination. The reader occupies one of the Workers connections until it is closed. Its end is
// the end of the file as measured at Open: a file that turns out shorter is an error, not a shorter object.
func (h *Host) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := checkKey(key); err != nil {
		return nil, h.wrap("open", err)
	}
	r := &reader{h: h, ctx: ctx, what: "read " + key}
	s, err := h.lend(ctx, "open "+key, func(s *session) (err error) {
		if r.f, err = s.sftp.Open(h.path(key)); err != nil {
			return h.explain(h.path(key), err)
		}
		fi, err := r.f.Stat()
		if err == nil && !fi.Mode().IsRegular() {
			err = fmt.Errorf("no regular file (%v): %w", fi.Mode(), fs.ErrNotExist)
		}
		if err != nil {
			r.f.Close()
			return h.explain(h.path(key), err)
		}
		r.size = fi.Size()
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.s = s
	return r, nil
}

// reader reads a file in windows, so that a small buffer of the caller's does not cost a round trip each.
type reader struct {
	h    *Host
	ctx  context.Context
	what string

	mu     sync.Mutex
	s      *session // nil once closed
	f      *sftp.File
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
		end := r.s.begin(r.ctx)
		var n int
		n, r.err = readAt(r.f, r.window[:min(int64(len(r.window)), r.size-r.off)], r.off)
		end()
		r.ahead = r.window[:n]
		r.off += int64(n)
		r.err = r.s.reason(r.err)
	}
	r.err = r.h.wrap(r.what, within(r.ctx, r.err))
	if len(r.ahead) > 0 {
		return nil // the bytes that came before the error first
	}
	return r.err
}

func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.s == nil {
		return nil
	}
	end := r.s.begin(r.ctx)
	err := r.f.Close()
	fit := end()
	r.h.giveBack(r.s, fit && err == nil && r.err == nil)
	r.s, r.ahead = nil, nil
	return nil // everything that was read has been checked against the size; there is nothing left to go wrong
}
