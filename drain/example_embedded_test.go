package drain_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// A service without Penstock's listeners: it appends its own records, stops that in Before, drains, and compares the two
// destinations by an audit.
func ExampleDrainer_Drain() {
	dir, err := os.MkdirTemp("", "penstock")
	check(err)
	defer os.RemoveAll(dir)
	near, far := shiptest.Memory(), shiptest.Memory()

	sp, err := spool.Open(filepath.Join(dir, "events"), &spool.Options{Class: "events", Instance: "web-1", Destinations: []string{"near", "far"}})
	check(err)
	sh, err := ship.New(sp, &ship.Options{Destinations: map[string]ship.Destination{"near": near, "far": far}})
	check(err)

	work, stopWork := context.WithCancel(context.Background())
	stopped := make(chan int)
	go func() {
		n := 0
		for ; n < 1000 && work.Err() == nil; n++ {
			if _, err := sp.Append(work, []segment.Record{{Time: time.Now().UnixNano(), Data: fmt.Appendf(nil, "event %d", n)}}); err != nil {
				break
			}
		}
		<-work.Done()
		stopped <- n
	}()

	made := 0
	d, err := drain.New(&drain.Options{
		Dir: dir, Timeout: time.Minute,
		Before: []drain.Step{{Name: "stop the work", Run: func(context.Context) error { stopWork(); made = <-stopped; return nil }}},
	})
	check(err)
	check(d.Add(drain.Class{Shipper: sh}))
	report, err := d.Drain(context.Background(), "the end of the example") // a service calls Run
	check(err)

	result, err := audit.Run(context.Background(), &audit.Options{
		Places: []audit.Place{{Name: "near", Destination: near}, {Name: "far", Destination: far}},
		Expect: []string{"web-1"}, Deep: true,
	})
	check(err)
	fmt.Println("drain:", report.Outcome)
	fmt.Println("audit:", result.Verdict)
	fmt.Println("everything that was made is kept:", report.Classes["events"].Kept.Records == uint64(made))
	// Output:
	// drain: delivered
	// audit: complete
	// everything that was made is kept: true
}

// Mistakes are refused at the start, all at once and by name.
func ExampleNew_refused() {
	var platform *decommission // was never made
	_, err := drain.New(&drain.Options{
		Dir: os.TempDir(), Timeout: -time.Second, Lifecycles: []drain.Lifecycle{platform}, Before: []drain.Step{{Name: "deregister"}},
	})
	fmt.Println(err)
	// Output:
	// drain: negative timeout
	// drain: Options.Reserve (-100ms) leaves nothing of Options.Timeout (-1s)
	// drain: Options.Lifecycles[0] is nil (*drain_test.decommission)
	// drain: Options.Before[0]: step "deregister" has no Run
}

// Run returns when something else has ended the process, here a hand-over to a successor, and its error says so.
func ExampleDrainer_HandOver() {
	dir, err := os.MkdirTemp("", "penstock")
	check(err)
	defer os.RemoveAll(dir)
	d, err := drain.New(&drain.Options{Dir: dir})
	check(err)
	ran := make(chan error)
	go func() {
		_, err := d.RunWith(context.Background(), nil)
		ran <- err
	}()
	if err := d.HandOver(context.Background()); err != nil {
		log.Print(err)
	}
	fmt.Println(<-ran)
	// Output: drain: handed over to a successor
}
