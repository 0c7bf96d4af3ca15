package ship_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// A spool with one destination: records are kept, delivered, verified, and the chain is closed.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	sp, err := spool.Open(filepath.Join(dir, "spool"), &spool.Options{Class: "vpn", Destinations: []string{"idc"}})
	if err != nil {
		log.Fatal(err)
	}
	defer sp.Close()
	idc, err := fileship.New(filepath.Join(dir, "idc"), nil)
	if err != nil {
		log.Fatal(err)
	}
	s, err := ship.New(sp, &ship.Options{Destinations: map[string]ship.Destination{"idc": idc}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()

	_, err = sp.Append(ctx, []segment.Record{{Time: time.Now().UnixNano(), Data: []byte("hello")}})
	if err != nil {
		log.Fatal(err)
	}
	// What follows is what package drain does at a scale-in, with a deadline for each step.
	for _, step := range []func() error{
		func() error { return sp.Seal(ctx) },
		func() error { return s.Flush(ctx) },
		func() error { _, err := s.Verify(ctx); return err },
		func() error { return s.Finalize(ctx, "idc") },
	} {
		if err := step(); err != nil {
			log.Fatal(err)
		}
	}
	stop()
	if err := <-done; err != nil {
		log.Fatal(err)
	}
	for m, err := range ship.ReadChain(context.Background(), idc, "vpn", sp.Stats().Spool, 1) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("manifest", m.Header.Number, "covers", len(m.Segments), "segments up to record", m.Footer.Last, "final:", m.Footer.Final)
	}
	// Output:
	// manifest 0 covers 0 segments up to record 0 final: false
	// manifest 1 covers 1 segments up to record 1 final: false
	// manifest 2 covers 0 segments up to record 1 final: true
}
