package audit_test

import (
	"context"
	"fmt"

	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// An audit of two places, here empty ones: nothing is no proof of anything, and so not complete.
func ExampleRun() {
	r, err := audit.Run(context.Background(), &audit.Options{
		Places: []audit.Place{{Name: "idc", Destination: shiptest.Memory()}, {Name: "s3", Destination: shiptest.Memory()}},
		Deep:   true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range r.Findings {
		fmt.Println(f.Verdict, f.Code, f.Place, f.Spool, f.First, f.Last, f.Do)
	}
	fmt.Println(r.Verdict)
	// Output: owed
}
