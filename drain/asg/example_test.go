package asg_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// A service in an Auto Scaling group, here a fake one, is chosen at a scale-in: it empties its spool and answers
// CONTINUE.
func ExampleNew() {
	ctx := context.Background()
	group := draintest.NewGroup(nil)
	instance := group.Launch()
	l, err := asg.New(&asg.Options{Metadata: instance, Service: group}) // default: those of AWS
	check(err)

	dir, err := os.MkdirTemp("", "asg")
	check(err)
	defer os.RemoveAll(dir)
	sp, err := spool.Open(dir, &spool.Options{Destinations: []string{"s3"}})
	check(err)
	sh, err := ship.New(sp, &ship.Options{Destinations: map[string]ship.Destination{"s3": shiptest.Memory()}})
	check(err)
	d, err := drain.New(&drain.Options{Dir: dir, Lifecycles: []drain.Lifecycle{l}, Quiesce: -1})
	check(err)
	check(d.Add(drain.Class{Shipper: sh}))
	_, err = sp.Append(ctx, []segment.Record{{Data: []byte("kept")}})
	check(err)

	group.ScaleIn()
	report, err := d.Run(ctx) // notices the scale-in within a second
	check(err)
	answer, _ := instance.Answered()
	fmt.Println(report.Intent, report.Outcome+",", "the hook was told", answer)
	// Output: drain delivered, the hook was told CONTINUE
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
