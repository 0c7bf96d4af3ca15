package ingest_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net"
	"net/netip"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/segment"
)

// A Framing that looks at the connection: appliances in one network send frames with a length, all others send lines.
func ExampleFraming() {
	appliances := netip.MustParsePrefix("10.20.0.0/16")
	framing := func(s *ingest.Stream) ingest.Framer {
		if appliances.Contains(s.Peer.Addr()) {
			return ingest.Len16(s)
		}
		return ingest.Newline(s)
	}
	receive(framing, "first line\nsecond line\n")
	// Output:
	// first line
	// second line
}

// untilNUL takes frames that end with a NUL byte.
type untilNUL struct {
	max  int
	skip bool // the rest of a frame that was over max
}

// Next implements ingest.Framer.
func (f *untilNUL) Next(data []byte, eof bool) (n int, frame []byte, err error) {
	i := bytes.IndexByte(data, 0)
	switch {
	case i < 0 && len(data) <= f.max:
		return 0, nil, nil // the listener reads more; at the end it counts what is left as malformed
	case i >= 0 && i <= f.max && !f.skip:
		return i + 1, data[:i:i], nil
	}
	lost := &ingest.LostFrame{Cause: segment.FrameTooLong, Bytes: uint64(len(data)), Rest: f.skip}
	n, f.skip = len(data), true
	if i >= 0 {
		n, f.skip, lost.Bytes = i+1, false, uint64(i)
	}
	return n, nil, lost
}

// A Framer of a program's own.
func ExampleFramer() {
	receive(func(s *ingest.Stream) ingest.Framer { return &untilNUL{max: s.MaxRecord} }, "two\nlines\x00one line\x00")
	// Output:
	// two
	// lines
	// one line
}

// receive prints the two records of a stream.
func receive(framing ingest.Framing, stream string) {
	l, err := ingest.ListenTCP("127.0.0.1:0", &ingest.TCPOptions{Framing: framing})
	if err != nil {
		log.Fatal(err)
	}
	sink := printer{got: make(chan struct{}, 2)}
	go l.Serve(sink)
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, stream)
	c.Close()
	<-sink.got
	<-sink.got
	if err := l.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}
