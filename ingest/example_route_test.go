package ingest_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// Debug lines are dropped, passwords are redacted, and lines about logins are routed to a separate spool.
func Example_transformAndRoute() {
	dir, err := os.MkdirTemp("", "route-*")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	spools := map[string]*spool.Spool{}
	sinks := map[string]ingest.Sink{}
	for _, class := range []string{"web", "auth"} {
		sp, err := spool.Open(filepath.Join(dir, class), &spool.Options{Class: class, Destinations: []string{"idc"}})
		if err != nil {
			log.Fatal(err)
		}
		defer sp.Close()
		spools[class], sinks[class] = sp, sp.Intake()
	}

	route, err := ingest.NewRoute(&ingest.RouteOptions{
		Sinks:   sinks,
		Default: "web",
		Choose: func(r segment.Record, to []string) []string {
			if bytes.HasPrefix(r.Data, []byte("login")) {
				return append(to, "auth")
			}
			return append(to, "web")
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	clean, err := ingest.NewTransform(route, func(r segment.Record, out []segment.Record) []segment.Record {
		if bytes.HasPrefix(r.Data, []byte("DEBUG")) {
			return out // dropped
		}
		if before, _, ok := bytes.Cut(r.Data, []byte("password=")); ok {
			r.Data = append(bytes.Clone(before), "password=***"...) // new bytes
		}
		return append(out, r)
	}, nil)
	if err != nil {
		log.Fatal(err)
	}

	l, err := ingest.ListenTCP("127.0.0.1:0", &ingest.TCPOptions{Framing: ingest.Newline})
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- l.Serve(clean) }()
	for l.Ready() != nil { // a service reports this to its load balancer, in /readyz
		runtime.Gosched()
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, "GET /\nDEBUG cache\nlogin user=a password=secret\nGET /a\n")
	c.Close()
	if err := l.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	<-served

	for _, class := range []string{"web", "auth"} {
		l := spools[class].Ledger()
		fmt.Printf("%s: received %d, kept %d, filtered %d, balance %v\n", class, l.Received.Records, l.Kept.Records, l.Filtered.Records, l.Balance())
	}
	// Output:
	// web: received 3, kept 2, filtered 1, balance <nil>
	// auth: received 1, kept 1, filtered 0, balance <nil>
}

// counted is an embedder's own Sink, which counts the batches that it passes on. With Unwrap, listeners find the other
// methods of the spool; with Keep, TryOffer and Session, no records bypass it.
type counted struct {
	ingest.Sink
	batches *int
}

func (c counted) Append(ctx context.Context, b []segment.Record) (uint64, error) {
	*c.batches++
	return c.Sink.Append(ctx, b)
}

func (c counted) Unwrap() ingest.Sink                         { return c.Sink }
func (c counted) Keep(b []segment.Record) (uint64, error)     { return ingest.Keep(c.Sink, b) }
func (c counted) TryOffer(b []segment.Record) (uint64, error) { return ingest.TryOffer(c.Sink, b) }
func (c counted) Session() ingest.Sink                        { return counted{ingest.Session(c.Sink), c.batches} }

func ExampleWrapper() {
	sink := counted{printer{got: make(chan struct{}, 1)}, new(int)}
	if _, err := ingest.Session(sink).Append(context.Background(), []segment.Record{{Data: []byte("hello")}}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(*sink.batches, "batch")
	// Output:
	// hello
	// 1 batch
}
