package segment_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/netip"
	"os"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// A segment is read record by record. Next reports damage where it is found; a caller that continues reads the records after it.
func Example() {
	f, err := os.Open("testdata/sealed-v2.seg")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		log.Fatal(err)
	}
	r, err := segment.NewReader(f, info.Size(), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("class %s, segment %d\n", r.Header().Class, r.Header().Segment)
	if err := r.Seek(1004); err != nil {
		log.Fatal(err)
	}
	for {
		seq, rec, err := r.Next()
		if err == io.EOF {
			break
		}
		var damage *segment.DamageError
		if errors.As(err, &damage) {
			fmt.Println("lost:", damage)
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(seq, time.Unix(0, rec.Time).UTC().Format(time.RFC3339Nano), rec.Src, len(rec.Data), "bytes")
	}
	// Output:
	// class vpn_1, segment 7
	// 1004 2023-11-14T22:13:20.000001004Z invalid AddrPort 8 bytes
	// 1005 2023-11-14T22:13:20.000001005Z 192.0.2.237:1005 8 bytes
	// 1006 2023-11-14T22:13:20.000001006Z [2001:db8::ee]:1006 8 bytes
	// 1007 2023-11-14T22:13:20.000001007Z invalid AddrPort 8 bytes
}

// A segment whose writer was killed during a write is recovered: Scan finds where the segment ends, and its Builder
// seals it there.
func ExampleScan() {
	file, err := os.ReadFile("testdata/active-v2.seg")
	if err != nil {
		log.Fatal(err)
	}
	file = file[:len(file)-100] // only a part of the last block has reached the disk
	res, err := segment.Scan(bytes.NewReader(file), int64(len(file)), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("sealed:", res.Footer != nil)
	fmt.Printf("records %d to %d, damage: %d\n", res.Header.First, res.Next-1, len(res.Damage))

	seal, err := res.Builder.Seal(res.End, res.Ledger) // in a real file, first sync everything below End
	if err != nil {
		log.Fatal(err)
	}
	file = append(file[:res.End], seal...)
	fmt.Println("verified:", segment.Verify(bytes.NewReader(file), int64(len(file))))
	// Output:
	// sealed: false
	// records 1000 to 1003, damage: 0
	// verified: <nil>
}

// The attributes of a connection are made once, and all of its records share them.
func ExampleNewAttrs() {
	attrs, err := segment.NewAttrs(map[string]string{"tls.subject": "CN=fw-1", "listener": "vpn"})
	if err != nil {
		log.Fatal(err)
	}
	batch := []segment.Record{{Data: []byte("one"), Attrs: attrs}, {Data: []byte("two"), Attrs: attrs}}
	for _, r := range batch {
		subject, _ := r.Attrs.Get("tls.subject")
		fmt.Printf("%s from %s: %s\n", r.Data, subject, r.Attrs)
	}
	_, err = segment.NewAttrs(map[string]string{"TLS subject": "CN=fw-1"})
	fmt.Println(err)
	// Output:
	// one from CN=fw-1: listener="vpn" tls.subject="CN=fw-1"
	// two from CN=fw-1: listener="vpn" tls.subject="CN=fw-1"
	// segment: attribute key "TLS subject" is not 1 to 64 characters of [a-z0-9_.-]
}

// A segment is written as a header, blocks, and the footer that seals it. The spool keeps its blocks in one buffer and
// writes them with one call; here the whole file is in memory.
func ExampleBuilder() {
	header := &segment.Header{
		Generation: segment.NewGeneration(), Segment: 1, First: 1, Created: time.Now(),
		Spool: "0123456789abcdefghijklmnop", Epoch: 1, Class: "default", Instance: "host",
	}
	file, err := segment.EncodeHeader(header, 4096)
	if err != nil {
		log.Fatal(err)
	}
	b, err := segment.NewBuilder(file)
	if err != nil {
		log.Fatal(err)
	}

	// One block of two records: room for its header, the records, then the stamp.
	block := make([]byte, segment.BlockHeaderSize)
	src := netip.MustParseAddrPort("192.0.2.7:514")
	for _, s := range []string{"one", "two"} {
		block = segment.AppendRecord(block, &segment.Record{Time: time.Now().UnixNano(), Src: src, Data: []byte(s)})
	}
	offset := int64(len(file))
	segment.Stamp(block, segment.BlockHeader{
		Generation: header.Generation, Offset: offset, First: 1, Count: 2, Durable: uint32(offset), Type: segment.RecordBlock,
	})
	b.Add(offset, block)
	file = append(file, block...)
	file = append(file, make([]byte, segment.Align(len(file))-len(file))...)

	seal, err := b.Seal(int64(len(file)), &segment.Ledger{Version: 1})
	if err != nil {
		log.Fatal(err)
	}
	file = append(file, seal...)

	if err := segment.Verify(bytes.NewReader(file), int64(len(file))); err != nil {
		log.Fatal(err)
	}
	r, err := segment.NewReader(bytes.NewReader(file), int64(len(file)), nil)
	if err != nil {
		log.Fatal(err)
	}
	for {
		seq, rec, err := r.Next()
		if err != nil {
			break
		}
		fmt.Printf("%d %s %s\n", seq, rec.Src, rec.Data)
	}
	// Output:
	// 1 192.0.2.7:514 one
	// 2 192.0.2.7:514 two
}
