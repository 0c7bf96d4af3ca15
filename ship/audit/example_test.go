package audit_test

import (
	"context"
	"fmt"

	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// A Watcher audits the same places again and again. Its Run does the same as this loop, in intervals.
func ExampleWatcher() {
	w, err := audit.NewWatcher(&audit.WatchOptions{Options: audit.Options{
		Places: []audit.Place{{Name: "idc", Destination: shiptest.Memory()}, {Name: "s3", Destination: shiptest.Memory()}},
		Expect: []string{"host-a"},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		s, err := w.Step(context.Background())
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, h := range s.Result.Hours {
			fmt.Println(h.Class, h.Hour, h.Verdict)
		}
		for _, o := range s.Overdue {
			fmt.Println("overdue:", o.Name)
		}
		fmt.Println(s.Result.Verdict)
	}
	// Output:
	// overdue: host-a
	// owed
	// overdue: host-a
	// owed
}

// An audit of two places. Here they are empty, which proves nothing, so the verdict is not complete.
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
		fmt.Println(f.Verdict, f.Code, f.Place, f.Spool, f.First, f.Last, f.Cure)
	}
	fmt.Println(r.Verdict)
	// Output: owed
}
