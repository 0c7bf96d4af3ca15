package drain_test

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/penstock-go/penstock/drain"
)

// A service with an HTTP server besides its listeners: the server answers, also for readiness, until the records are
// safe. The program's own steps run before the listeners close and after the spools have closed.
func ExampleDrainer_Run_httpServer() {
	api := &http.Server{Addr: "127.0.0.1:8080", ReadHeaderTimeout: 5 * time.Second}
	d, err := drain.New(&drain.Options{
		Dir: "/var/spool/penstock",
		Before: []drain.Step{
			{Name: "deregister", Run: func(ctx context.Context) error { return deregister(ctx) }},
		},
		After: []drain.Step{
			{Name: "api", Run: api.Shutdown},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	// d.Add(...) as in the package example.
	api.Handler = d.Handler()

	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		if err := api.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			cancel(err) // Run then ends the process gracefully
		}
	}()
	report, err := d.Run(ctx)
	if err != nil {
		log.Print(err)
	}
	os.Exit(report.ExitCode())
}

// Run is one of a group of goroutines that end together (as in errgroup.Group: Go, and a context that the first error
// cancels). Whichever fails, the process ends gracefully, and when Run has returned, the others are canceled.
func ExampleDrainer_Run_group() {
	d, err := drain.New(&drain.Options{Dir: "/var/spool/penstock"})
	if err != nil {
		log.Fatal(err)
	}
	// d.Add(...) as in the package example.

	// With golang.org/x/sync: g, ctx := errgroup.WithContext(context.Background())
	ctx, cancel := context.WithCancelCause(context.Background())
	var g sync.WaitGroup
	g.Go(func() {
		if err := consume(ctx); err != nil {
			cancel(err)
		}
	})
	var report *drain.Report
	g.Go(func() {
		var err error
		if report, err = d.Run(ctx); err != nil {
			log.Print(err)
		}
		cancel(errors.New("drained")) // the others may end
	})
	g.Wait()
	os.Exit(report.ExitCode())
}

func deregister(context.Context) error { return nil }

func consume(ctx context.Context) error { <-ctx.Done(); return nil }
