package udprelay_test

import (
	"context"
	"errors"
	"log"
	"net/netip"

	"github.com/penstock-go/penstock/ingest/udprelay"
)

// The kernel forwards if it can, which costs least; otherwise this process does.
func ExampleNewNFT() {
	ctx := context.Background()
	o := &udprelay.Options{
		Listen: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.5:5140")},
		Mode:   udprelay.Generations,
	}
	var relay udprelay.Engine
	relay, err := udprelay.NewNFT(ctx, o)
	if errors.Is(err, udprelay.ErrUnusable) {
		log.Print(err)
		relay, err = udprelay.NewUser(o)
	}
	if err != nil {
		log.Fatal(err)
	}
	if err := relay.Use(ctx, []netip.AddrPort{netip.MustParseAddrPort("10.0.1.7:5140"), netip.MustParseAddrPort("10.0.1.8:5140")}); err != nil {
		log.Fatal(err)
	}
	log.Print(relay.Run(ctx))
}
