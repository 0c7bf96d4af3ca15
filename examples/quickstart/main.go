// Quickstart shows the whole path of the records on one machine, with nothing installed: it starts an S3 endpoint and an SFTP
// server on loopback, runs two classes of traffic through Penstock, takes one destination down for some seconds in the middle,
// drains, reads everything back from both destinations, and prints the balance. It exits with 0 only if no record is missing,
// duplicated or altered.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/examples/internal/units"
)

func main() {
	records := flag.Int("records", 300_000, "records to send, over both classes")
	rate := flag.Int("rate", 40_000, "records per second, over both classes")
	dir := flag.String("dir", "", "directory to work in (default: a temporary one, kept)")
	showVersion := flag.Bool("version", false, "print the version and exit")
	flag.Parse()
	if *showVersion {
		fmt.Println("quickstart", version())
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *dir, uint64(*records), *rate); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, records uint64, rate int) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "penstock-quickstart-"); err != nil {
			return err
		}
	}
	// The log goes to a file, because the terminal is needed for the view.
	logFile, err := os.OpenFile(filepath.Join(dir, "quickstart.log"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	defer logFile.Close()
	log := slog.New(slog.NewTextHandler(logFile, nil))
	slog.SetDefault(log) // readBack uses it

	v := newView()
	w, err := build(ctx, dir, log)
	if err != nil {
		return err
	}
	defer w.close()

	each := records / uint64(len(w.classes))
	act := &act{v: v, w: w, each: each, stage: "sending"}
	act.event("classes vpn (UDP) and web (TCP); destinations s3 and idc (SFTP)")
	end := act.watch()
	defer end()

	send, cancel := context.WithCancel(ctx)
	defer cancel()
	sent := make(chan error, len(w.classes))
	for _, c := range w.classes {
		go func() { sent <- c.send(send, each, rate/len(w.classes)) }()
	}
	outage, err := act.outage(ctx, time.Duration(each)*time.Second/time.Duration(max(1, rate/len(w.classes))))
	if err != nil {
		return err
	}
	for range w.classes {
		if err := <-sent; err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return interrupted(ctx, w, dir)
	}
	act.event(fmt.Sprintf("sent %s records; draining", units.Grouped(each*uint64(len(w.classes)))))
	act.set("draining")
	report, err := w.drainer.Drain(ctx, "quickstart")
	if err != nil {
		return err
	}
	act.set("reading back")
	act.event("drained: " + string(report.Outcome) + "; reading everything back from both destinations")
	found, err := w.readBack(ctx, each)
	end()
	if err != nil {
		return err
	}
	return conclude(dir, w, report, found, outage, each)
}

// interrupted ends the demonstration early: afterwards everything that the listeners have received is in the spools.
func interrupted(ctx context.Context, w *world, dir string) error {
	if _, err := w.drainer.Stop(context.WithoutCancel(ctx), "interrupted"); err != nil {
		return fmt.Errorf("interrupted: %w", err)
	}
	return errors.New("interrupted; the records received are in " + filepath.Join(dir, "spool"))
}

// conclude prints the balance, and where the objects are.
func conclude(dir string, w *world, report *drain.Report, found []result, outage time.Duration, each uint64) error {
	var b bytes.Buffer
	b.WriteByte('\n')
	if err := report.WriteSummary(&b); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\nThe objects:   %s\n               %s\n", w.s3Dir, w.idcDir)
	fmt.Fprintf(&b, "The report:    %s\nThe log:       %s\n", filepath.Join(dir, "spool", "report.json"), filepath.Join(dir, "quickstart.log"))
	fmt.Fprintf(&b, "Prove it:      go run ./examples/audit -at '%s' -at '%s'\n", fileURL(w.s3Dir, "demo", "logs"), fileURL(w.idcDir, "logs"))
	if example := w.example(); example != "" {
		fmt.Fprintf(&b, "Have a look:   zstd -dc '%s' | head -3\n", example)
	}
	fmt.Fprintf(&b, "\nidc was away for %.1f s in the middle of it. What was sent, and what both destinations have now:\n\n", outage.Seconds())
	ok := table(&b, found, each) && report.Outcome == drain.Delivered
	if ok {
		fmt.Fprintln(&b, "\nnothing lost, nothing doubled")
	}
	if _, err := os.Stdout.Write(b.Bytes()); err != nil {
		return err
	}
	if !ok {
		return errors.New("the balance does not close: see above")
	}
	return nil
}

// table prints the result. It comes last, so that it stays visible on the screen.
func table(b *bytes.Buffer, found []result, each uint64) (ok bool) {
	ok = true
	fmt.Fprintf(b, "%-6s %-5s %10s %10s %10s %10s %10s\n", "class", "at", "sent", "found", "missing", "doubled", "altered")
	for _, f := range found {
		fmt.Fprintf(b, "%-6s %-5s %10s %10s %10s %10s %10s\n", f.class, f.dest,
			units.Grouped(each), units.Grouped(f.Found), units.Grouped(f.Missing()), units.Grouped(f.Duplicate), units.Grouped(f.Altered+f.Foreign))
		ok = ok && f.OK() && f.Foreign == 0
	}
	return ok
}

// fileURL returns the URL of a directory, whatever characters its path contains.
func fileURL(elem ...string) string {
	return (&url.URL{Scheme: "file", Path: filepath.Join(elem...)}).String()
}

// act holds what the view shows while the demonstration runs.
type act struct {
	v    *view
	w    *world
	each uint64

	mu     sync.Mutex
	stage  string
	events []string
}

func (a *act) set(stage string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stage = stage
}

func (a *act) event(e string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, fmt.Sprintf("%5.1f s  %s", time.Since(a.v.begin).Seconds(), e))
	if !a.v.live {
		fmt.Fprintln(a.v.out, a.events[len(a.events)-1])
	}
}

// watch draws the scene until the caller calls end.
func (a *act) watch() (end func()) {
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for last := false; !last; {
			select {
			case <-tick.C:
			case <-done:
				last = true
			}
			s := a.w.scene(a.each)
			a.mu.Lock()
			s.stage, s.events = a.stage, append([]string(nil), a.events...)
			a.mu.Unlock()
			a.v.show(s)
		}
	}()
	return sync.OnceFunc(func() { close(done); <-gone })
}

// outage takes the idc down for the middle third of the sending time, at most eight seconds.
func (a *act) outage(ctx context.Context, sending time.Duration) (time.Duration, error) {
	wait := func(d time.Duration) {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
	wait(sending / 3)
	begin := time.Now()
	a.w.idcDown(true)
	a.w.sftp.Stop()
	a.event("idc goes away: its server is stopped, its connections are cut")
	wait(min(sending/3, 8*time.Second))
	if err := a.w.sftp.Restart(); err != nil {
		return 0, err
	}
	a.w.idcDown(false)
	a.event("idc is back")
	return time.Since(begin), nil
}

// version returns the versions of this program's module, with the commit if the build recorded it, and of Go.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown version"
	}
	return info.Main.Version + " " + info.GoVersion
}
