package format_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// The names of the formats, as in options, keys and manifests. The default is the first.
func ExampleNames() {
	fmt.Println(format.Names())
	// Output: [ndjson lines native]
}

// Records that are not in a segment are written in the default format, line by line.
func ExampleNewNDJSONWriter() {
	w := format.NewNDJSONWriter("4k7q0z1m9x2c3v5b6n8a0s1d2f")
	b, err := w.Record(nil, 17, &segment.Record{Time: 1, Src: netip.MustParseAddrPort("192.0.2.7:514"), Data: []byte("session closed")})
	if err != nil {
		log.Fatal(err)
	}
	if b, err = w.Finish(b, 18); err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(b))
	// Output: {"seq":17,"ts":"1970-01-01T00:00:00.000000001Z","src":"192.0.2.7:514","data":"session closed","spool":"4k7q0z1m9x2c3v5b6n8a0s1d2f"}
}

// An Encoder writes whole segments, and reads what it has written.
func ExampleNewEncoder() {
	enc, err := format.NewEncoder(object.Encoding{Format: format.Lines, Codec: "none"}) // the zero value: ndjson and zstd
	if err != nil {
		log.Fatal(err)
	}
	file := sealed("first", "second")
	src, err := segment.NewReader(bytes.NewReader(file), int64(len(file)), nil)
	if err != nil {
		log.Fatal(err)
	}
	var out bytes.Buffer
	e, err := enc.Encode(context.Background(), &out, src, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, %d records\n%s", e.Ext, e.Records, out.String())
	// Output:
	// .log, 2 records
	// first
	// second
}

// sealed returns a segment file.
func sealed(payloads ...string) []byte {
	header := segment.Header{Generation: 1, Segment: 1, First: 1, Spool: "4k7q0z1m9x2c3v5b6n8a0s1d2f", Epoch: 1, Class: "vpn", Instance: "host", Created: time.Now()}
	file, err := segment.EncodeHeader(&header, 0)
	if err != nil {
		log.Fatal(err)
	}
	builder, err := segment.NewBuilder(file)
	if err != nil {
		log.Fatal(err)
	}
	block := make([]byte, segment.BlockHeaderSize)
	for _, p := range payloads {
		block = segment.AppendRecord(block, &segment.Record{Time: 1, Data: []byte(p)})
	}
	segment.Stamp(block, segment.BlockHeader{Generation: 1, Offset: int64(header.Len), First: 1, Count: uint32(len(payloads)), Type: segment.RecordBlock})
	builder.Add(int64(header.Len), block)
	file = append(file, block...)
	file = append(file, make([]byte, segment.Align(len(file))-len(file))...)
	seal, err := builder.Seal(int64(len(file)), &segment.Ledger{Version: 1})
	if err != nil {
		log.Fatal(err)
	}
	return append(file, seal...)
}
