package format

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/penstock-go/penstock/spool/segment"
)

// nativeReader reads Native. A segment is read from both its ends, so the stream is first copied to a file.
type nativeReader struct {
	file   *os.File
	r      *segment.Reader
	footer *segment.Footer
	n      uint64
	err    error
}

func newNativeReader(r io.Reader) (Reader, error) {
	// Refuse bytes that do not even begin like a segment before a file is created.
	head := bufio.NewReaderSize(r, 4<<10) // a page, so that the file is written in whole pages
	if b, err := head.Peek(len(segment.Magic)); err == nil && string(b) != segment.Magic {
		return nil, fmt.Errorf("%w: no segment", ErrCorrupt)
	}
	file, err := os.CreateTemp("", "penstock-*.seg")
	if err != nil {
		return nil, fmt.Errorf("format: %w", err)
	}
	n := &nativeReader{file: file}
	if err := n.open(head); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *nativeReader) open(r io.Reader) error {
	size, err := io.Copy(n.file, io.LimitReader(r, segment.MaxSize))
	if err != nil {
		return fmt.Errorf("format: read segment: %w", err)
	}
	if size == segment.MaxSize {
		return fmt.Errorf("%w: segment exceeds 4 GiB", ErrCorrupt)
	}
	n.r, err = segment.NewReader(n.file, size, &segment.ReadOptions{Durable: size})
	if errors.Is(err, segment.ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return fmt.Errorf("format: read segment: %w", err)
	}
	var ok bool
	if n.footer, ok = n.r.Footer(); !ok {
		return fmt.Errorf("%w: segment without a footer", ErrCorrupt)
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
			// No bytes are damaged: the numbers were already missing when the object was made.
		case damage != nil:
			n.err = fmt.Errorf("%w: %w", ErrCorrupt, damage)
		case err == io.EOF && n.n != n.footer.Records:
			n.err = fmt.Errorf("%w: %d records, the footer says %d", ErrCorrupt, n.n, n.footer.Records)
		case err == io.EOF:
			n.err = io.EOF
		default:
			n.err = fmt.Errorf("format: read segment: %w", err)
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
	n.file, n.err = nil, errors.New("format: already closed")
	if err != nil {
		return fmt.Errorf("format: %w", err)
	}
	return nil
}
