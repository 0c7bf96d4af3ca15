package open_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool/segment"
)

// A program that reads what was delivered takes the destination from its command line, as the audit and the collector do.
func Example() {
	url := delivered() // file:///srv/ingest, s3://logs/ingest, …

	ctx := context.Background()
	d, err := open.Destination(ctx, url, &open.Options{Logger: slog.Default()})
	if err != nil {
		log.Fatal(err)
	}
	err = open.Records(ctx, d, &open.RecordsOptions{Class: "vpn"}, func(seq uint64, r segment.Record) error {
		fmt.Printf("%d from %v: %s\n", seq, r.Src, r.Data)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: 17 from 192.0.2.7:514: session closed
}

func ExampleForms() {
	fmt.Printf("-dest NAME=URL: %s\n", open.Forms())
	// Output: -dest NAME=URL: s3://BUCKET/PREFIX, sftp://USER@HOST/DIR or file:///DIR
}

// delivered returns a directory with one object, as a collector would have delivered it.
func delivered() string {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	object := filepath.Join(dir, "class=vpn", "dt=2026-11-22", "hour=08", "x.ndjson")
	if err := os.MkdirAll(filepath.Dir(object), 0o755); err != nil {
		log.Fatal(err)
	}
	line := `{"seq":17,"ts":"2026-11-22T08:00:00.000000001Z","src":"192.0.2.7:514","data":"session closed","spool":"abcdefghijklmnopqrstuvwxyz"}` + "\n"
	if err := os.WriteFile(object, []byte(line), 0o644); err != nil {
		log.Fatal(err)
	}
	return "file://" + filepath.ToSlash(dir)
}
