package compress

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"github.com/pierrec/lz4/v4"
)

// lz4Codec writes the LZ4 frame format v1.6: level 1 is the fast compressor, 2 to 9 are the high-compression one, as with the
// lz4 tool. Blocks of 1 MiB instead of the library's 4 MiB quarter the memory and do not worsen the ratio on log lines, whose
// matches are within LZ4's 64 KiB anyway.
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

// lz4Reader reads one frame, which must be all of its input.
type lz4Reader struct {
	r     *lz4.Reader
	frame oneFrame
}

func (z *lz4Reader) Reset(r *bufio.Reader) error {
	z.frame.reset(r, new(lz4Parts).next)
	z.r.Reset(&z.frame)
	return nil
}

func (z *lz4Reader) Read(p []byte) (int, error) {
	n, err := z.r.Read(p)
	if err == io.EOF {
		err = z.frame.atEnd()
	}
	return n, err
}

// lz4Parts finds the parts of an LZ4 frame (format v1.6): the header, the blocks, an empty block that ends them, the
// checksum. The older format and skippable frames have other magic numbers.
type lz4Parts struct {
	begun, last bool
	flags       byte
}

const lz4Magic = 0x184D2204

// The bits of a frame's flags.
const (
	lz4Dictionary, lz4ContentSum, lz4ContentSize, lz4BlockSum = 1 << 0, 1 << 2, 1 << 3, 1 << 4
)

func (z *lz4Parts) next(src *bufio.Reader) (int64, error) {
	switch {
	case !z.begun:
		z.begun = true
		return z.header(src)
	case !z.last:
		head, err := peek(src, 4)
		if err != nil {
			return 0, err
		}
		const plain = 1 << 31 // the block is not compressed
		size := int64(binary.LittleEndian.Uint32(head) &^ plain)
		if z.last = size == 0; z.last {
			return 4, nil
		}
		return 4 + size + z.has(lz4BlockSum, 4), nil
	}
	sum := z.has(lz4ContentSum, 4)
	if z.flags = 0; sum > 0 {
		return sum, nil
	}
	return 0, io.EOF
}

func (z *lz4Parts) header(src *bufio.Reader) (int64, error) {
	head, err := peek(src, 7)
	if err != nil {
		return 0, err
	}
	if binary.LittleEndian.Uint32(head) != lz4Magic {
		return 0, errors.New("no frame of the format v1.6")
	}
	z.flags = head[4]
	return 4 + 3 + z.has(lz4ContentSize, 8) + z.has(lz4Dictionary, 4), nil
}

// has returns n if a flag is set.
func (z *lz4Parts) has(flag byte, n int64) int64 {
	if z.flags&flag == 0 {
		return 0
	}
	return n
}
