package shiptest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// A destination whose first answer is lost: the object is stored, the caller gets an error, and a second call finds the
// object instead of storing it twice.
func ExampleFaulty() {
	store := shiptest.Memory()
	d := shiptest.Faulty(store, func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.Put && c.N == 1 {
			return shiptest.FailAfter(errors.New("connection reset"))
		}
		return shiptest.Fault{}
	})
	o := ship.BytesObject("class=vpn/object", "spool", []byte("content"))
	for range 2 {
		_, err := d.Put(context.Background(), o, io.NewSectionReader(strings.NewReader("content"), 0, o.Size))
		fmt.Println(err, store.Keys())
	}
	// Output:
	// connection reset [class=vpn/object]
	// <nil> [class=vpn/object]
}
