package drain_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// Another instance delivers the spool that a terminated instance has left on its volume.
func ExampleAdopt() {
	ctx := context.Background()
	tmp, err := os.MkdirTemp("", "adopt")
	check(err)
	defer os.RemoveAll(tmp)
	volume := filepath.Join(tmp, "volume")
	idc, err := fileship.Open(ctx, "file://"+filepath.Join(tmp, "idc"), nil)
	check(err)

	// The terminated instance.
	sp, err := spool.Open(volume, &spool.Options{Class: "vpn", Destinations: []string{"idc"}, SegmentBytes: 1 << 20, MaxBytes: 64 << 20})
	check(err)
	_, err = sp.Append(ctx, []segment.Record{{Data: []byte("one")}, {Data: []byte("two")}})
	check(err)
	check(sp.Close())

	in, err := spool.Inspect(volume)
	check(err)
	fmt.Println("owed to idc:", in.Destinations["idc"].Pending.Records)

	o := &drain.AdoptOptions{
		Work: filepath.Join(tmp, "work"), Destinations: map[string]ship.Destination{"idc": idc}, MaxBytes: 512 << 20,
	}
	report, err := drain.Adopt(ctx, volume, o)
	check(err)
	fmt.Println(report.Outcome, report.Classes["vpn"].Destinations["idc"].Delivered.Records)

	if _, err = drain.Adopt(ctx, volume, o); !errors.Is(err, spool.ErrAdopted) {
		log.Fatal(err)
	}
	fmt.Println("nothing left to adopt")
	// Output:
	// owed to idc: 2
	// delivered 2
	// nothing left to adopt
}
