package compress

import (
	"bufio"
	"fmt"
	"io"
	"sync"
)

// encoder is pooled for writing: Reset makes it start over, whatever happened before.
type encoder interface {
	io.WriteCloser
	Reset(w io.Writer)
}

// decoder is pooled for reading. Reset may read from r. Read returns io.EOF only at the end of r, with a complete stream
// before it.
type decoder interface {
	io.Reader
	Reset(r *bufio.Reader) error
}

// codec implements Codec for all codecs. Their libraries differ only in how encoders and decoders are made and reset.
type codec struct {
	info Info
	// newEncoder makes an encoder for a level that exists, newDecoder a decoder.
	newEncoder func(level int) encoder
	newDecoder func() decoder
	// emptyOK: no bytes at all are a complete stream.
	emptyOK bool

	encoders []sync.Pool // by level, of encoder
	decoders sync.Pool   // of *input
}

func newCodec(info Info, enc func(level int) encoder, dec func() decoder) *codec {
	return &codec{info: info, newEncoder: enc, newDecoder: dec, encoders: make([]sync.Pool, info.MaxLevel+1)}
}

var codecs = []*codec{zstdCodec, gzipCodec, lz4Codec, s2Codec, noneCodec}

var _ Codec = (*codec)(nil)

func (c *codec) Info() Info { return c.info }

func (c *codec) NewWriter(w io.Writer, level int) (io.WriteCloser, error) {
	level, err := c.info.Level(level)
	if err != nil {
		return nil, err
	}
	pool := &c.encoders[level]
	enc, ok := pool.Get().(encoder)
	if !ok {
		enc = c.newEncoder(level)
	}
	enc.Reset(w)
	return &writer{enc: enc, pool: pool}, nil
}

func (c *codec) NewReader(r io.Reader) (io.ReadCloser, error) {
	in, ok := c.decoders.Get().(*input)
	if !ok {
		in = &input{dec: c.newDecoder()}
		in.buf = bufio.NewReaderSize(nil, 64<<10)
	}
	in.src = source{r: r}
	in.buf.Reset(&in.src)
	return &reader{codec: c, in: in}, nil
}

// writer is the handle of a pooled encoder. It is not pooled itself, so that a second Close, or a Write after Close, reaches
// this handle and never an encoder that serves another stream by then.
type writer struct {
	enc  encoder
	pool *sync.Pool
	err  error
}

func (w *writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.enc.Write(p)
	w.err = err
	return n, err
}

func (w *writer) Close() error {
	if w.err == errClosed {
		return nil
	}
	if w.err != nil {
		return w.err // do not pool the encoder: its state after an error depends on the library
	}
	if err := w.enc.Close(); err != nil {
		w.err = err
		return err
	}
	w.enc.Reset(io.Discard) // do not keep the caller's writer alive
	w.pool.Put(w.enc)
	w.enc, w.err = nil, errClosed
	return nil
}

// input is a pooled decoder with its buffer.
type input struct {
	src source
	buf *bufio.Reader
	dec decoder
}

// source counts what was read and remembers why it ended, since libraries replace or swallow such errors.
type source struct {
	r   io.Reader
	n   int64
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

type reader struct {
	codec   *codec
	in      *input
	started bool
	err     error
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	if !r.started {
		r.started = true
		if err := r.in.dec.Reset(r.in.buf); err != nil {
			r.err = r.fail(err)
			return 0, r.err
		}
	}
	n, err := r.in.dec.Read(p)
	switch {
	case err == io.EOF && (r.in.src.n > 0 || r.codec.emptyOK):
		r.err = io.EOF
	case err != nil:
		r.err = r.fail(err)
	}
	return n, r.err
}

// fail attributes an error to the source or to the bytes that came from it.
func (r *reader) fail(err error) error {
	if r.in.src.err != nil {
		return fmt.Errorf("compress: reading %s: %w", r.codec.info.Name, r.in.src.err)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("compress: %s: %w: %w", r.codec.info.Name, ErrCorrupt, err)
}

func (r *reader) Close() error {
	if r.in == nil {
		return nil
	}
	// Pool the decoder even after damage: each library promises that Reset starts over whatever happened before, and damaged
	// data must not cost an allocation of megabytes each time.
	r.in.src = source{}
	r.codec.decoders.Put(r.in)
	r.in, r.err = nil, errClosed
	return nil
}
