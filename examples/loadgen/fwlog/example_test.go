package fwlog_test

import (
	"fmt"

	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
)

// Foreign bytes become lines that prove themselves.
func ExampleStamp() {
	tally := fwlog.NewTally("trial", 3)
	for seq, text := range []string{"one", "two", "three"} {
		line := fwlog.Stamp([]byte(text), "trial", 0, uint64(seq))
		if seq == 1 {
			line[0] = 'T' // on its way
		}
		tally.Add(line)
	}
	fmt.Println(tally.Found, "found,", tally.Altered, "altered, missing:", tally.FirstMissing(10))
	// Output: 2 found, 1 altered, missing: [1]
}
