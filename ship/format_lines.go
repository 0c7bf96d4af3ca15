package ship

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/penstock-go/penstock/spool/segment"
)

// lineFormat is Lines.
type lineFormat struct{}

func (lineFormat) record(dst []byte, _ uint64, rec *segment.Record) ([]byte, error) {
	return append(append(dst, trimNewline(rec.Data)...), '\n'), nil
}

func (lineFormat) end(dst []byte, _ uint64) ([]byte, error) { return dst, nil }

// trimNewline removes one newline at the end.
func trimNewline(p []byte) []byte {
	if n := len(p); n > 0 && p[n-1] == '\n' {
		return p[:n-1]
	}
	return p
}

// fitsLines reports whether no payload has a newline but at its end. It reads the whole segment, since output cannot be
// taken back; on the page cache that costs a tenth of what compressing costs.
func fitsLines(ctx context.Context, src *segment.Reader) (bool, error) {
	if err := src.Seek(src.Header().First); err != nil {
		return false, fmt.Errorf("ship: rewind segment: %w", err)
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
			return false, fmt.Errorf("ship: read segment: %w", err)
		case err != nil: // counted when it is encoded
		case bytes.IndexByte(trimNewline(rec.Data), '\n') >= 0:
			return false, nil
		}
	}
}
