package drain_test

import (
	"context"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/s3ship"
	"github.com/penstock-go/penstock/ship/sftpship"
	"github.com/penstock-go/penstock/spool"
)

// A complete service: it receives over UDP and TCP, spools on local disk, delivers to S3 and the datacenter, and ends
// without losing anything.
func Example() {
	ctx, logger := context.Background(), slog.Default()

	s3, err := s3ship.Open(ctx, "s3://logs/ingest?region=eu-central-1", &s3ship.Options{Logger: logger})
	check(err)
	idc, err := sftpship.Open(ctx, "sftp://ingest@idc.example:22/srv/ingest?key=/etc/penstock/key&known_hosts=/etc/penstock/known_hosts",
		&sftpship.Options{Logger: logger})
	check(err)

	sp, err := spool.Open("/var/spool/penstock/vpn", &spool.Options{
		Class: "vpn", Destinations: []string{"s3", "idc"}, Logger: logger,
	})
	check(err)
	sh, err := ship.New(sp, &ship.Options{
		Destinations: map[string]ship.Destination{"s3": s3, "idc": idc},
	})
	check(err)
	udp, err := ingest.ListenUDP(":5140", &ingest.UDPOptions{Logger: logger})
	check(err)
	tcp, err := ingest.ListenTCP(":5140", &ingest.TCPOptions{Logger: logger})
	check(err)

	d, err := drain.New(&drain.Options{
		Dir: "/var/spool/penstock", OnSignal: drain.Drain, Timeout: 20 * time.Minute, Logger: logger,
	})
	check(err)
	check(d.Add(drain.Class{Shipper: sh, Inputs: []drain.Input{udp, tcp}}))
	go udp.Serve(sp.Intake())
	go tcp.Serve(sp.Intake())

	report, err := d.Run(ctx) // until SIGTERM or SIGINT; then it drains, for at most Timeout
	if err != nil {
		logger.Error("the report could not be written", "err", err)
	}
	os.Exit(report.ExitCode())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
