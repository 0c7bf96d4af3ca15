package compress

import (
	"bufio"
	"io"

	"github.com/pierrec/lz4/v4"
)

// lz4Codec writes the LZ4 frame format v1.6: level 1 is the fast compressor, 2 to 9 are the high-compression one, as
// with the lz4 tool. Blocks of 1 MiB instead of the library's 4 quarter the memory and cost no ratio on log lines, whose
// matches lie within LZ4's 64 KiB anyway.
var lz4Codec = newCodec(
	Info{Name: "lz4", Ext: ".lz4", ContentType: "application/x-lz4", MinLevel: 1, MaxLevel: 9, DefaultLevel: 1},
	func(level int) encoder {
		w := lz4.NewWriter(io.Discard)
		lz4Level := lz4.Fast
		if level > 1 {
			lz4Level = lz4.CompressionLevel(1 << (8 + level)) // Level1 is 1<<9
		}
		err := w.Apply(lz4.ConcurrencyOption(1), lz4.BlockSizeOption(lz4.Block1Mb), lz4.ChecksumOption(true),
			lz4.CompressionLevelOption(lz4Level))
		if err != nil {
			panic(err) // constants
		}
		return &lz4Writer{w: w}
	},
	func() decoder { return &lz4Reader{r: lz4.NewReader(nil)} },
)

// lz4Writer makes the library write its frame header even if no byte follows, so that empty content differs from a
// file that was cut to nothing.
type lz4Writer struct{ w *lz4.Writer }

func (z *lz4Writer) Reset(w io.Writer)           { z.w.Reset(w) }
func (z *lz4Writer) Write(p []byte) (int, error) { return z.w.Write(p) }

func (z *lz4Writer) Close() error {
	if err := z.w.Flush(); err != nil {
		return err
	}
	return z.w.Close()
}

type lz4Reader struct{ r *lz4.Reader }

func (z *lz4Reader) Reset(r *bufio.Reader) error { z.r.Reset(r); return nil }
func (z *lz4Reader) Read(p []byte) (int, error)  { return z.r.Read(p) }
