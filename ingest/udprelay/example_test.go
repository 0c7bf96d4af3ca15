package udprelay_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/penstock-go/penstock/ingest/udprelay"
)

// A relay in this process, and one datagram through it. Its target would be a collector that trusts the relay's PROXY headers.
func Example() {
	target, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer target.Close()
	probe, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	at := netip.MustParseAddrPort(probe.LocalAddr().String())
	probe.Close()

	relay, err := udprelay.NewUser(&udprelay.Options{Listen: []netip.AddrPort{at}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error)
	go func() { ended <- relay.Run(ctx) }()
	if err := relay.Use(ctx, []netip.AddrPort{netip.MustParseAddrPort(target.LocalAddr().String())}); err != nil {
		fmt.Println(err)
	}

	client, err := net.Dial("udp4", at.String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	fmt.Fprint(client, "hello")
	b := make([]byte, 100)
	n, _, err := target.ReadFrom(b)
	fmt.Printf("%d bytes of header, then %q, %v\n", n-5, b[n-5:n], err)

	stop()
	err = <-ended
	account, _ := relay.Account(context.Background())
	fmt.Println(account.In, "in,", account.Sent(), "out,", account.Lost(), "dropped,", err)
	// Output:
	// 28 bytes of header, then "hello", <nil>
	// 1 in, 1 out, 0 dropped, <nil>
}
