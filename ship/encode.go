package ship

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// encoder is the spool.Encoder of this package.
type encoder struct {
	encoding spool.Encoding
}

var _ spool.Encoder = (*encoder)(nil)

// NewEncoder returns the Encoder for an encoding; its zero fields mean NDJSON, zstd and the codec's default level. The
// error says everything that is wrong with it.
//
// The same segment and encoding give the same bytes within one build, whatever was encoded before or beside it. Damage
// in the segment becomes gaps and stops nothing; a failed read or write is returned, and so is the end of ctx, within
// 64 KiB of output. The Encoder may be used by any number of goroutines, each of whose calls runs on its own one. Beside
// the codec's memory a call holds some 200 KiB, or what the largest record takes in the format (NDJSON: up to six times
// its payload).
func NewEncoder(e spool.Encoding) (spool.Encoder, error) {
	e, _, err := resolve(e)
	if err != nil {
		return nil, err
	}
	return &encoder{encoding: e}, nil
}

// Encode implements spool.Encoder. It reads src from its first record, wherever it stands.
func (e *encoder) Encode(ctx context.Context, dst io.Writer, src *segment.Reader, want *spool.Encoding) (spool.Encoded, error) {
	encoding := e.encoding
	if want != nil {
		encoding = *want
	}
	encoding, codec, err := resolve(encoding)
	if err != nil {
		return spool.Encoded{}, err
	}
	if encoding.Format == Lines {
		fits, err := fitsLines(ctx, src)
		switch {
		case err != nil:
			return spool.Encoded{}, err
		case !fits && want != nil:
			// Its key ends with .log and may be at a destination already: nothing else may be stored under it.
			return spool.Encoded{}, errors.New("ship: a newline within a payload, where the stage record says lines")
		case !fits:
			encoding.Format = NDJSON
		}
	}
	out := spool.Encoded{Encoding: encoding}
	describe(&out, codec.Info())
	err = encodeTo(ctx, dst, src, codec, &out)
	return out, err
}

// Decode implements spool.Encoder. What the reader returns is as long as a stranger likes if src is a stranger's.
func (e *encoder) Decode(src io.Reader, enc spool.Encoding) (io.ReadCloser, error) {
	codec, err := compress.ByName(enc.Codec)
	if err != nil {
		return nil, err
	}
	return codec.NewReader(src)
}

// encodeTo encodes with the settings that stand in out, and completes it.
func encodeTo(ctx context.Context, dst io.Writer, src *segment.Reader, codec compress.Codec, out *spool.Encoded) error {
	if err := src.Seek(src.Header().First); err != nil {
		return fmt.Errorf("ship: rewind segment: %w", err)
	}
	zw, err := codec.NewWriter(dst, out.Level)
	if err != nil {
		return err
	}
	var f formatter
	switch out.Format {
	case Lines:
		f = lineFormat{}
	case Native:
		if f, err = newNativeFormat(src); err != nil {
			return err
		}
	default:
		f = newNDJSONFormat(src.Header().Spool)
	}
	raw := newRawWriter(zw)
	defer raw.free()
	if err := encodeRecords(ctx, raw, src, f, out); err != nil {
		return err
	}
	if err := zw.Close(); err != nil {
		return fmt.Errorf("ship: write output: %w", err)
	}
	out.RawBytes = raw.n
	raw.sum.Sum(out.RawSHA256[:0])
	return nil
}

// encodeRecords is the loop that every byte of traffic goes through.
func encodeRecords(ctx context.Context, raw *rawWriter, src *segment.Reader, f formatter, out *spool.Encoded) error {
	next := src.Header().First
	earliest, latest := int64(0), int64(0)
	var rec segment.Record // outside the loop, since a formatter is handed a pointer: one allocation, not one a record
	for {
		seq, r, err := src.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			damage := asDamage(err)
			if damage == nil {
				return fmt.Errorf("ship: read segment: %w", err)
			}
			if err := addGap(out, damage); err != nil {
				return err
			}
			next = max(next, damage.Last+1)
			continue
		}
		rec = r
		if raw.buf, err = f.record(raw.buf, seq, &rec); err != nil {
			return err
		}
		if len(raw.buf) >= rawFlush {
			if err := raw.flush(ctx); err != nil {
				return err
			}
		}
		if out.Records == 0 {
			earliest, latest = rec.Time, rec.Time
		}
		earliest, latest = min(earliest, rec.Time), max(latest, rec.Time)
		out.Records++
		next = seq + 1
	}
	if out.Records > 0 {
		out.MinTime, out.MaxTime = time.Unix(0, earliest).UTC(), time.Unix(0, latest).UTC()
	}
	if footer, ok := src.Footer(); ok {
		next = max(next, footer.Next)
	}
	var err error
	if raw.buf, err = f.end(raw.buf, next); err != nil {
		return err
	}
	return raw.flush(ctx)
}

// asDamage returns the damage that an error of segment.Reader.Next reports, nil if it is of another kind.
func asDamage(err error) (damage *segment.DamageError) {
	errors.As(err, &damage)
	return damage
}

// addGap notes the sequence numbers that a damaged stretch took.
func addGap(out *spool.Encoded, d *segment.DamageError) error {
	gap, lost := d.Range()
	switch n := len(out.Gaps); {
	case !lost:
	case d.Last == segment.Unbounded:
		// Whoever opens the segment knows where the next one begins; without that there is no range to record.
		return fmt.Errorf("ship: the segment's last sequence number is unknown: %w", d)
	case n > 0 && out.Gaps[n-1].Last+1 == gap.First:
		out.Gaps[n-1].Last = gap.Last
	default:
		out.Gaps = append(out.Gaps, gap)
	}
	return nil
}

// rawWriter hands the uncompressed output on in pieces that are still in the processor's cache when they are hashed and
// compressed.
type rawWriter struct {
	w   io.Writer
	buf []byte
	sum hash.Hash
	n   int64
}

// rawFlush is the length at which the buffer is handed on. There is room for the next record or block behind it.
const rawFlush = 64 << 10

var rawWriters = sync.Pool{New: func() any {
	return &rawWriter{buf: make([]byte, 0, 2*rawFlush+4096), sum: sha256.New()}
}}

func newRawWriter(w io.Writer) *rawWriter {
	r := rawWriters.Get().(*rawWriter)
	r.w, r.buf, r.n = w, r.buf[:0], 0
	r.sum.Reset()
	return r
}

func (r *rawWriter) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.sum.Write(r.buf)
	r.n += int64(len(r.buf))
	if _, err := r.w.Write(r.buf); err != nil {
		return fmt.Errorf("ship: write output: %w", err)
	}
	r.buf = r.buf[:0]
	return nil
}

// free gives the buffer back, unless a huge record has made it huge.
func (r *rawWriter) free() {
	r.w = nil
	if cap(r.buf) <= 1<<20 {
		rawWriters.Put(r)
	}
}
