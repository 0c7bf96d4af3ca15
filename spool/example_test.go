package spool_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"os"
	"time"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	s, err := spool.Open(dir, &spool.Options{
		Class:        "vpn",
		Destinations: []string{"s3", "idc"}, // a segment stays until both have it
		Sync:         spool.SyncAlways,
		MaxBytes:     1 << 30,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	st := s.Stats()
	fmt.Println(st.Class, st.Epoch, st.Appended)
	// Output: vpn 1 0
}

func ExampleSpool_Append() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := spool.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	ctx := context.Background()
	last, err := s.Append(ctx, []segment.Record{
		{Time: time.Now().UnixNano(), Src: netip.MustParseAddrPort("192.0.2.1:514"), Data: []byte("one")},
		{Time: time.Now().UnixNano(), Src: netip.MustParseAddrPort("192.0.2.1:514"), Data: []byte("two")},
	})
	if err != nil {
		log.Fatal(err)
	}
	// Kept: it survives the process. To survive the machine as well:
	if err := s.WaitDurable(ctx, last); err != nil {
		log.Fatal(err)
	}
	fmt.Println("safe up to", last)
	// Output: safe up to 2
}

func ExampleSpool_Offer() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := spool.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	if _, err := s.Offer(ctx, []segment.Record{{Data: []byte("a datagram")}}); err != nil {
		log.Fatal(err)
	}
	if err := s.Seal(ctx); err != nil {
		log.Fatal(err)
	}
	for _, seg := range s.Shelf().Sealed(0, 0) {
		fmt.Println("segment", seg.Number, "records", seg.First, "to", seg.Last)
	}
	if err := s.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: segment 1 records 1 to 1
}

// Inspect shows what is on a disk that an instance has left behind.
func ExampleInspect() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := spool.Open(dir, &spool.Options{Class: "vpn", Destinations: []string{"s3"}})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := s.Append(context.Background(), []segment.Record{{Data: []byte("not delivered")}}); err != nil {
		log.Fatal(err)
	}
	if err := s.Close(); err != nil {
		log.Fatal(err)
	}

	in, err := spool.Inspect(dir)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("class", in.Class+", closed in order:", in.Clean)
	for name, d := range in.Destinations {
		fmt.Println(name, "is owed", d.Pending.Records, "record,", d.Pending.Bytes, "bytes")
	}
	// Output:
	// class vpn, closed in order: true
	// s3 is owed 1 record, 13 bytes
}
