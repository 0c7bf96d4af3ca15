package compress

import (
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	// frameSize is the content of a zstd frame. It is also the window: matches never reach over a frame. On log lines
	// that costs no measurable ratio, a reader can begin at any frame, and damage to one leaves the others readable.
	// Every frame of a stream has as much but the last, which has less, or nothing: that is how a reader tells the end.
	frameSize = 1 << 20
	// maxWindow is the largest window that readers accept: what RFC 8878 (3.1.1.1.2) recommends to support.
	maxWindow = 8 << 20
)

// zstdCodec knows the tool's levels 1 to 22, in the library's four steps: 1–2 fastest, 3–5 default, 6–9 better, 10–22
// best. Levels of one step give the same bytes. The default is 1: on log lines the library's second step takes a third
// more time for the same ratio.
var zstdCodec = newCodec(
	Info{Name: "zstd", Ext: ".zst", ContentType: "application/zstd", MinLevel: 1, MaxLevel: 22, DefaultLevel: 1},
	func(level int) encoder {
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(frameSize),
			zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithEncoderCRC(true))
		if err != nil {
			panic(err) // constants
		}
		return &zstdWriter{enc: enc, buf: make([]byte, 0, frameSize)}
	},
	func() decoder { return &zstdReader{} },
)

// zstdWriter cuts its input into frames, and writes nothing else. The seekable format would put a table behind them, in
// a skippable frame, which the zstd reader of Athena, Trino and Presto refuses. It collects a frame's content before it
// encodes it: frames then state the length of their content, for decoders to allocate by, for Seekable to count, and
// for zstd -l to show.
//
// The library's stream interface is used although its EncodeAll would do: that goes through a channel, and a channel that
// was made within a testing/synctest bubble panics when the pool hands it out elsewhere.
type zstdWriter struct {
	w   io.Writer
	enc *zstd.Encoder
	buf []byte // content of the frame to come, less than frameSize
}

func (z *zstdWriter) Reset(w io.Writer) {
	z.w = w
	z.buf = z.buf[:0]
}

func (z *zstdWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		chunk := p[:min(len(p), frameSize-len(z.buf))]
		written += len(chunk)
		p = p[len(chunk):]
		if len(chunk) == frameSize {
			if err := z.frame(chunk); err != nil { // a whole frame in one piece needs no copy
				return written, err
			}
			continue
		}
		z.buf = append(z.buf, chunk...)
		if len(z.buf) == frameSize {
			if err := z.frame(z.buf); err != nil {
				return written, err
			}
			z.buf = z.buf[:0]
		}
	}
	return written, nil
}

// Close writes the last frame, also if nothing is left for it.
func (z *zstdWriter) Close() error { return z.frame(z.buf) }

func (z *zstdWriter) frame(content []byte) error {
	z.enc.ResetContentSize(z.w, int64(len(content)))
	if _, err := z.enc.Write(content); err != nil {
		return err
	}
	return z.enc.Close()
}
