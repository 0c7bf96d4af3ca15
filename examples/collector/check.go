package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
)

const checkUsage = `It reads the command line, the environment and the file as the service does, and lists every mistake with its place. Then it
connects to each destination, authenticates, and writes and reads a small probe object below _tmp/; -offline leaves that out. It may
run beside a running service: it opens no socket and changes no spool. While it reads a spool that no service has open, it holds the
lock, so a service that starts at that moment is refused. The probe of a file: destination is written on this host.
`

// exitUnusable is the exit code of check for a destination that cannot be used.
const exitUnusable = 3

// checkExits are the exit codes of check.
var checkExits = []string{"0  everything can be used", "2  the settings have mistakes", "3  a destination cannot be used; the service would start, and keep the records for it"}

// checkOptions are the flags of check, in addition to those of the service.
type checkOptions struct {
	offline bool
	timeout time.Duration
}

// define defines the flags.
func (o *checkOptions) define(f *flag.FlagSet) {
	f.BoolVar(&o.offline, "offline", false, "do not try the destinations")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "wait for each destination this `TIME`")
}

// check is the command check. It returns the exit code.
func check(args []string, stdout, stderr io.Writer) int {
	var o checkOptions
	c, f := newConfig("collector check")
	o.define(f.FlagSet)
	f.FlagOnly("offline", "timeout")
	if f.Load(args, os.Environ(), "config") != nil {
		command().Find("check").Help(stderr)
		return 0
	}
	c.check(f)
	t := &findings{out: stdout}
	for _, w := range f.Warnings() {
		t.add(warning, "environment", w)
	}
	t.settings(c)
	if len(f.Mistakes()) == 0 {
		t.spools(c)
	}
	if !o.offline {
		t.destinations(c, o.timeout)
	}
	t.print()
	for _, err := range f.Mistakes() {
		fmt.Fprintf(stdout, "%s\n", err)
	}
	switch n := len(f.Mistakes()); {
	case n > 0:
		fmt.Fprintf(stdout, "\nthe settings have mistakes: %d\n", n)
		return exitUsage
	case t.count[mistake] > 0:
		fmt.Fprintf(stdout, "\nthe settings have mistakes: %d\n", t.count[mistake])
		return exitUsage
	case t.count[failed] > 0:
		fmt.Fprintf(stdout, "\ndestinations that cannot be used: %d; the service would start, and keep the records for them\n", t.count[failed])
		return exitUnusable
	}
	fmt.Fprintln(stdout, "\neverything can be used")
	return 0
}

// The results of a finding.
const (
	good    = "ok"
	skipped = "skipped"
	warning = "WARNING"
	failed  = "FAILED"
	mistake = "MISTAKE"
)

// findings are the rows of the table.
type findings struct {
	out   io.Writer
	mu    sync.Mutex
	rows  [][3]string
	count map[string]int
}

// add adds a row.
func (t *findings) add(result, what, detail string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == nil {
		t.count = map[string]int{}
	}
	t.count[result]++
	t.rows = append(t.rows, [3]string{result, what, strings.ReplaceAll(detail, "\n", "; ")})
}

// print prints the table.
func (t *findings) print() {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	for _, r := range t.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r[0], r[1], r[2])
	}
	_ = w.Flush() // stdout may be closed
}

// settings adds which settings were read, and from where.
func (t *findings) settings(c *config) {
	if c.file != "" {
		t.add(good, "file", c.file)
	}
	c.set.VisitAll(func(f *flag.Flag) {
		from := map[string]int{}
		for _, g := range c.set.Given(f.Name) {
			from[g.Source()]++
		}
		for _, source := range slices.Sorted(maps.Keys(from)) {
			t.add(good, f.Name, fmt.Sprintf("from %s%s", source, times(from[source])))
		}
	})
	if c.keyWarning != "" {
		t.add(warning, "sign", c.keyWarning)
	}
}

// times returns " (n values)", or "" for one value.
func times(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(" (%d values)", n)
}

// spools adds conflicts between the directories and the settings, without opening a spool.
func (t *findings) spools(c *config) {
	at := existing(c.spoolDir)
	if fi, err := os.Stat(at); err != nil || !fi.IsDir() {
		t.add(mistake, "spool", fmt.Sprintf("%s: %v", at, cmp.Or(err, errors.New("it is not a directory"))))
		return
	}
	if at != filepath.Clean(c.spoolDir) {
		t.add(warning, "spool", fmt.Sprintf("%s does not exist yet, and will be created below %s: is its volume mounted?", c.spoolDir, at))
	}
	left, _, err := leftClasses(c)
	if err != nil {
		t.add(mistake, "spool", err.Error())
	}
	for _, class := range slices.Concat(c.classes, left) {
		t.spool(c, class)
	}
	if _, err := shareDescriptors(c, fileLimit()); err != nil {
		t.add(mistake, "descriptors", err.Error())
	}
}

// spool adds pending records of a class for destinations that the settings do not name: the service would refuse to start.
func (t *findings) spool(c *config, class string) {
	dir := filepath.Join(c.spoolDir, class)
	in, err := spool.Inspect(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.add(good, "class "+class, "its spool does not exist yet")
		return
	case errors.Is(err, spool.ErrLocked):
		o := c.spoolOptions(class)
		if err := o.Check(dir); err != nil {
			t.add(mistake, "class "+class, fmt.Sprintf("no new process could take over the spool from the service that is using it: %v", err))
			return
		}
		t.add(good, "class "+class, "a service is using its spool; a new process could take it over")
		return
	case err != nil:
		t.add(failed, "class "+class, err.Error())
		return
	}
	owed := 0
	for _, name := range slices.Sorted(maps.Keys(in.Destinations)) {
		d := in.Destinations[name]
		if _, named := c.dests[name]; named || d.Forgotten || d.Pending.Records == 0 || slices.Contains(c.forget, name) {
			continue
		}
		owed++
		t.add(mistake, "class "+class, fmt.Sprintf("%d records are pending for destination %s, which the settings do not name: add it again, or give them up with -forget %s",
			d.Pending.Records, name, name))
	}
	if owed == 0 {
		t.add(good, "class "+class, fmt.Sprintf("its spool can be opened, %d records are kept there", in.Records))
	}
}

// destinations tries each destination, all at the same time.
func (t *findings) destinations(c *config, timeout time.Duration) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	places := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.dests)) {
		wg.Go(func() {
			d, err := open.Destination(context.Background(), c.dests[name], &open.Options{Logger: slog.New(&rows{t, "destination " + name})})
			if err != nil {
				return // reported as one of the mistakes
			}
			defer closeDestination(d)
			at := place(d)
			mu.Lock()
			other, twice := places[at]
			places[at] = name
			mu.Unlock()
			if twice && at != "" {
				t.add(mistake, "destination "+name, fmt.Sprintf("it is the same place as destination %s (%s): one copy would be counted as two", other, at))
				return
			}
			t.try(name, at, d, timeout)
		})
	}
	wg.Wait()
}

// try tries a destination.
func (t *findings) try(name, at string, d ship.Destination, timeout time.Duration) {
	checker, ok := d.(ship.Checker)
	if !ok {
		t.add(skipped, "destination "+name, "its driver has no check")
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	began := time.Now()
	err := checker.Check(ctx)
	took := time.Since(began).Round(time.Millisecond)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		t.add(failed, "destination "+name, fmt.Sprintf("%s: no result within %v: check address, network and firewall, or give it a longer -timeout: %v", at, timeout, err))
	case err != nil:
		t.add(failed, "destination "+name, fmt.Sprintf("%s: %v", at, err))
	default:
		t.add(good, "destination "+name, fmt.Sprintf("%s: a probe object was written, in %v", at, took))
	}
}

// rows is a log handler for a driver: its warnings become rows of the table.
type rows struct {
	t    *findings
	what string
}

func (r *rows) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (r *rows) WithAttrs([]slog.Attr) slog.Handler               { return r }
func (r *rows) WithGroup(string) slog.Handler                    { return r }

// Handle adds a row.
func (r *rows) Handle(_ context.Context, rec slog.Record) error {
	text := rec.Message
	rec.Attrs(func(a slog.Attr) bool {
		text += fmt.Sprintf(", %s: %v", a.Key, a.Value)
		return true
	})
	r.t.add(warning, r.what, text)
	return nil
}
