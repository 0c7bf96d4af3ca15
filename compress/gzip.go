package compress

import (
	"bufio"
	"io"

	"github.com/klauspost/compress/gzip"
)

// gzipCodec writes a header without time, name or system, so that the bytes depend on the content alone.
var gzipCodec = newCodec(
	Info{Name: "gzip", Ext: ".gz", ContentType: "application/gzip", MinLevel: 1, MaxLevel: 9, DefaultLevel: 6},
	func(level int) encoder {
		w, err := gzip.NewWriterLevel(io.Discard, level)
		if err != nil {
			panic(err) // levels were checked
		}
		return w
	},
	func() decoder { return &gzipReader{} },
)

// gzipReader reads one member, which must be all of its input.
type gzipReader struct {
	r   gzip.Reader
	src *bufio.Reader
}

func (g *gzipReader) Reset(r *bufio.Reader) error {
	g.src = r
	err := g.r.Reset(r) // turns multistream on again
	g.r.Multistream(false)
	return err
}

func (g *gzipReader) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	if err == io.EOF {
		err = atEnd(g.src)
	}
	return n, err
}
