package compress

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

// zstdParts finds the parts of a zstd frame (RFC 8878, 3.1.1): the header, the blocks, the checksum.
type zstdParts struct {
	begun, last, checksum bool
}

func (z *zstdParts) next(src *bufio.Reader) (int64, error) {
	switch {
	case !z.begun:
		z.begun = true
		return z.header(src)
	case !z.last:
		head, err := peek(src, 3)
		if err != nil {
			return 0, err
		}
		var size int64
		size, z.last = zstdBlock(head)
		return size, nil
	case z.checksum:
		z.checksum = false
		return 4, nil
	}
	return 0, io.EOF
}

func (z *zstdParts) header(src *bufio.Reader) (int64, error) {
	head, err := src.Peek(zstd.HeaderMaxSize)
	if err != nil && err != io.EOF {
		return 0, err
	}
	var h zstd.Header
	if err := h.Decode(head); err != nil {
		return 0, noEOF(err)
	}
	if h.Skippable {
		return 0, errors.New("a skippable frame")
	}
	z.checksum = h.HasCheckSum
	return int64(h.HeaderSize), nil
}

// zstdBlock reads a block header of three bytes (RFC 8878, 3.1.1.2): the length of the block with its header, and whether
// it is the frame's last.
func zstdBlock(head []byte) (size int64, last bool) {
	h := uint32(head[0]) | uint32(head[1])<<8 | uint32(head[2])<<16
	size = 3 + int64(h>>3)
	const runLength = 1 // such a block is one byte, whatever its size field says
	if h>>1&3 == runLength {
		size = 3 + 1
	}
	return size, h&1 != 0
}
