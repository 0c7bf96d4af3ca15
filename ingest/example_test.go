package ingest_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/segment"
)

// printer is a toy Sink. Real programs use spool.Intake.
type printer struct{ got chan struct{} }

func (p printer) Append(_ context.Context, batch []segment.Record) (uint64, error) {
	for _, r := range batch {
		fmt.Printf("%s\n", r.Data)
		p.got <- struct{}{}
	}
	return 0, nil
}

func (p printer) Offer(ctx context.Context, batch []segment.Record) (uint64, error) {
	return p.Append(ctx, batch)
}

func (p printer) Account(segment.Account) {}

func ExampleListenUDP() {
	u, err := ingest.ListenUDP("127.0.0.1:0", &ingest.UDPOptions{ExpectedRate: 50_000})
	if err != nil {
		log.Fatal(err)
	}
	sink := printer{got: make(chan struct{}, 1)}
	served := make(chan error, 1)
	go func() { served <- u.Serve(sink) }()

	c, err := net.Dial("udp", u.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, "hello")
	c.Close()
	<-sink.got

	if err := u.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-served)
	fmt.Println(u.Stats().Received.Records, "received")
	// Output:
	// hello
	// ingest: listener closed
	// 1 received
}

func ExampleListenTCP() {
	l, err := ingest.ListenTCP("127.0.0.1:0", &ingest.TCPOptions{Framing: ingest.Newline})
	if err != nil {
		log.Fatal(err)
	}
	sink := printer{got: make(chan struct{}, 2)}
	served := make(chan error, 1)
	go func() { served <- l.Serve(sink) }()

	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, "first line\r\nsecond line\n")
	c.Close()
	<-sink.got
	<-sink.got

	if err := l.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-served)
	// Output:
	// first line
	// second line
	// ingest: listener closed
}

func ExampleListen() {
	_, err := ingest.Listen("udp://:514?sockets=none&buffer=64MiB", nil)
	fmt.Println(err)
	// Output:
	// ingest: "udp://:514?sockets=none&buffer=64MiB": sockets=none: want a number of at least 1
	// parameter "buffer" is not known for udp://
}
