package compress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// maxSeekTable bounds the table that NewSeekable loads: half a million frames, 512 GiB of what our writer makes.
const maxSeekTable = 4 << 20

// Seekable reads any range of a zstd file with a seek table, decompressing only the frames that hold it. It keeps the
// last frame, so that small reads in sequence decompress each frame once. Safe for concurrent use.
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

// NewSeekable loads the seek table at the end of a file of size bytes. What is no such file, or holds frames of more
// than 8 MiB, wraps ErrCorrupt.
func NewSeekable(r io.ReaderAt, size int64) (*Seekable, error) {
	s := &Seekable{r: r, frame: -1}
	if err := s.load(size); err != nil {
		return nil, fmt.Errorf("compress: zstd: %w", err)
	}
	var err error
	s.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("compress: zstd: %w", err)
	}
	return s, nil
}

func (s *Seekable) load(size int64) error {
	var footer [seekFooterSize]byte
	if size < 8+seekFooterSize {
		return fmt.Errorf("%w: no room for a seek table", ErrCorrupt)
	}
	if err := readAt(s.r, footer[:], size-seekFooterSize); err != nil {
		return err
	}
	frames, entrySize, err := seekFooter(footer[:])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	length := 8 + int64(frames)*int64(entrySize) + seekFooterSize
	if length > size || length > maxSeekTable {
		return fmt.Errorf("%w: seek table of %d bytes", ErrCorrupt, length)
	}
	table := make([]byte, length-seekFooterSize)
	if err := readAt(s.r, table, size-length); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(table) != seekMagic || int64(binary.LittleEndian.Uint32(table[4:])) != length-8 {
		return fmt.Errorf("%w: damaged seek table", ErrCorrupt)
	}
	s.compressed = append(make([]int64, 0, frames+1), 0)
	s.content = append(make([]int64, 0, frames+1), 0)
	for e := table[8:]; len(e) > 0; e = e[entrySize:] {
		content := binary.LittleEndian.Uint32(e[4:])
		if content > maxWindow {
			return fmt.Errorf("%w: frame of %d bytes", ErrCorrupt, content)
		}
		i := len(s.content) - 1
		s.compressed = append(s.compressed, s.compressed[i]+int64(binary.LittleEndian.Uint32(e)))
		s.content = append(s.content, s.content[i]+int64(content))
	}
	if s.compressed[frames] != size-length {
		return fmt.Errorf("%w: seek table covers %d of %d bytes", ErrCorrupt, s.compressed[frames], size-length)
	}
	return nil
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
		if err := s.decode(i); err != nil {
			return n, fmt.Errorf("compress: zstd: frame %d: %w", i, err)
		}
		c := copy(p[n:], s.buf[off-s.content[i]:])
		n += c
		off += int64(c)
	}
	return n, nil
}

func (s *Seekable) decode(i int) error {
	if s.frame == i {
		return nil
	}
	s.frame = -1
	length := s.compressed[i+1] - s.compressed[i]
	if length > 2*maxWindow { // incompressible content grows by a few bytes only
		return fmt.Errorf("%w: %d compressed bytes", ErrCorrupt, length)
	}
	if int64(cap(s.raw)) < length {
		s.raw = make([]byte, length)
	}
	s.raw = s.raw[:length]
	if err := readAt(s.r, s.raw, s.compressed[i]); err != nil {
		return err
	}
	buf, err := s.dec.DecodeAll(s.raw, s.buf[:0])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	s.buf = buf
	if int64(len(buf)) != s.content[i+1]-s.content[i] {
		return fmt.Errorf("%w: %d bytes, where the seek table says %d", ErrCorrupt, len(buf), s.content[i+1]-s.content[i])
	}
	s.frame = i
	return nil
}

// readAt fills p: io.ReaderAt may report io.EOF beside a full read at the end of the file.
func readAt(r io.ReaderAt, p []byte, off int64) error {
	if n, err := r.ReadAt(p, off); n < len(p) {
		return noEOF(err)
	}
	return nil
}
