package audit_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// An object has vanished from one destination. The audit names it, and Replay takes it from the other one.
func ExampleReplay() {
	ctx := context.Background()
	idc, s3 := shiptest.Memory(), shiptest.Memory()
	deliverTwo(ctx, idc, s3)
	for _, key := range idc.Keys() {
		if strings.HasPrefix(key, "class=") {
			idc.Remove(key)
		}
	}

	places := []audit.Place{{Name: "idc", Destination: idc}, {Name: "s3", Destination: s3}}
	r, err := audit.Run(ctx, &audit.Options{Places: places})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.Code != audit.ObjectMissing {
			continue
		}
		fmt.Println(f.Place, f.Code, f.First, "to", f.Last)
		repaired, err := audit.Replay(ctx, &audit.ReplayOptions{
			From: places[1], To: places[0], Class: f.Class, Spool: f.Spool, First: f.First, Last: f.Last,
		})
		fmt.Println(len(repaired), "restored,", err)
	}
	// Output:
	// idc object-missing 1 to 2
	// 1 restored, <nil>
}

// deliverTwo keeps two records and ships them to both.
func deliverTwo(ctx context.Context, idc, s3 ship.Destination) {
	check := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "replay")
	check(err)
	defer os.RemoveAll(dir)
	sp, err := spool.Open(dir, &spool.Options{Destinations: []string{"idc", "s3"}})
	check(err)
	defer sp.Close()
	sh, err := ship.New(sp, &ship.Options{Destinations: map[string]ship.Destination{"idc": idc, "s3": s3}})
	check(err)
	_, err = sp.Append(ctx, []segment.Record{{Data: []byte("one")}, {Data: []byte("two")}})
	check(err)
	check(sp.Seal(ctx))
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- sh.Run(ctx) }()
	check(sh.Flush(ctx))
	cancel()
	check(<-ended)
}
