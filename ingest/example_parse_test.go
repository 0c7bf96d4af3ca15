package ingest_test

import (
	"fmt"
	"log"

	"github.com/penstock-go/penstock/ingest"
)

// A program checks all its URLs before it opens the first socket.
func ExampleParse() {
	_, err := ingest.Parse("udp://127.0.0.1:0?rcvbuf=64MB&sockets=0", nil)
	fmt.Println(err != nil) // one error that names every mistake

	open, err := ingest.Parse("udp://127.0.0.1:0?rcvbuf=1MiB", nil)
	if err != nil {
		log.Fatal(err)
	}
	l, err := open()
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	fmt.Println(l.Addr().Network())
	// Output:
	// true
	// udp
}
