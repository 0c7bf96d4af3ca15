package drain_test

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/spool"
)

// A process that starts on an instance which is being drained must not receive again: its predecessor was killed in a drain, or the
// platform has announced the end before this process ran. It delivers what is in the spool, and ends.
func ExampleInterrupted() {
	ctx, dir := context.Background(), "/var/spool/penstock"
	idc, err := fileship.New("/srv/ingest", nil)
	check(err)
	sp, err := spool.Open(dir+"/vpn", &spool.Options{Class: "vpn", Destinations: []string{"idc"}})
	check(err)
	sh, err := ship.New(sp, &ship.Options{Destinations: map[string]ship.Destination{"idc": idc}})
	check(err)
	d, err := drain.New(&drain.Options{Dir: dir, OnSignal: drain.Drain, Timeout: 20 * time.Minute})
	check(err)

	trigger, resume, err := drain.Interrupted(dir)
	check(err)
	if notice, ending := d.Terminating(ctx); ending {
		trigger, resume = notice.Trigger, true
	}
	class, run := drain.Class{Shipper: sh}, func() (*drain.Report, error) { return d.Run(ctx) }
	if resume {
		run = func() (*drain.Report, error) { return d.Resume(trigger) }
	} else {
		udp, err := ingest.ListenUDP(":5140", nil)
		check(err)
		go udp.Serve(sp.Intake())
		class.Inputs = []drain.Input{udp}
	}
	check(d.Add(class))
	report, err := run()
	if err != nil {
		slog.Error("the report could not be written", "err", err)
	}
	os.Exit(report.ExitCode())
}
