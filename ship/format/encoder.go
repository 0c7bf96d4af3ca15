package format

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// Encoder writes segments in one encoding. It implements object.Encoder. Any number of goroutines may use it; each call runs
// on the calling goroutine.
type Encoder struct {
	encoding object.Encoding
	extra    Extra
}

// NewEncoder returns the Encoder for an encoding; its zero fields mean NDJSON, zstd and the codec's default level. The error
// lists everything that is wrong with it.
func NewEncoder(e object.Encoding) (*Encoder, error) { return Extra{}.NewEncoder(e) }

// NewEncoder is the function NewEncoder with formats and codecs of the program's own.
func (x Extra) NewEncoder(e object.Encoding) (*Encoder, error) {
	if err := x.Check(); err != nil {
		return nil, err
	}
	if _, _, err := x.resolve(&e); err != nil {
		return nil, err
	}
	return &Encoder{encoding: e, extra: x}, nil
}

// Encode writes a segment to dst, from its first record on, whatever the position of src. If want is nil, it uses the
// Encoder's own encoding; otherwise it uses want, the encoding of an earlier stage record.
//
// The same segment and encoding give the same bytes within one build, whatever was encoded before or at the same time. Damage
// in the segment becomes gaps, not an error. A failed read or write is an error, and so is the end of ctx, within 64 KiB of
// output. Besides the codec's memory, a call needs some 200 KiB, or as much as the largest record takes in the format
// (NDJSON: up to six times its payload).
func (e *Encoder) Encode(ctx context.Context, dst io.Writer, src *segment.Reader, want *object.Encoding) (object.Encoded, error) {
	encoding := e.encoding
	if want != nil {
		encoding = *want
	}
	f, codec, err := e.extra.resolve(&encoding)
	if err != nil {
		return object.Encoded{}, err
	}
	if f.Fits != nil {
		fits, err := f.Fits(ctx, src)
		switch {
		case err != nil:
			return object.Encoded{}, err
		case !fits && want != nil:
			// Its key ends with this format's ending and may be at a destination already: nothing else may be stored under it.
			return object.Encoded{}, fmt.Errorf("format: the segment does not fit into %s, which its stage record says", f.Name)
		case !fits:
			f = formats[0]
			encoding.Format = f.Name
		}
	}
	out := object.Encoded{Encoding: encoding, Ext: f.Ext + codec.Info().Ext, ContentType: e.extra.ContentType(encoding)}
	err = encodeTo(ctx, dst, src, f, codec, &out)
	return out, err
}

// Decode returns the uncompressed content of what Encode has written. Its length is not bounded: it depends on who wrote src.
func (e *Encoder) Decode(src io.Reader, enc object.Encoding) (io.ReadCloser, error) {
	codec, err := e.extra.Codec(enc.Codec)
	if err != nil {
		return nil, err
	}
	return codec.NewReader(src)
}

// encodeTo encodes with the settings that are in out, and completes it.
func encodeTo(ctx context.Context, dst io.Writer, src *segment.Reader, f *Format, codec compress.Codec, out *object.Encoded) error {
	if err := src.Seek(src.Header().First); err != nil {
		return fmt.Errorf("format: rewind segment: %w", err)
	}
	zw, err := codec.NewWriter(dst, out.Level)
	if err != nil {
		return err
	}
	w, err := f.Write(src)
	if err != nil {
		return err
	}
	raw := newOutput(zw)
	defer raw.free()
	if err := encodeRecords(ctx, raw, src, w, out); err != nil {
		return err
	}
	if err := zw.Close(); err != nil {
		return fmt.Errorf("format: write output: %w", err)
	}
	out.RawBytes = raw.n
	raw.sum.Sum(out.RawSHA256[:0])
	return nil
}

// encodeRecords is the loop that every byte of traffic goes through.
func encodeRecords(ctx context.Context, raw *output, src *segment.Reader, w Writer, out *object.Encoded) error {
	next := src.Header().First
	earliest, latest := int64(0), int64(0)
	var rec segment.Record // outside the loop, since a writer gets a pointer to it: one allocation, not one per record
	for {
		seq, r, err := src.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			damage := asDamage(err)
			if damage == nil {
				return fmt.Errorf("format: read segment: %w", err)
			}
			if err := addGap(out, damage); err != nil {
				return err
			}
			next = max(next, damage.Last+1)
			continue
		}
		rec = r
		if raw.buf, err = w.Record(raw.buf, seq, &rec); err != nil {
			return err
		}
		if len(raw.buf) >= chunk {
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
	if raw.buf, err = w.Finish(raw.buf, next); err != nil {
		return err
	}
	return raw.flush(ctx)
}

// asDamage returns the damage that an error of segment.Reader.Next reports, nil if it is of another kind.
func asDamage(err error) (damage *segment.DamageError) {
	errors.As(err, &damage)
	return damage
}

// addGap notes the sequence numbers of a damaged stretch.
func addGap(out *object.Encoded, d *segment.DamageError) error {
	gap, lost := d.Range()
	switch n := len(out.Gaps); {
	case !lost:
	case d.Last == segment.Unbounded:
		// The caller that opened the segment must know where the next one begins; without that, there is no range to record.
		return fmt.Errorf("format: the segment's last sequence number is unknown: %w", d)
	case n > 0 && out.Gaps[n-1].Last+1 == gap.First:
		out.Gaps[n-1].Last = gap.Last
	default:
		out.Gaps = append(out.Gaps, gap)
	}
	return nil
}
