package ship

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/penstock-go/penstock/spool/segment"
)

// ErrFormat is wrapped by the error of a RecordReader whose input is not what an Encoder of this package writes: damaged,
// cut off, or made by something else.
var ErrFormat = errors.New("ship: not in the output format")

// RecordReader reads the records out of an object's uncompressed content.
type RecordReader interface {
	// Next returns the next record and its sequence number; its Data may be used until the next call. The error is
	// io.EOF at the end of complete content, wraps ErrFormat at the first thing that is wrong with it, and is that of the
	// source if reading failed. After an error every call returns it.
	Next() (seq uint64, rec segment.Record, err error)
	// Spool returns the id of the spool that kept the records: with it a sequence number is unique everywhere. It is known
	// from the first record on, and "" for a format that does not tell it.
	Spool() string
	// Close frees what the reader holds. It does not close the source.
	Close() error
}

// NewRecordReader returns the reader for a format.
//
// It is strict, for it serves proofs: NDJSON is accepted only as this package would write it, byte for byte, with
// ascending sequence numbers of one spool; Native only with a sound footer and sound blocks. Lines tell payloads and
// nothing more: sequence number and time are 0, the spool is "", and nothing shows whether the last lines are missing.
// Memory is bounded by the largest record; Native is first copied to a file in os.TempDir, of up to 4 GiB, which Close
// removes.
func NewRecordReader(format string, r io.Reader) (RecordReader, error) {
	switch format {
	case NDJSON:
		return &ndjsonReader{lines: lineReader{r: bufio.NewReaderSize(r, rawFlush), most: ndjsonPerByte*segment.MaxRecord + ndjsonAround}}, nil
	case Lines:
		return &linesReader{lines: lineReader{r: bufio.NewReaderSize(r, rawFlush), most: segment.MaxRecord + 1}}, nil
	case Native:
		return newNativeReader(r)
	}
	return nil, fmt.Errorf("ship: unknown format %q: use one of %s", format, strings.Join(Formats(), ", "))
}

// What NDJSON makes of a payload, at most.
const ndjsonPerByte, ndjsonAround = 6, 256

// MaxRaw returns the most bytes that records of so many payload bytes take in a format, uncompressed. What is longer was not
// written by an Encoder of this package: a reader of what others can write need not unpack it to know.
func MaxRaw(format string, records, bytes uint64) int64 {
	records, bytes = min(records, segment.MaxSize), min(bytes, 1<<56) // what follows must not overflow
	switch format {
	case NDJSON:
		return int64(bytes*ndjsonPerByte + records*ndjsonAround)
	case Native:
		// A gap ends a block, so that each record may have a block and an entry of the index. Header and ledger are there twice.
		const perRecord, around = segment.MaxBlock - segment.MaxRecord + 16 + 12, 4 << 20
		return min(segment.MaxSize, int64(bytes+records*perRecord+around))
	}
	return int64(bytes + records)
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
		l.err = fmt.Errorf("ship: read line %d: %w", l.n, err)
		return nil, l.err
	}
	return line, nil
}

// fail makes what is wrong with the last line the end of reading.
func (l *lineReader) fail(what string) error {
	l.err = fmt.Errorf("%w: line %d: %s", ErrFormat, l.n, what)
	return l.err
}

// linesReader reads Lines.
type linesReader struct{ lines lineReader }

func (l *linesReader) Next() (uint64, segment.Record, error) {
	line, err := l.lines.next()
	if err != nil {
		return 0, segment.Record{}, err
	}
	return 0, segment.Record{Data: line[: len(line)-1 : len(line)-1]}, nil
}

func (l *linesReader) Close() error  { return nil }
func (l *linesReader) Spool() string { return "" }

// nativeReader reads Native. A segment is read from both its ends, so that a stream has to be put down first.
type nativeReader struct {
	file   *os.File
	r      *segment.Reader
	footer *segment.Footer
	n      uint64
	err    error
}

func newNativeReader(r io.Reader) (*nativeReader, error) {
	file, err := os.CreateTemp("", "penstock-*.seg")
	if err != nil {
		return nil, fmt.Errorf("ship: %w", err)
	}
	n := &nativeReader{file: file}
	if err := n.open(r); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *nativeReader) open(r io.Reader) error {
	size, err := io.Copy(n.file, io.LimitReader(r, segment.MaxSize))
	if err != nil {
		return fmt.Errorf("ship: read segment: %w", err)
	}
	if size == segment.MaxSize {
		return fmt.Errorf("%w: segment exceeds 4 GiB", ErrFormat)
	}
	n.r, err = segment.NewReaderWith(n.file, size, segment.ReadOptions{Durable: size})
	if errors.Is(err, segment.ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err != nil {
		return fmt.Errorf("ship: read segment: %w", err)
	}
	var ok bool
	if n.footer, ok = n.r.Footer(); !ok {
		return fmt.Errorf("%w: segment without a footer", ErrFormat)
	}
	return nil
}

func (n *nativeReader) Next() (uint64, segment.Record, error) {
	for n.err == nil {
		seq, rec, err := n.r.Next()
		if err == nil {
			n.n++
			return seq, rec, nil
		}
		damage := asDamage(err)
		switch {
		case damage != nil && damage.Offset == damage.End && damage.Err == nil:
			// No bytes are damaged: the numbers are missing because they were when the object was made.
		case damage != nil:
			n.err = fmt.Errorf("%w: %w", ErrFormat, damage)
		case err == io.EOF && n.n != n.footer.Records:
			n.err = fmt.Errorf("%w: %d records, the footer says %d", ErrFormat, n.n, n.footer.Records)
		case err == io.EOF:
			n.err = io.EOF
		default:
			n.err = fmt.Errorf("ship: read segment: %w", err)
		}
	}
	return 0, segment.Record{}, n.err
}

func (n *nativeReader) Spool() string { return n.r.Header().Spool }

func (n *nativeReader) Close() error {
	if n.file == nil {
		return nil
	}
	err := errors.Join(n.file.Close(), os.Remove(n.file.Name()))
	n.file, n.err = nil, errors.New("ship: already closed")
	if err != nil {
		return fmt.Errorf("ship: %w", err)
	}
	return nil
}
