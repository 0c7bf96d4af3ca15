package shape_test

import (
	"fmt"
	"log"
	"time"

	"github.com/penstock-go/penstock/examples/loadgen/shape"
)

func ExampleParseProfile() {
	p, err := shape.ParseProfile("burst:rate=1000,to=4000,every=10s,length=2s")
	if err != nil {
		log.Fatal(err)
	}
	for _, at := range []time.Duration{0, 8 * time.Second, 10 * time.Second} {
		fmt.Printf("after %v: %.0f lines per second, %.0f lines are due\n", at, p.Rate(at), p.Due(at))
	}
	// Output:
	// after 0s: 1000 lines per second, 0 lines are due
	// after 8s: 4000 lines per second, 8000 lines are due
	// after 10s: 1000 lines per second, 16000 lines are due
}
