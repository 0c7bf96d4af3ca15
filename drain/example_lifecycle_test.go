package drain_test

import (
	"context"
	"errors"
	"io/fs"
	"log"
	"os"
	"time"

	"github.com/penstock-go/penstock/drain"
)

// decommission is a program's own platform: on bare metal an operator creates a file to take a host away, and waits for
// another file that says that the disk may be wiped.
type decommission struct{ asked, done string }

var _ drain.Lifecycle = decommission{}

// Notice reports whether the file exists.
func (d decommission) Notice(context.Context) (drain.Notice, bool, error) {
	_, err := os.Stat(d.asked)
	if errors.Is(err, fs.ErrNotExist) {
		return drain.Notice{}, false, nil
	}
	return drain.Notice{Trigger: "decommissioned", Deadline: time.Now().Add(time.Hour)}, err == nil, err
}

// Update does nothing.
func (d decommission) Update(context.Context, drain.Status) {}

// Finish releases the disk only after a complete drain. In every other case the host is retained.
func (d decommission) Finish(_ context.Context, r *drain.Report) (retained bool, err error) {
	if r.Intent != drain.Drain || r.Outcome != drain.Delivered {
		return true, nil
	}
	return false, os.WriteFile(d.done, r.JSON(), 0o600)
}

// A platform without a package of its own needs three methods.
func ExampleLifecycle() {
	d, err := drain.New(&drain.Options{
		Dir:        "/var/spool/penstock",
		Lifecycles: []drain.Lifecycle{drain.Systemd(nil), decommission{"/run/decommission", "/run/wipe-me"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	// d.Add(...) as in the package example.
	report, err := d.Run(context.Background())
	if err != nil {
		log.Print(err)
	}
	os.Exit(report.ExitCode())
}
