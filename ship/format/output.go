package format

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"sync"
)

// output passes on the uncompressed output in pieces that are still in the processor's cache when they are hashed and
// compressed.
type output struct {
	w   io.Writer
	buf []byte
	sum hash.Hash
	n   int64
}

// chunk is the length at which the buffer is flushed. There is room for the next record or block after it.
const chunk = 64 << 10

var outputs = sync.Pool{New: func() any {
	return &output{buf: make([]byte, 0, 2*chunk+4096), sum: sha256.New()}
}}

func newOutput(w io.Writer) *output {
	r := outputs.Get().(*output)
	r.w, r.buf, r.n = w, r.buf[:0], 0
	r.sum.Reset()
	return r
}

func (r *output) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.sum.Write(r.buf)
	r.n += int64(len(r.buf))
	if _, err := r.w.Write(r.buf); err != nil {
		return fmt.Errorf("format: write output: %w", err)
	}
	r.buf = r.buf[:0]
	return nil
}

// free returns the output to its pool, unless a huge record has made the buffer huge.
func (r *output) free() {
	r.w = nil
	if cap(r.buf) <= 1<<20 {
		outputs.Put(r)
	}
}
