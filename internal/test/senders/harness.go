// Package senders tests the protocols with acknowledgements against clients of other projects: go-lumber, which Beats uses, and
// two of Fluent's. It is a separate module, so that no other package has their dependencies.
package senders

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ingest/fluentforward"
	"github.com/penstock-go/penstock/ingest/lumberjack"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// framings are those of the tests' URLs.
var framings = map[string]ingest.Framing{"lumberjack": lumberjack.Framing, "fluent": fluentforward.Framing}

// Main is called by TestMain. In a child process it is the program that is killed.
func Main(m *testing.M) {
	if url := os.Getenv("PENSTOCK_LISTEN"); url != "" {
		if err := serve(url, os.Getenv("PENSTOCK_DIR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serve is the program that is killed: a listener, a spool and a shipper, until its input ends. With "drain" instead of a
// URL it drains the spool.
func serve(url, dir string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	dest, err := fileship.New(dir+"/out", nil)
	if err != nil {
		return err
	}
	sp, err := spool.Open(dir+"/spool", &spool.Options{Destinations: []string{"out"}, SegmentBytes: 1 << 20, SegmentAge: 200 * time.Millisecond, Logger: log})
	if err != nil {
		return err
	}
	sh, err := ship.New(sp, &ship.Options{Destinations: map[string]ship.Destination{"out": dest}})
	if err != nil {
		return err
	}
	if url == "drain" {
		return drained(dir, sh)
	}
	l, err := ingest.Listen(url, &ingest.Options{Framings: framings, Logger: log})
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	running.Go(func() { sh.Run(ctx) })
	running.Go(func() { l.Serve(sp.Intake()) })
	fmt.Println(l.Addr())
	io.Copy(io.Discard, os.Stdin)
	if err := l.Shutdown(ctx); err != nil {
		return err
	}
	cancel()
	running.Wait()
	return sp.Close()
}

func drained(dir string, sh *ship.Shipper) error {
	d, err := drain.New(&drain.Options{Dir: dir, Timeout: time.Minute})
	if err != nil {
		return err
	}
	if err := d.Add(drain.Class{Shipper: sh}); err != nil {
		return err
	}
	r, err := d.Drain(context.Background(), "test")
	if err != nil || r.ExitCode() != 0 {
		_ = r.WriteSummary(os.Stderr)
		return fmt.Errorf("drain: exit code %d, %v", r.ExitCode(), err)
	}
	return nil
}

// Client is one connection of a real sender.
type Client interface {
	// Send sends events and returns nil when they are acknowledged.
	Send(events []Event) error
	// Close ends the connection.
	Close() error
}

// Event is an event to send; a record must contain it.
type Event struct {
	N   int    `json:"n" msg:"n"`
	Pad string `json:"pad" msg:"pad"`
}

func numbered(i int) Event {
	return Event{i, strings.Repeat(string(rune('a'+i%26)), i%300)}
}

// Killed sends events to a program that is killed again and again. Every event that was acknowledged must be at the
// destination in the end, and twice only if the client has sent it twice.
func Killed(t *testing.T, url string, parse func(data []byte) (Event, error), dial func(addr string) (Client, error)) {
	const n, batch, kills = 20_000, 100, 20
	dir := t.TempDir()
	sent := make([]int, n)
	done := 0
	for round := 0; done < n; round++ {
		cmd := program(url, dir)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err1 := cmd.StdoutPipe()
		in, err2 := cmd.StdinPipe()
		if err := errors.Join(err1, err2, cmd.Start()); err != nil {
			t.Fatal(err)
		}
		addr, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			_ = cmd.Wait()
			t.Fatalf("the program ended by itself: %s", &stderr)
		}
		c, err := dial(strings.TrimSpace(addr))
		if err != nil {
			t.Fatal(err)
		}
		left := 1 + rand.IntN(n/batch/kills) // batches until the next one is killed
		for done < n {
			if left--; left <= 0 && round < kills {
				time.AfterFunc(time.Duration(rand.IntN(2000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
			}
			var events []Event
			for i := done; i < min(done+batch, n); i++ {
				events = append(events, numbered(i))
				sent[i]++
			}
			if err = c.Send(events); err != nil {
				break
			}
			done += len(events)
		}
		_ = c.Close()
		in.Close()
		if err != nil {
			_ = cmd.Process.Kill()
		}
		if err := cmd.Wait(); err != nil && done == n {
			t.Fatalf("the last program: %v\n%s", err, &stderr)
		}
	}
	if out, err := program("drain", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	compare(t, dir+"/out", sent, parse)
}

func program(url, dir string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PENSTOCK_LISTEN="+url, "PENSTOCK_DIR="+dir)
	return cmd
}

// compare looks for every event at the destination, and lets the auditor judge it.
func compare(t *testing.T, at string, sent []int, parse func([]byte) (Event, error)) {
	d, err := fileship.New(at, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]int, len(sent))
	if err := open.Records(t.Context(), d, nil, func(_ uint64, rec segment.Record) error {
		e, err := parse(rec.Data)
		if err != nil || e.N >= len(sent) || e != numbered(e.N) {
			t.Errorf("a record that was not sent: %.100s, %v", rec.Data, err)
			return err
		}
		got[e.N]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	lost, doubled, twice := 0, 0, 0
	for i, n := range got {
		switch {
		case n == 0:
			lost++
		case n > sent[i]:
			doubled++
		case n > 1:
			twice++
		}
	}
	if lost+doubled > 0 {
		t.Errorf("%d acknowledged events are lost, %d are there more often than they were sent", lost, doubled)
	}
	t.Logf("%d events; %d are there twice, because the client sent them again", len(got), twice)
	res, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Name: "out", Destination: d}}})
	if err != nil || res.Verdict != audit.Complete {
		t.Errorf("%+v, %v", res, err)
	}
}
