package draintest_test

import (
	"context"
	"fmt"

	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
)

// The life of an instance that is chosen at a scale-in, and whose drain is complete.
func Example() {
	ctx := context.Background()
	group := draintest.NewGroup(nil)
	instance := group.Launch()
	fmt.Println(instance.State())

	group.ScaleIn()
	fmt.Println(instance.State())
	target, _ := instance.Get(ctx, "autoscaling/target-lifecycle-state")
	fmt.Println("its metadata says", target)

	action := asg.Action{Group: "group", Hook: "drain", Instance: instance.ID()}
	fmt.Println(group.Answer(ctx, action, asg.Heartbeat))
	fmt.Println(group.Answer(ctx, action, asg.Continue))
	answer, expired := instance.Answered()
	fmt.Println(answer, "in time:", !expired)
	// Output:
	// InService
	// Terminating:Wait
	// its metadata says Terminated
	// <nil>
	// <nil>
	// CONTINUE in time: true
}
