package status_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/status"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
)

// A service mounts the page into its own server, and prints the same as a table.
func Example() {
	dir, err := os.MkdirTemp("", "penstock")
	check(err)
	defer os.RemoveAll(dir)
	sp, err := spool.Open(filepath.Join(dir, "vpn"), &spool.Options{Class: "vpn", Destinations: []string{"idc"}})
	check(err)
	sh, err := ship.New(sp, &ship.Options{Destinations: map[string]ship.Destination{"idc": shiptest.Memory()}})
	check(err)
	d, err := drain.New(&drain.Options{Dir: dir, Instance: "edge-1"})
	check(err)
	check(d.Add(drain.Class{Shipper: sh}))

	watch, err := status.New(&status.Options{Drainer: d, Program: "ingestd", Version: "v1.4.0"})
	check(err)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go watch.Run(ctx) // remembers the last hour
	mux := http.NewServeMux()
	mux.Handle("/penstock/", http.StripPrefix("/penstock", watch.Handler())) // the page, and /penstock/status.json

	now := watch.Snapshot()
	check(now.WriteTable(os.Stderr))
	fmt.Println(now.Instance, now.Classes[0].Class, now.Classes[0].Destinations[0].Destination)
	_, err = d.Stop(ctx, "the end of the example") // a service calls Run
	check(err)
	// Output: edge-1 vpn idc
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
