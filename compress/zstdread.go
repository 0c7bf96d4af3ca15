package compress

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

// tableMagic begins the skippable frame of a seek table (contrib/seekable_format of the zstd project), which this package
// put behind the frames before it was found that not every reader can skip it.
const tableMagic = 0x184D2A5E

// zstdReader hands its decoder one frame at a time. A decoder that reads the whole file takes the end of any frame for
// the end of the content; here the last one must be shorter than the others, or a seek table must follow.
type zstdReader struct {
	dec   *zstd.Decoder
	src   *bufio.Reader
	frame zstdFrame
	// inFrame: the decoder is within a frame, of whose content so many bytes were handed out.
	inFrame bool
	content int64
	// ended: the input may end here. table: a seek table may follow.
	ended, table bool
}

// Reset makes a new decoder, which costs little beside what it reads: the library's has a channel (see zstdWriter).
func (z *zstdReader) Reset(r *bufio.Reader) error {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxWindow))
	*z = zstdReader{dec: dec, src: r}
	return err
}

func (z *zstdReader) Read(p []byte) (int, error) {
	for {
		if !z.inFrame {
			if err := z.next(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := z.dec.Read(p)
		z.content += int64(n)
		if err == io.EOF {
			if z.frame.state != frameEnd {
				return n, io.ErrUnexpectedEOF
			}
			err = nil
			z.inFrame, z.ended, z.table = false, z.content != frameSize, true
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next goes to the next frame, over a seek table; io.EOF at the end of the input.
func (z *zstdReader) next() error {
	head, err := z.src.Peek(zstd.HeaderMaxSize)
	if len(head) == 0 {
		if err == io.EOF && !z.ended {
			return errCut
		}
		return err
	}
	if err != nil && err != io.EOF {
		return err
	}
	var h zstd.Header
	if err := h.Decode(head); err != nil {
		return err
	}
	if h.Skippable {
		if !z.table || !isTable(head) {
			return errSkippable
		}
		_, err := io.CopyN(io.Discard, z.src, int64(h.HeaderSize)+int64(h.SkippableSize))
		z.ended, z.table = true, false
		return noEOF(err)
	}
	z.frame = zstdFrame{src: z.src, left: int64(h.HeaderSize), checksum: h.HasCheckSum}
	z.inFrame, z.content = true, 0
	return z.dec.Reset(&z.frame)
}

var (
	errCut = errors.New("cut off between two frames, or not written by this package")
	// Anything else would be an unseen way to append to an object.
	errSkippable = errors.New("skippable frame that is no seek table behind a frame")
)

func isTable(head []byte) bool { return binary.LittleEndian.Uint32(head) == tableMagic }

// zstdFrame reads exactly one frame from src, of whose structure (RFC 8878, 3.1.1) it needs to know no more than the
// lengths of the blocks.
type zstdFrame struct {
	src      *bufio.Reader
	left     int64 // bytes of the present part
	state    frameState
	checksum bool
}

// frameState says what the present part of a frame is.
type frameState uint8

const (
	frameBlocks frameState = iota // the frame header, or a block that is not the last
	frameLast                     // the last block
	frameSum                      // the checksum
	frameEnd
)

func (f *zstdFrame) Read(p []byte) (int, error) {
	for f.left == 0 {
		if err := f.advance(); err != nil {
			return 0, err
		}
	}
	n, err := f.src.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, noEOF(err)
}

// advance goes to the next part of the frame; io.EOF behind the last.
func (f *zstdFrame) advance() error {
	switch f.state {
	case frameBlocks:
		head, err := f.src.Peek(3)
		if err != nil {
			return noEOF(err)
		}
		size, last := zstdBlock(head)
		f.left = size
		if last {
			f.state = frameLast
		}
		return nil
	case frameLast:
		if f.checksum {
			f.state, f.left = frameSum, 4
			return nil
		}
	}
	f.state = frameEnd
	return io.EOF
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

// noEOF marks an end where none may be.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
