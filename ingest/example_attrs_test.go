package ingest_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/segment"
)

// attrPrinter is a toy Sink. Real programs use spool.Intake.
type attrPrinter struct{ got chan struct{} }

func (p attrPrinter) Append(_ context.Context, batch []segment.Record) (uint64, error) {
	for _, r := range batch {
		fmt.Printf("%s: %s\n", r.Attrs, r.Data)
		p.got <- struct{}{}
	}
	return 0, nil
}

func (p attrPrinter) Offer(ctx context.Context, batch []segment.Record) (uint64, error) {
	return p.Append(ctx, batch)
}

func (p attrPrinter) Account(segment.Account) {}

// All records of a connection have the attributes that a function returns: those of ConnAttrs, and further ones.
func ExampleConnAttrs() {
	l, err := ingest.ListenTCP("127.0.0.1:0", &ingest.TCPOptions{
		Framing: ingest.Newline,
		Attributes: func(s *ingest.Stream) map[string]string {
			attrs := ingest.ConnAttrs(s)
			delete(attrs, "listener") // its port differs each time
			attrs["site"] = "fra-1"
			return attrs
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	sink := attrPrinter{got: make(chan struct{}, 2)}
	served := make(chan error, 1)
	go func() { served <- l.Serve(sink) }()

	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, "one\ntwo\n")
	c.Close()
	<-sink.got
	<-sink.got
	if err := l.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	<-served
	// Output:
	// site="fra-1": one
	// site="fra-1": two
}
