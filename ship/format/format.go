package format

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// formats is the table of formats; the first one is the default.
var formats = []*Format{ndjsonFormat, linesFormat, nativeFormat}

// Format describes one output format.
type Format struct {
	// Name in options, stage records and manifests.
	Name string
	// Ext is the ending of an uncompressed object's key.
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

	// fits reports whether a segment can be written in this format; nil means that every one can. A segment that does not fit is
	// written in the default format.
	fits      func(ctx context.Context, src *segment.Reader) (bool, error)
	newWriter func(src *segment.Reader) (writer, error)
	newReader func(r io.Reader) (Reader, error)
	maxRaw    func(records, bytes uint64) int64
}

// writer makes a format's bytes out of records. It appends them to a buffer that its caller empties now and then.
type writer interface {
	// record appends what is to be written for a record, and possibly less or more: a writer may keep records back.
	record(dst []byte, seq uint64, rec *segment.Record) ([]byte, error)
	// finish appends the rest. next is the sequence number after the segment's last record, damaged ones included.
	finish(dst []byte, next uint64) ([]byte, error)
}

// NewReader returns a reader of the format's content, which is uncompressed. See Reader.
//
// It is strict, for it serves proofs: NDJSON is accepted only as this package would write it, byte for byte, with
// ascending sequence numbers of one spool; Native only with a sound footer and sound blocks. Lines tell payloads and
// nothing more: sequence number and time are 0, the spool is "", and nothing shows whether the last lines are missing.
// Memory is bounded by the largest record; Native is first copied to a file in os.TempDir, of up to 4 GiB, which Close
// removes.
func (f *Format) NewReader(r io.Reader) (Reader, error) { return f.newReader(r) }

// MaxRaw returns the most bytes that records of so many payload bytes take, uncompressed. No Encoder of this package writes
// more: a reader of what others can write need not unpack it to know that it is not this package's.
func (f *Format) MaxRaw(records, bytes uint64) int64 {
	records, bytes = min(records, segment.MaxSize), min(bytes, 1<<56) // what follows must not overflow
	return f.maxRaw(records, bytes)
}

// Names lists the formats, the default first.
func Names() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.Name)
	}
	return names
}

// ByName returns a format by its name. The error lists those that there are.
func ByName(name string) (*Format, error) {
	for _, f := range formats {
		if f.Name == name {
			return f, nil
		}
	}
	return nil, fmt.Errorf("format: unknown format %q: use one of %s", name, strings.Join(Names(), ", "))
}

// ByKey returns how an object is encoded, which the ending of its key says: ".ndjson.zst".
func ByKey(key string) (*Format, compress.Codec, error) {
	var codec compress.Codec
	plain := key
	for _, name := range compress.Names() {
		c, err := compress.ByName(name)
		if err != nil {
			return nil, nil, err
		}
		if e := c.Info().Ext; e == "" && codec == nil || e != "" && strings.HasSuffix(key, e) {
			codec, plain = c, strings.TrimSuffix(key, e)
		}
	}
	for _, f := range formats {
		if strings.HasSuffix(plain, f.Ext) {
			return f, codec, nil
		}
	}
	return nil, nil, fmt.Errorf("format: the ending of %q names no format", key)
}

// ContentType returns the Content-Type of objects of an encoding, "" for one that this package does not know.
//
// A compressed object has the codec's Content-Type and never a Content-Encoding. With one, browsers and HTTP libraries
// would hand out other bytes than the store holds, of another size and checksum, while Athena and its like go by the
// name's ending and would decompress what is decompressed already.
func ContentType(e object.Encoding) string {
	f, err := ByName(e.Format)
	codec, cerr := compress.ByName(e.Codec)
	switch {
	case err != nil || cerr != nil:
		return ""
	case codec.Info().ContentType != "":
		return codec.Info().ContentType
	}
	return f.ContentType
}

// Resolve checks an encoding and fills in the defaults; every mistake is reported.
func Resolve(e object.Encoding) (object.Encoding, error) {
	_, _, err := resolve(&e)
	return e, err
}

func resolve(e *object.Encoding) (*Format, compress.Codec, error) {
	if e.Format == "" {
		e.Format = formats[0].Name
	}
	f, ferr := ByName(e.Format)
	if e.Codec == "" {
		e.Codec = compress.Names()[0]
	}
	codec, err := compress.ByName(e.Codec)
	if err == nil {
		e.Level, err = codec.Info().Level(e.Level)
	}
	return f, codec, errors.Join(ferr, err)
}
