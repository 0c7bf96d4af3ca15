package drain_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/penstock-go/penstock/drain"
)

// A program that reloads its configuration at SIGHUP takes over its signals before anything else, and gives those that end it to
// RunWith.
func ExampleSignals() {
	end, stop := drain.Signals(&drain.SignalOptions{
		Reload: func() { fmt.Println("reads its configuration") },
		Logger: slog.New(slog.DiscardHandler),
	})
	defer stop()

	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	d, err := drain.New(&drain.Options{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond) // a service runs until a signal
	defer cancel()
	report, err := d.RunWith(ctx, end)
	fmt.Println(report.Intent, report.Outcome, report.ExitCode(), err)
	// Output: stop delivered 0 <nil>
}
