package format

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/penstock-go/penstock/spool/segment"
)

// ErrCorrupt is wrapped by the error of a Reader whose input is not what an Encoder of this package writes: it is damaged,
// cut off, or made by something else.
var ErrCorrupt = errors.New("not in the output format")

// Reader reads the records out of an object's uncompressed content.
type Reader interface {
	// Next returns the next record and its sequence number; its Data may be used until the next call. The error is
	// io.EOF at the end of complete content, wraps ErrCorrupt at the first thing that is wrong with it, and is that of the
	// source if reading failed. After an error every call returns it.
	Next() (seq uint64, rec segment.Record, err error)
	// Spool returns the id of the spool that kept the records: with it a sequence number is unique everywhere. It is known
	// from the first record on, and "" for a format that does not tell it.
	Spool() string
	// Close frees what the reader holds. It does not close the source.
	Close() error
}

// NewReader is ByName and Format.NewReader.
func NewReader(format string, r io.Reader) (Reader, error) {
	f, err := ByName(format)
	if err != nil {
		return nil, err
	}
	return f.NewReader(r)
}

// lineReader returns lines, and an error for one that is too long or lacks its end.
type lineReader struct {
	r    *bufio.Reader
	most int
	n    int // lines so far
	long []byte
	err  error
}

// next returns a line with its newline, to be used until the next call.
func (l *lineReader) next() ([]byte, error) {
	if l.err != nil {
		return nil, l.err
	}
	line, err := l.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		l.long = l.long[:0]
		for err == bufio.ErrBufferFull && len(l.long) <= l.most {
			l.long = append(l.long, line...)
			line, err = l.r.ReadSlice('\n')
		}
		l.long = append(l.long, line...)
		line = l.long
	}
	l.n++
	switch {
	case len(line) > l.most:
		return nil, l.fail("longer than any record")
	case err == io.EOF && len(line) == 0:
		l.err = io.EOF
		return nil, io.EOF
	case err == io.EOF:
		return nil, l.fail("cut off")
	case err != nil:
		l.err = fmt.Errorf("format: read line %d: %w", l.n, err)
		return nil, l.err
	}
	return line, nil
}

// fail ends the reading with an error about the last line.
func (l *lineReader) fail(what string) error {
	l.err = fmt.Errorf("%w: line %d: %s", ErrCorrupt, l.n, what)
	return l.err
}
