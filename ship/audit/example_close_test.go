package audit_test

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
)

// A job that waits for complete hours looks for a marker, which the auditor writes once an hour is complete.
func ExampleMark() {
	ctx, place := context.Background(), shiptest.Memory()
	r := &audit.Result{Time: time.Date(2026, 11, 22, 9, 5, 0, 0, time.UTC), Places: []string{"s3"}}
	for _, h := range []audit.HourReport{ // as in Result.Hours
		{Class: "vpn", Hour: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC), Verdict: audit.Complete},
		{Class: "vpn", Hour: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), Verdict: audit.Owed},
	} {
		key, before, err := audit.Mark(ctx, place, r, h)
		fmt.Println(key, before, err == nil)
	}
	fmt.Println(place.Keys()[0] == object.MarkerKey("vpn", object.HourOf(time.Date(2026, 11, 22, 8, 30, 0, 0, time.UTC))))
	// Output:
	// _complete/vpn/dt=2026-11-22/hour=08.json false true
	// _complete/vpn/dt=2026-11-22/hour=09.json false false
	// true
}

// A volume is lost: its spool's chains are closed, with a reason, at each place. Here nothing was ever delivered, so there is
// no chain to close, and the error says so.
func ExampleClose() {
	closings, err := audit.Close(context.Background(), &audit.CloseOptions{
		Places: []audit.Place{{Name: "s3", Destination: shiptest.Memory()}},
		Class:  "vpn", Spool: "4k7q0z1m9x2c3v5b6n8a0s1d2f",
		By: "operator@example", Reason: "volume vol-1 was deleted by mistake",
	})
	fmt.Println(len(closings), err != nil)
	// Output: 0 true
}
