package drain_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"

	"github.com/penstock-go/penstock/drain"
)

// A program whose log goes into a pipe continues while nothing reads the pipe. Its own lines and those of Penstock's packages use
// one queue, and so keep their order.
func ExampleNonBlocking() {
	r, w := io.Pipe() // a write to it waits until somebody reads
	text := slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{} // it differs each time
		}
		return a
	}})
	logger := drain.NonBlocking(slog.New(text))
	logger.Info("opening the spools", "classes", 2)
	logger.Info("listening") // pass logger to spool.Options, ingest.UDPOptions and all others
	fmt.Println("the program receives")

	lines := bufio.NewScanner(r) // the reader has returned
	for range 2 {
		lines.Scan()
		fmt.Println(lines.Text())
	}
	// Output:
	// the program receives
	// level=INFO msg="opening the spools" classes=2
	// level=INFO msg=listening
}
