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
	// Plain content is payloads and nothing else: it tells neither number, time, source nor spool of a record, nor whether
	// its payload ended in a newline.
	Plain bool
	// Canonical content is the same for the same records of a spool.
	Canonical bool
	// ReadsFile: a Reader first copies the content to a temporary file.
	ReadsFile bool

	// Write returns the Writer for a segment, which it may look at, but must not move. Required.
	Write func(src *segment.Reader) (Writer, error)
	// Read returns a Reader of uncompressed content: see NewReader. Required, because the shipper and the auditor compare what
	// is at a destination with what is here.
	Read func(r io.Reader) (Reader, error)
	// Fits reports whether a segment can be written in this format; nil means that every one can. A segment that does not
	// fit is written in the default format.
	Fits func(ctx context.Context, src *segment.Reader) (bool, error)
	// Most returns the most bytes that records of so many payload bytes take; nil if there is no bound. See MaxRaw.
	Most func(records, bytes uint64) int64
}

// Writer makes a format's bytes out of records. It appends them to a buffer that its caller empties now and then. The same
// records must give the same bytes each time: a segment may be staged again, under the same key.
type Writer interface {
	// Record appends what is to be written for a record, and possibly less or more: a Writer may keep records back. rec and
	// its Data may be used until the call returns.
	Record(dst []byte, seq uint64, rec *segment.Record) ([]byte, error)
	// Finish appends the rest. next is the sequence number after the segment's last record, damaged ones included.
	Finish(dst []byte, next uint64) ([]byte, error)
}

// NewReader returns a reader of the format's content, which is uncompressed. See Reader.
//
// It is strict, for it serves proofs: NDJSON is accepted only as this package would write it, byte for byte, with
// ascending sequence numbers of one spool; Native only with a sound footer and sound blocks. Lines tell payloads and
// nothing more: sequence number and time are 0, the spool is "", and nothing shows whether the last lines are missing.
// Memory is bounded by the largest record; Native is first copied to a file in os.TempDir, of up to 4 GiB, which Close
// removes.
func (f *Format) NewReader(r io.Reader) (Reader, error) { return f.Read(r) }

// MaxRaw returns the most bytes that records of so many payload bytes take, uncompressed. No Encoder of this package writes
// more: a reader of what others can write need not unpack it to know that it is not this package's.
func (f *Format) MaxRaw(records, bytes uint64) int64 {
	records, bytes = min(records, segment.MaxSize), min(bytes, 1<<56) // what follows must not overflow
	if f.Most == nil {
		return 1 << 62
	}
	return f.Most(records, bytes)
}
