package ecs_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/draintest"
	"github.com/penstock-go/penstock/drain/ecs"
	"github.com/penstock-go/penstock/spool/segment"
)

// A task of an ECS service, here a fake one, is not chosen at a scale-in while it has more to deliver than it could within its
// stopTimeout. A program gives the Lifecycle to its Drainer (drain.Options.Lifecycles), which calls Update each second.
func ExampleNew() {
	task := new(draintest.ECSTask)
	l, err := ecs.New(&ecs.Options{
		ProtectAbove: 256 << 20,
		Agent:        "http://agent", Client: &http.Client{Transport: task}, // default: those of ECS
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, pending := range []uint64{1 << 20, 1 << 30, 200 << 20, 1 << 20} {
		l.Update(context.Background(), drain.Status{Phase: drain.PhaseRun, Pending: segment.Tally{Bytes: pending}})
		fmt.Println(pending>>20, "MiB are pending, protected:", task.Protected())
	}
	// Output:
	// 1 MiB are pending, protected: false
	// 1024 MiB are pending, protected: true
	// 200 MiB are pending, protected: true
	// 1 MiB are pending, protected: false
}
