package compress

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/s2"
)

// s2MaxIndex bounds the index chunk: 65,536 entries of two varints, and some header.
const s2MaxIndex = 65536*2*binary.MaxVarintLen64 + 128

// s2Codec writes S2's framing with its index as the last chunk. The framing has no end mark of its own: without an
// index, a stream cut between two chunks would pass for a complete one.
var s2Codec = newCodec(
	Info{Name: "s2", Ext: ".s2", ContentType: "application/x-s2", MinLevel: 1, MaxLevel: 3, DefaultLevel: 1},
	func(level int) encoder {
		opts := []s2.WriterOption{s2.WriterConcurrency(1), s2.WriterBlockSize(1 << 20), s2.WriterAddIndex()}
		switch level {
		case 2:
			opts = append(opts, s2.WriterBetterCompression())
		case 3:
			opts = append(opts, s2.WriterBestCompression())
		}
		return &s2Writer{w: s2.NewWriter(io.Discard, opts...)}
	},
	func() decoder {
		d := &s2Reader{}
		d.r = s2.NewReader(nil, s2.ReaderSkippableCB(s2.ChunkTypeIndex, d.index))
		return d
	},
)

// s2Writer corrects an empty stream: the library alone would write an index without the stream identifier that readers expect
// first.
type s2Writer struct {
	w     *s2.Writer
	wrote bool
}

func (z *s2Writer) Reset(w io.Writer) {
	z.w.Reset(w)
	z.wrote = false
}

func (z *s2Writer) Write(p []byte) (int, error) {
	z.wrote = z.wrote || len(p) > 0
	return z.w.Write(p)
}

func (z *s2Writer) Close() error {
	if !z.wrote {
		const padding = 0xfe // snappy framing format 4.6: skipped by every reader
		if err := z.w.AddSkippableBlock(padding, []byte{0}); err != nil {
			return err
		}
	}
	return z.w.Close()
}

// s2Reader demands that each stream ends with an index that states the content's length, and that the input ends with it:
// otherwise anyone could append padding or other chunks to an object, and readers would skip them unnoticed.
type s2Reader struct {
	r   *s2.Reader
	in  s2Input
	n   int64 // bytes of content
	end int64 // of the index in the input; 0: none yet
}

// s2Input counts what was read. It also hides that the source can seek, if it can: the library would seek over chunks, and
// accept one that ends beyond the end of the file.
type s2Input struct {
	r io.Reader
	n int64
}

func (i *s2Input) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	i.n += int64(n)
	return n, err
}

func (z *s2Reader) Reset(r *bufio.Reader) error {
	z.in, z.n, z.end = s2Input{r: r}, 0, 0
	z.r.Reset(&z.in)
	return nil
}

func (z *s2Reader) Read(p []byte) (int, error) {
	n, err := z.r.Read(p)
	z.n += int64(n)
	if err == io.EOF && (z.end == 0 || z.end != z.in.n) {
		err = errors.New("no index at the end: cut off, or not written by this package")
	}
	return n, err
}

// index is called by the library when it meets an index, with the bytes of that chunk. Everything before it has been returned
// by then: Read decodes one chunk at a time.
func (z *s2Reader) index(r io.Reader) error {
	body, err := io.ReadAll(io.LimitReader(r, s2MaxIndex+1))
	if err != nil {
		return err
	}
	chunk := append([]byte{s2.ChunkTypeIndex, byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16)}, body...)
	var index s2.Index
	rest, err := index.Load(chunk)
	switch {
	case len(body) > s2MaxIndex || err != nil || len(rest) > 0 || !bytes.HasSuffix(body, []byte(s2.S2IndexTrailer)):
		return errors.New("damaged index")
	case index.TotalUncompressed != z.n:
		return errors.New("index states another length")
	case z.end != 0:
		return errTrailing
	}
	z.end = z.in.n
	return nil
}
