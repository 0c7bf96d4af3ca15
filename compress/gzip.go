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

// gzipReader reads members to the end of its input; anything else behind a member is an error.
type gzipReader struct{ r gzip.Reader }

func (g *gzipReader) Reset(r *bufio.Reader) error { return g.r.Reset(r) }
func (g *gzipReader) Read(p []byte) (int, error)  { return g.r.Read(p) }
