package ingest_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"time"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/segment"
)

// gelf assembles GELF messages from datagrams: messages in up to 128 chunks, and messages compressed with gzip or zlib.
// Its method transform is the function of a Transform. The ledger counts the chunks before the last one of a message as
// filtered.
//
// A message whose chunks do not all arrive within five seconds is dropped, as the protocol requires: over UDP they are not
// sent again. For the same reason a kill loses the chunks that wait. incomplete counts these messages.
type gelf struct {
	max        int // bytes of a message, compressed or not
	mu         sync.Mutex
	waiting    map[[8]byte]*chunks
	incomplete int
}

type chunks struct {
	since  time.Time
	pieces [128][]byte
	have   int
	size   int
}

const (
	chunkHeader = 12 // 0x1e 0x0f, the message's id, the chunk's place, and how many there are
	maxWaiting  = 1000
	chunkWait   = 5 * time.Second
)

func (g *gelf) transform(r segment.Record, out []segment.Record) []segment.Record {
	if len(r.Data) >= chunkHeader && r.Data[0] == 0x1e && r.Data[1] == 0x0f {
		if r.Data = g.add(r.Data, time.Unix(0, r.Time)); r.Data == nil {
			return out
		}
	}
	if plain, ok := g.inflate(r.Data); ok { // data that cannot be inflated is kept unchanged
		r.Data = plain
	}
	return append(out, r)
}

// add returns the message if this was its last chunk. The chunk is copied, since it belongs to the listener.
func (g *gelf) add(chunk []byte, now time.Time) (message []byte) {
	id, place, count := [8]byte(chunk[2:10]), int(chunk[10]), int(chunk[11])
	if count == 0 || count > 128 || place >= count {
		return chunk // not a valid chunk
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.waiting[id]
	if m == nil {
		g.expire(now)
		m = &chunks{since: now}
		g.waiting[id] = m
	}
	if m.pieces[place] == nil { // a chunk that came twice counts once
		m.pieces[place] = append([]byte{}, chunk[chunkHeader:]...)
		m.have++
		m.size += len(chunk) - chunkHeader
	}
	if m.have < count {
		return nil
	}
	delete(g.waiting, id)
	if m.size > g.max {
		g.incomplete++
		return nil
	}
	return bytes.Join(m.pieces[:count], nil)
}

// expire drops messages that wait for too long, or any if there are too many; g.mu is held.
func (g *gelf) expire(now time.Time) {
	for id, m := range g.waiting {
		if len(g.waiting) >= maxWaiting || now.Sub(m.since) > chunkWait {
			delete(g.waiting, id)
			g.incomplete++
		}
	}
}

func (g *gelf) inflate(b []byte) (plain []byte, ok bool) {
	var z io.Reader
	var err error
	switch {
	case len(b) > 2 && b[0] == 0x1f && b[1] == 0x8b:
		z, err = gzip.NewReader(bytes.NewReader(b))
	case len(b) > 2 && b[0]&0x0f == 8 && binary.BigEndian.Uint16(b)%31 == 0:
		z, err = zlib.NewReader(bytes.NewReader(b))
	default:
		return nil, false
	}
	if err != nil {
		return nil, false
	}
	plain, err = io.ReadAll(io.LimitReader(z, int64(g.max)+1))
	return plain, err == nil && len(plain) <= g.max
}

// GELF, Graylog's format: over UDP in chunks and compressed, over TCP with a NUL after each message (untilNUL is the
// Framer of the example for Framer).
func Example_gelf() {
	sink := printer{got: make(chan struct{}, 3)} // real programs use spool.Intake
	g := &gelf{max: 1 << 20, waiting: make(map[[8]byte]*chunks)}
	whole, err := ingest.NewTransform(sink, g.transform, nil)
	if err != nil {
		log.Fatal(err)
	}
	datagrams, err := ingest.ListenUDP("127.0.0.1:0", &ingest.UDPOptions{Sockets: 1})
	if err != nil {
		log.Fatal(err)
	}
	go datagrams.Serve(whole)
	stream, err := ingest.ListenTCP("127.0.0.1:0", &ingest.TCPOptions{Framing: func(s *ingest.Stream) ingest.Framer {
		return &untilNUL{max: s.MaxRecord}
	}})
	if err != nil {
		log.Fatal(err)
	}
	go stream.Serve(sink)

	// A compressed message in two chunks, of which the second comes first, and a message that is neither.
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	fmt.Fprint(z, `{"version":"1.1","host":"a","short_message":"in two chunks"}`)
	z.Close()
	udp, err := net.Dial("udp", datagrams.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	half := packed.Len() / 2
	udp.Write(append([]byte("\x1e\x0fmessage1\x01\x02"), packed.Bytes()[half:]...))
	udp.Write(append([]byte("\x1e\x0fmessage1\x00\x02"), packed.Bytes()[:half]...))
	<-sink.got
	fmt.Fprint(udp, `{"version":"1.1","host":"a","short_message":"plain"}`)
	<-sink.got
	udp.Close()
	tcp, err := net.Dial("tcp", stream.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(tcp, `{"version":"1.1","host":"b","short_message":"over TCP"}`+"\x00")
	<-sink.got
	tcp.Close()
	for _, l := range []ingest.Listener{datagrams, stream} {
		if err := l.Shutdown(context.Background()); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// {"version":"1.1","host":"a","short_message":"in two chunks"}
	// {"version":"1.1","host":"a","short_message":"plain"}
	// {"version":"1.1","host":"b","short_message":"over TCP"}
}
