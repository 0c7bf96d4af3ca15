package ship

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// The output formats.
const (
	// NDJSON (default): one JSON object (RFC 8259) a line, all members always in this order:
	//
	//	{"seq":17,"ts":"2026-11-22T08:00:00.000000001Z","src":"192.0.2.7:514","data":"the payload","spool":"4k7q…"}
	//
	// seq is a number; ts is RFC 3339 in UTC with nine digits of a second; src is "" for a record without a source, so
	// that the column is a string everywhere. A payload that is not valid UTF-8 has, in the place of data, data_b64 with
	// its bytes in base64 (RFC 4648, section 4): decoding returns every payload byte for byte. spool is the id under which the
	// record was kept, the same in all lines of an object: seq is unique within one spool only, spool and seq together are
	// unique everywhere.
	NDJSON = "ndjson"
	// Lines: the payloads alone, each ended by a newline. A newline at the end of a payload is that end, and no second
	// one is added. A segment with any other newline in a payload is written as NDJSON instead, and its stage record says
	// so: no reader could tell its lines from records.
	Lines = "lines"
	// Native: a sealed segment file, which package segment decodes: see nativeFormat.
	Native = "native"
)

// formats describes them: what a file name gets, and the type of an uncompressed file. Payloads come in any character
// set, so that the type of Lines names none.
var formats = []struct{ name, ext, contentType string }{
	{NDJSON, ".ndjson", "application/x-ndjson"},
	{Lines, ".log", "text/plain"},
	{Native, ".seg", "application/octet-stream"},
}

// Formats lists the output formats, the default first.
func Formats() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

// resolve checks an encoding and fills in the defaults; every mistake is reported.
func resolve(e spool.Encoding) (spool.Encoding, compress.Codec, error) {
	var errs []error
	if e.Format == "" {
		e.Format = NDJSON
	}
	if !slices.Contains(Formats(), e.Format) {
		errs = append(errs, fmt.Errorf("ship: unknown format %q: use one of %s", e.Format, strings.Join(Formats(), ", ")))
	}
	if e.Codec == "" {
		e.Codec = compress.Names()[0]
	}
	codec, err := compress.ByName(e.Codec)
	if err == nil {
		e.Level, err = codec.Info().Level(e.Level)
	}
	return e, codec, errors.Join(append(errs, err)...)
}

// describe fills in what an object of an encoding is called.
//
// A compressed object has the codec's Content-Type and never a Content-Encoding. With one, browsers and HTTP libraries
// would hand out other bytes than the store holds, of another size and checksum, while Athena and its like go by the
// name's ending and would decompress what is decompressed already.
func describe(out *spool.Encoded, info compress.Info) {
	for _, f := range formats {
		if f.name == out.Format {
			out.Ext, out.ContentType = f.ext, f.contentType
		}
	}
	if info.Ext != "" {
		out.Ext, out.ContentType = out.Ext+info.Ext, info.ContentType
	}
}

// formatter makes a format's bytes out of records. It appends them to a buffer that its caller empties now and then.
type formatter interface {
	// record appends what is to be written for a record, and possibly less or more: a formatter may keep records back.
	record(dst []byte, seq uint64, rec *segment.Record) ([]byte, error)
	// end appends the rest. next is the sequence number behind the segment's last record, damaged ones included.
	end(dst []byte, next uint64) ([]byte, error)
}
