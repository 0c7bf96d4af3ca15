package format

import (
	"context"
	"io"

	"github.com/penstock-go/penstock/spool/segment"
)

// formats is the table of this package's formats; the first one is the default.
var formats = []*Format{ndjsonFormat, linesFormat, nativeFormat}

// Format describes one output format. A program may have formats of its own: see Extra.
type Format struct {
	// Name in options, stage records and manifests, `[a-z0-9_.-]{1,32}`.
	Name string
	// Ext is the ending of an uncompressed object's key: ".ndjson".
	Ext string
	// ContentType of an uncompressed object.
	ContentType string
	// Plain content has the payloads only: it has neither number, time, source nor spool of a record, and does not show
	// whether its payload ended in a newline.
	Plain bool
	// Canonical content is the same for the same records of a spool.
	Canonical bool
	// ReadsFile: a Reader first copies the content to a temporary file.
	ReadsFile bool

	// Write returns the Writer for a segment. It may read the header and footer of src, but must not change its position.
	// Required.
	Write func(src *segment.Reader) (Writer, error)
	// Read returns a Reader of uncompressed content: see NewReader. Required, because the shipper and the auditor read
	// objects at a destination to compare them.
	Read func(r io.Reader) (Reader, error)
	// Fits reports whether a segment can be written in this format; nil means that every one can. A segment that does not
	// fit is written in the default format.
	Fits func(ctx context.Context, src *segment.Reader) (bool, error)
	// Most returns the most bytes that this many records with this many payload bytes take; nil if there is no bound. See
	// MaxRaw.
	Most func(records, bytes uint64) int64
}

// Writer encodes records in a format. It appends the bytes to a buffer that its caller flushes from time to time. The same
// records must give the same bytes each time: a segment may be staged again, under the same key.
type Writer interface {
	// Record encodes a record. It may append less or more than that record, since a Writer may hold records back. rec and its
	// Data are valid only until the call returns.
	Record(dst []byte, seq uint64, rec *segment.Record) ([]byte, error)
	// Finish appends what Record has held back. next is the sequence number after the segment's last record, damaged ones
	// included.
	Finish(dst []byte, next uint64) ([]byte, error)
}

// NewReader returns a reader of the format's content, which is uncompressed. See Reader.
//
// It is strict, because audits rely on it: NDJSON is accepted only as this package would write it, byte for byte, with
// ascending sequence numbers of one spool; Native only with a sound footer and sound blocks. Lines has payloads only:
// sequence number and time are 0, the spool is "", and nothing shows whether the last lines are missing. Memory is bounded by
// the largest record; Native is first copied to a file in os.TempDir, of up to 4 GiB, which Close removes.
func (f *Format) NewReader(r io.Reader) (Reader, error) { return f.Read(r) }

// MaxRaw returns the most bytes that this many records with this many payload bytes take, uncompressed. No Encoder of this
// package writes more, so a reader of untrusted objects can stop there.
func (f *Format) MaxRaw(records, bytes uint64) int64 {
	records, bytes = min(records, segment.MaxSize), min(bytes, 1<<56) // what follows must not overflow
	if f.Most == nil {
		return 1 << 62
	}
	return f.Most(records, bytes)
}
