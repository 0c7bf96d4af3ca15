package fluentforward_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ingest/fluentforward"
	"github.com/penstock-go/penstock/spool"
)

func ExampleFraming() {
	dir, err := os.MkdirTemp("", "fluent-*")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sp, err := spool.Open(dir, &spool.Options{Class: "apps", Destinations: []string{"idc"}})
	if err != nil {
		log.Fatal(err)
	}
	l, err := ingest.Listen("fluent://127.0.0.1:0?max=12MiB", &ingest.Options{
		Framings: map[string]ingest.Framing{"fluent": fluentforward.Framing},
	})
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- l.Serve(sp.Intake()) }()

	// As Fluent Bit does: ["app", 1795905120, {"message": "hello"}, {"chunk": "p1"}]
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	io.WriteString(c, "\x94\xa3app\xce\x6b\x0b\x43\x60\x81\xa7message\xa5hello\x81\xa5chunk\xa2p1")
	ack := make([]byte, 8) // {"ack": "p1"}
	if _, err := io.ReadFull(c, ack); err != nil {
		log.Fatal(err)
	}
	c.Close()

	if err := l.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	<-served
	fmt.Printf("%q\n", ack)
	fmt.Println(sp.Ledger().Kept.Records, "kept")
	if err := sp.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// "\x81\xa3ack\xa2p1"
	// 1 kept
}
