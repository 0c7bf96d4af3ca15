package format

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/penstock-go/penstock/spool/segment"
)

// Lines is the name of the format that has only the payloads, each ended by a newline. A payload that ends in a newline gets
// no second one. Numbers, times, sources and attributes of the records are left out. A segment with any other newline in a
// payload is written as NDJSON instead, and its stage record says so: otherwise no reader could tell where a record ends.
const Lines = "lines"

var linesFormat = &Format{
	Name: Lines, Ext: ".log",
	ContentType: "text/plain", // payloads come in any character set, so it names none
	Plain:       true, Canonical: true,
	Fits:  fitsLines,
	Write: func(*segment.Reader) (Writer, error) { return linesWriter{}, nil },
	Read: func(r io.Reader) (Reader, error) {
		return &linesReader{lines: lineReader{r: bufio.NewReaderSize(r, chunk), most: segment.MaxRecord + 1}}, nil
	},
	Most: func(records, bytes uint64) int64 { return int64(bytes + records) },
}

// linesWriter writes Lines.
type linesWriter struct{}

func (linesWriter) Record(dst []byte, _ uint64, rec *segment.Record) ([]byte, error) {
	return append(append(dst, trimNewline(rec.Data)...), '\n'), nil
}

func (linesWriter) Finish(dst []byte, _ uint64) ([]byte, error) { return dst, nil }

// trimNewline removes one newline at the end.
func trimNewline(p []byte) []byte {
	if n := len(p); n > 0 && p[n-1] == '\n' {
		return p[:n-1]
	}
	return p
}

// fitsLines reports whether no payload has a newline except at its end. It reads the whole segment first, since output cannot
// be withdrawn; from the page cache, that costs a tenth of the compression.
func fitsLines(ctx context.Context, src *segment.Reader) (bool, error) {
	if err := src.Seek(src.Header().First); err != nil {
		return false, fmt.Errorf("format: rewind segment: %w", err)
	}
	for i := 0; ; i++ {
		if i%4096 == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		_, rec, err := src.Next()
		switch {
		case err == io.EOF:
			return true, nil
		case err != nil && asDamage(err) == nil:
			return false, fmt.Errorf("format: read segment: %w", err)
		case err != nil: // counted when it is encoded
		case bytes.IndexByte(trimNewline(rec.Data), '\n') >= 0:
			return false, nil
		}
	}
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
