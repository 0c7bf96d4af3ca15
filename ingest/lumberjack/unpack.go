package lumberjack

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"sync"

	"github.com/penstock-go/penstock/ingest"
)

const (
	// firstBuffer is the size of the buffer through which a compressed frame is inflated, unless an event needs more.
	firstBuffer = 64 << 10
	// maxRatio is how much larger than TCPOptions.MaxRecord a compressed frame may become.
	maxRatio = 64
)

// unpacking inflates a compressed frame. buf[from:to] is inflated and not cut yet.
type unpacking struct {
	active   bool
	source   bytes.Reader
	inflater io.ReadCloser
	left     int64 // bytes that the frame may still inflate to
	buf      []byte
	from, to int
	held     bool // frames point to buf
}

// inflaters are shared by all connections: one is needed only while a frame is inflated.
var inflaters sync.Pool

// begin begins to inflate a compressed frame.
func (u *unpacking) begin(data []byte, max int) (err error) {
	u.source.Reset(data)
	if z, ok := inflaters.Get().(io.ReadCloser); ok {
		err = z.(zlib.Resetter).Reset(&u.source, nil)
		u.inflater = z
	} else {
		u.inflater, err = zlib.NewReader(&u.source)
	}
	if err != nil {
		return fmt.Errorf("lumberjack: compressed frame: %w", err)
	}
	u.active, u.left = true, int64(max)*maxRatio
	return nil
}

// end returns the inflater to the pool.
func (u *unpacking) end() {
	inflaters.Put(u.inflater)
	u.inflater, u.active = nil, false
	u.source.Reset(nil)
	if len(u.buf) > firstBuffer { // an idle connection does not keep a large buffer
		u.buf, u.from, u.to, u.held = nil, 0, 0, false
	}
}

// Unpack implements ingest.Unpacker.
func (s *session) Unpack() (frame []byte, err error) {
	for s.active {
		if s.skip.left > 0 && s.from < s.to {
			n := min(s.skip.left, s.to-s.from)
			s.from += n
			return nil, s.pass(n)
		}
		if s.skip.left == 0 {
			n, frame, err := s.one(s.buf[s.from:s.to])
			s.from += n
			if err != nil {
				return nil, err
			}
			if frame != nil {
				s.held = true
				return frame, nil
			}
			if n > 0 {
				continue
			}
		}
		switch err := s.fill(s.max); {
		case err == io.EOF && s.skip.left == 0 && s.from == s.to:
			s.end()
		case err == io.EOF:
			return nil, errCut
		case err != nil:
			return nil, err
		}
	}
	return nil, nil
}

// fill inflates more into buf, or returns ErrFlush if buf is full and frames point to it.
func (u *unpacking) fill(max int) error {
	if u.to == len(u.buf) {
		if u.held {
			u.held = false
			return ingest.ErrFlush
		}
		rest := u.buf[u.from:u.to]
		if u.from == 0 { // the frame does not fit
			u.buf = make([]byte, min(max+firstBuffer, 2*len(u.buf)+firstBuffer))
		}
		u.from, u.to = 0, copy(u.buf, rest)
		if u.to == len(u.buf) {
			return errLarge
		}
	}
	n, err := u.inflater.Read(u.buf[u.to:])
	u.to += n
	if u.left -= int64(n); u.left < 0 {
		return errLarge
	}
	switch {
	case n > 0 || err == nil:
		return nil
	case err == io.EOF:
		return err
	}
	return fmt.Errorf("lumberjack: compressed frame: %w", err)
}
