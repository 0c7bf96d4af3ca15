package compress

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// maxFrames bounds what NewSeekable remembers: half a million frames, 512 GiB of what our writer makes.
const maxFrames = 1 << 19

// Seekable reads any range of a zstd file, decompressing only the frames that hold it. It keeps the last frame, so that
// small reads in sequence decompress each frame once. Safe for concurrent use.
type Seekable struct {
	r io.ReaderAt
	// Frame i is compressed[i]:compressed[i+1] of the file and content[i]:content[i+1] of the content.
	compressed, content []int64

	mu    sync.Mutex
	dec   *zstd.Decoder
	frame int // that buf holds, −1 for none
	buf   []byte
	raw   []byte
}

var _ io.ReaderAt = (*Seekable)(nil)

// NewSeekable finds the frames of a file of size bytes. For that it reads the headers of its blocks, some bytes at nine
// places per MiB of content: let r be a local file, or memory. What was not written by this package, is cut off, or has
// frames of more than 8 MiB of content, wraps ErrCorrupt.
func NewSeekable(r io.ReaderAt, size int64) (*Seekable, error) {
	s := &Seekable{r: r, frame: -1, compressed: []int64{0}, content: []int64{0}}
	var err error
	s.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWindow))
	if err == nil {
		err = s.walk(size)
	}
	if err != nil {
		return nil, fmt.Errorf("compress: zstd: %w", err)
	}
	return s, nil
}

// walk finds the frames, and demands of their order what zstdReader does.
func (s *Seekable) walk(size int64) error {
	var buf [zstd.HeaderMaxSize]byte
	ended, table := false, false
	for at := int64(0); at < size; {
		head := buf[:min(int64(len(buf)), size-at)]
		if err := readAt(s.r, head, at); err != nil {
			return err
		}
		var h zstd.Header
		err := h.Decode(head)
		n := len(s.content) - 1
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		case h.Skippable && (!table || !isTable(head)):
			return fmt.Errorf("%w: %w", ErrCorrupt, errSkippable)
		case h.Skippable:
			at += int64(h.HeaderSize) + int64(h.SkippableSize)
			s.compressed[n] = at // part of the frame before it, to whose decoder it is nothing
			ended, table = true, false
		case h.FrameContentSize > maxWindow || n == maxFrames:
			return fmt.Errorf("%w: frame %d is above %d MiB, or one of too many", ErrCorrupt, n, maxWindow>>20)
		default:
			end, err := s.skipBlocks(at+int64(h.HeaderSize), size)
			if err != nil {
				return err
			}
			if h.HasCheckSum {
				end += 4
			}
			content := int64(h.FrameContentSize)
			if !h.HasFCS { // the library does not state lengths below 256
				frame, err := s.decode(at, min(end, size))
				if err != nil {
					return err
				}
				content = int64(len(frame))
			}
			at = end
			s.compressed = append(s.compressed, at)
			s.content = append(s.content, s.content[n]+content)
			ended, table = content != frameSize, true
		}
		if at > size {
			return fmt.Errorf("%w: %w", ErrCorrupt, io.ErrUnexpectedEOF)
		}
	}
	if !ended {
		return fmt.Errorf("%w: %w", ErrCorrupt, errCut)
	}
	return nil
}

// skipBlocks returns where the blocks that begin at an offset end.
func (s *Seekable) skipBlocks(at, size int64) (int64, error) {
	var head [3]byte
	for last := false; !last; {
		if at+int64(len(head)) > size {
			return 0, fmt.Errorf("%w: %w", ErrCorrupt, io.ErrUnexpectedEOF)
		}
		if err := readAt(s.r, head[:], at); err != nil {
			return 0, err
		}
		var length int64
		length, last = zstdBlock(head[:])
		at += length
	}
	return at, nil
}

// Size returns the length of the content in bytes.
func (s *Seekable) Size() int64 { return s.content[len(s.content)-1] }

// ReadAt implements io.ReaderAt on the content. Damage wraps ErrCorrupt.
func (s *Seekable) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("compress: negative offset")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(p) {
		// The last frame that begins at or before the offset; empty ones before it are passed over.
		i := sort.Search(len(s.content), func(i int) bool { return s.content[i] > off }) - 1
		if i >= len(s.content)-1 {
			return n, io.EOF
		}
		if err := s.load(i); err != nil {
			return n, fmt.Errorf("compress: zstd: frame %d: %w", i, err)
		}
		c := copy(p[n:], s.buf[off-s.content[i]:])
		n += c
		off += int64(c)
	}
	return n, nil
}

// load makes buf the content of frame i.
func (s *Seekable) load(i int) error {
	if s.frame == i {
		return nil
	}
	s.frame = -1
	buf, err := s.decode(s.compressed[i], s.compressed[i+1])
	if err != nil {
		return err
	}
	if want := s.content[i+1] - s.content[i]; int64(len(buf)) != want {
		return fmt.Errorf("%w: %d bytes, where its header says %d", ErrCorrupt, len(buf), want)
	}
	s.frame = i
	return nil
}

// decode returns the content of the frame in that range of the file. It lies in buf.
func (s *Seekable) decode(from, to int64) ([]byte, error) {
	length := to - from
	if length > 2*maxWindow { // incompressible content grows by a few bytes only
		return nil, fmt.Errorf("%w: %d compressed bytes", ErrCorrupt, length)
	}
	if int64(cap(s.raw)) < length {
		s.raw = make([]byte, length)
	}
	s.raw = s.raw[:length]
	if err := readAt(s.r, s.raw, from); err != nil {
		return nil, err
	}
	buf, err := s.dec.DecodeAll(s.raw, s.buf[:0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	s.buf = buf
	return buf, nil
}

// readAt fills p: io.ReaderAt may report io.EOF beside a full read at the end of the file.
func readAt(r io.ReaderAt, p []byte, off int64) error {
	if n, err := r.ReadAt(p, off); n < len(p) {
		return noEOF(err)
	}
	return nil
}
