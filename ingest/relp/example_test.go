package relp_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ingest/relp"
	"github.com/penstock-go/penstock/spool"
)

func ExampleFraming() {
	dir, err := os.MkdirTemp("", "relp-*")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sp, err := spool.Open(dir, &spool.Options{Class: "syslog", Destinations: []string{"idc"}})
	if err != nil {
		log.Fatal(err)
	}
	l, err := ingest.Listen("relp://127.0.0.1:0?max=64KiB", &ingest.Options{
		Framings: map[string]ingest.Framing{"relp": relp.Framing},
	})
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- l.Serve(sp.Intake()) }()

	send(l.Addr().String(), "hello") // as rsyslog does

	if err := l.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-served)
	fmt.Println(sp.Ledger().Kept.Records, "kept")
	if err := sp.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 200 OK
	// ingest: listener closed
	// 1 kept
}

// send is a client: it opens a session, sends one message, and prints the answer.
func send(addr, message string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	offers := "relp_version=0\nrelp_software=example\ncommands=syslog"
	fmt.Fprintf(c, "1 open %d %s\n", len(offers), offers)
	fmt.Fprintf(c, "2 syslog %d %s\n", len(message), message)
	fmt.Fprint(c, "3 close 0\n")
	answers, err := io.ReadAll(c)
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(answers)) {
		if strings.HasPrefix(line, "2 rsp ") {
			fmt.Print(strings.TrimPrefix(line, "2 rsp 6 "))
		}
	}
}
