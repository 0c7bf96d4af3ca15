package lumberjack_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ingest/lumberjack"
	"github.com/penstock-go/penstock/spool"
)

func ExampleFraming() {
	dir, err := os.MkdirTemp("", "lumberjack-*")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sp, err := spool.Open(dir, &spool.Options{Class: "beats", Destinations: []string{"idc"}})
	if err != nil {
		log.Fatal(err)
	}
	l, err := ingest.Listen("lumberjack://127.0.0.1:0?max=8MiB", &ingest.Options{
		Framings: map[string]ingest.Framing{"lumberjack": lumberjack.Framing},
	})
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- l.Serve(sp.Intake()) }()

	send(l.Addr().String(), `{"message":"one"}`, `{"message":"two"}`) // as Filebeat does

	if err := l.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	<-served
	fmt.Println(sp.Ledger().Kept.Records, "kept")
	if err := sp.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// event 2 is acknowledged
	// 2 kept
}

// send is a client: it sends a window of compressed events, and waits for the acknowledgement of the last.
func send(addr string, events ...string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	for i, e := range events {
		frame := binary.BigEndian.AppendUint32([]byte("2J"), uint32(i+1))
		z.Write(append(binary.BigEndian.AppendUint32(frame, uint32(len(e))), e...))
	}
	z.Close()
	message := binary.BigEndian.AppendUint32([]byte("2W"), uint32(len(events)))
	message = binary.BigEndian.AppendUint32(append(message, "2C"...), uint32(packed.Len()))
	c.Write(append(message, packed.Bytes()...))
	ack := make([]byte, 6)
	for seq := 0; seq < len(events); seq = int(binary.BigEndian.Uint32(ack[2:])) {
		if _, err := io.ReadFull(c, ack); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Printf("event %d is acknowledged\n", binary.BigEndian.Uint32(ack[2:]))
}
