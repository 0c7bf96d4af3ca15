package ingest_test

import (
	"context"
	"errors"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool"
)

// At SIGHUP this program replaces itself by the binary that has its name at that time, without losing a datagram. It has
// both roles: successor of the process that has started it, if that was a predecessor, and predecessor of the next.
func ExampleHandOver() {
	ctx := context.Background()
	var o ingest.Options
	inherited, err := ingest.Inherit() // nil without a predecessor
	if err != nil {
		log.Fatal(err)
	}
	if inherited != nil {
		if err := inherited.Take(ctx, "udp"); err != nil { // the configuration is valid: the predecessor may stop
			log.Fatal(err)
		}
		inherited.Apply("udp", &o)
	}
	l, err := ingest.Listen("udp://:5140", &o) // inherited, or bound
	if err != nil {
		log.Fatal(err) // the predecessor continues
	}

	var sp *spool.Spool
	if inherited == nil {
		if sp, err = spool.Open("/var/spool/penstock/vpn", nil); err != nil {
			log.Fatal(err)
		}
		go l.Serve(sp.Intake())
	} else {
		if err := inherited.Commit(ctx); err != nil {
			log.Fatal(err)
		}
		hold := ingest.NewHold(&ingest.HoldOptions{MemoryBytes: 128 << 20, SocketDrops: inherited.SocketDrops})
		go l.Serve(hold)
		inherited.Serving()                          // the predecessor now closes the spool
		for range time.Tick(20 * time.Millisecond) { // until the predecessor has closed it
			if sp, err = spool.Open("/var/spool/penstock/vpn", nil); err == nil {
				break
			}
			if !errors.Is(err, spool.ErrLocked) {
				log.Print(err) // keep trying: the held records are in memory only
			}
		}
		if err := hold.Attach(ctx, sp.Intake()); err != nil {
			log.Fatal(err)
		}
	}

	upgrade := make(chan os.Signal, 1)
	signal.Notify(upgrade, syscall.SIGHUP)
	for range upgrade {
		next := exec.Command(os.Args[0], os.Args[1:]...)
		next.Stdout, next.Stderr = os.Stdout, os.Stderr
		if err := ingest.HandOver(ctx, &ingest.Successor{Cmd: next, Listeners: map[string]ingest.Listener{"udp": l}}); err != nil {
			log.Print(err) // nothing has changed
			continue
		}
		if err := sp.Close(); err != nil { // in a service with a drain.Drainer: its HandOver
			log.Print(err)
		}
		return
	}
}
