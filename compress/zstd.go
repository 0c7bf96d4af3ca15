package compress

import (
	"bufio"
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	// zstdWindow is how far back matches reach, and so how much every reader must keep in memory. On log lines, a larger
	// window costs memory and time and gains almost nothing.
	zstdWindow = 1 << 20
	// fastWindow is the window of the fastest step, whose table of 32,768 entries remembers little that is older. Half the
	// window saves 4 % of the time, and costs no ratio on firewall lines and 0.7 % on a web server's.
	fastWindow = 512 << 10
	// maxWindow is the largest window that readers accept: what RFC 8878 (3.1.1.1.2) recommends to support.
	maxWindow = 8 << 20
)

// zstdCodec maps the tool's levels 1 to 22 to the library's four steps: 1–2 fastest, 3–5 default, 6–9 better, 10–22 best.
// Levels of one step give the same bytes. The default is 1: on log lines the library's second step takes a third more time
// for the same ratio.
//
// A stream is one frame, because many readers stop at the end of the first frame and report no error. It contains no
// skippable frame, because the reader of Athena, Trino and Presto refuses those. The header does not state the length of
// the content, which is not known when the header is written.
var zstdCodec = newCodec(
	Info{Name: "zstd", Ext: ".zst", ContentType: "application/zstd", MinLevel: 1, MaxLevel: 22, DefaultLevel: 1},
	func(level int) encoder {
		step, window := zstd.EncoderLevelFromZstd(level), zstdWindow
		if step == zstd.SpeedFastest {
			window = fastWindow
		}
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window),
			zstd.WithEncoderLevel(step), zstd.WithEncoderCRC(true), zstd.WithZeroFrames(true))
		if err != nil {
			panic(err) // constants
		}
		return enc
	},
	func() decoder { return &zstdReader{} },
)

// zstdReader reads one frame, which must be all of its input.
type zstdReader struct {
	dec   *zstd.Decoder
	frame oneFrame
}

// Reset makes a new decoder, which costs little compared with what it reads. The library's decoder contains a channel, and
// a channel that was made within a testing/synctest bubble panics when the pool hands it out elsewhere.
func (z *zstdReader) Reset(r *bufio.Reader) (err error) {
	z.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxWindow))
	if err != nil {
		return err
	}
	z.frame.reset(r, new(zstdParts).next)
	return z.dec.Reset(&z.frame)
}

func (z *zstdReader) Read(p []byte) (int, error) {
	n, err := z.dec.Read(p)
	if err == io.EOF {
		err = z.frame.atEnd()
	}
	return n, err
}
