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

// A service that has an HTTP server beside its listeners: it answers until the records are safe, and readiness with it.
// Steps of one's own run before the listeners close and after the spools have.
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
			cancel(err) // Run then ends the process in good order
		}
	}()
	report, err := d.Run(ctx)
	if err != nil {
		log.Print(err)
	}
	os.Exit(report.ExitCode())
}

// In a group of goroutines that end together (errgroup.Group has the same shape: Go, and a context that the first error
// cancels), Run is one of them: whichever fails, the process ends in good order, and after Run the others are told.
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
		cancel(errors.New("drained")) // the others need not go on
	})
	g.Wait()
	os.Exit(report.ExitCode())
}

func deregister(context.Context) error { return nil }

func consume(ctx context.Context) error { <-ctx.Done(); return nil }
