package compress

import (
	"bufio"
	"errors"
	"io"
)

// oneFrame reads exactly one frame from src, for a decoder whose library would read on after its end: further frames,
// skippable frames, and those of older formats. It needs to know only the lengths of a frame's parts.
type oneFrame struct {
	src  *bufio.Reader
	left int64 // bytes of the current part
	// next looks at the beginning of the next part and returns its length; io.EOF after the last one.
	next  func(src *bufio.Reader) (int64, error)
	ended bool
}

// reset makes next describe the frame that follows in src.
func (f *oneFrame) reset(src *bufio.Reader, next func(*bufio.Reader) (int64, error)) {
	*f = oneFrame{src: src, next: next}
}

func (f *oneFrame) Read(p []byte) (int, error) {
	for f.left == 0 && !f.ended {
		var err error
		switch f.left, err = f.next(f.src); {
		case err == io.EOF:
			f.ended = true
		case err != nil:
			return 0, err
		}
	}
	if f.ended {
		return 0, io.EOF
	}
	n, err := f.src.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, noEOF(err)
}

// atEnd returns io.EOF if the frame is complete and nothing follows it.
func (f *oneFrame) atEnd() error {
	if !f.ended {
		return io.ErrUnexpectedEOF
	}
	return atEnd(f.src)
}

// errTrailing: most readers would not see the trailing bytes, or would take them for a part of the content.
var errTrailing = errors.New("bytes follow the end of the stream")

// atEnd returns io.EOF if nothing follows in src.
func atEnd(src *bufio.Reader) error {
	if _, err := src.ReadByte(); err != nil {
		return err
	}
	return errTrailing
}

// peek returns the next n bytes of src, which must be there.
func peek(src *bufio.Reader, n int) ([]byte, error) {
	b, err := src.Peek(n)
	return b, noEOF(err)
}

// noEOF turns an end that comes too early into io.ErrUnexpectedEOF.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
