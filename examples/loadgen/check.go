package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/examples/internal/bar"
	"github.com/penstock-go/penstock/examples/internal/cli"
	"github.com/penstock-go/penstock/examples/internal/units"
	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
	"github.com/penstock-go/penstock/examples/loadgen/paged"
	"github.com/penstock-go/penstock/examples/loadgen/report"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

var errNotAll = errors.New("not every line is there once, as it was sent")

// checking holds the settings of check.
type checking struct {
	at, files []string
	run       string
	sent      uint64
	class     string
	memory    int64
	temp      string
	out, page string
	quiet     bool

	reports []report.Report
	runs    []runOf
}

// runOf is a run to check.
type runOf struct {
	name string
	sent uint64
}

func checkCommand() *command {
	c := &command{
		name: "check", does: "counts which lines arrived",
		synopsis: []string{"-report FILE [-report FILE …] -at URL [-at URL …] [-class CLASS] [flags]", "-run ID -sent N -at URL [-at URL …] [flags]"},
		set:      cli.NewSet("loadgen check"),
		text: `Every object at each destination is read, of all spools, or of those of one class. Each destination must have every line of every run once, as it was sent. One JSON line is printed for each destination; on a terminal, a table.

Several machines: each writes a report, and one check adds them up. A line that arrived is recognised by its run and its number, whatever server took it in:

  loadgen check -report m1.json -report m2.json -at 's3://logs/ingest?region=eu-central-1' -at 'sftp://audit@idc.example/logs?key=/etc/penstock/key&known_hosts=/etc/penstock/known_hosts' -class vpn -page result.html

A run may be larger than memory: the numbers of the lines that were found take -memory at most, and the rest is in a temporary file of one bit a line. Lines that come in the order in which they were sent need neither.`,
	}
	o := new(checking)
	s := c.set
	s.List(&o.at, "at", "`URL` of a destination: "+open.Forms())
	s.List(&o.files, "report", "`FILE` that send or replay has written")
	s.Text(&o.run, "run", "`NAME` of a run without a report")
	s.Uint64Var(&o.sent, "sent", 0, "`N`umber of lines that the run without a report has sent")
	s.Text(&o.class, "class", "read only the objects of this `CLASS`")
	o.memory = 64 << 20
	s.Size(&o.memory, "memory", fmt.Sprintf("`BYTES` of memory for what was found, plain or with KiB, MiB or GiB; at least %d (default 64MiB)", paged.MinMemory))
	s.Text(&o.temp, "temp", "`DIR` of the temporary file (default the system's)")
	s.Text(&o.out, "out", "write the result with the reports to `FILE`, as JSON")
	s.Text(&o.page, "page", "write a page with plots to `FILE`, as HTML")
	s.BoolVar(&o.quiet, "quiet", false, "show no progress")
	c.do = func(ctx context.Context, to *output) error {
		o.complete(s)
		if err := c.refused(); err != nil {
			return err
		}
		return o.check(ctx, to)
	}
	return c
}

// complete reads the reports, and adds mistakes in the settings to s.
func (o *checking) complete(s *cli.Set) {
	if len(o.at) == 0 {
		s.Bad("at", "", "the flag is missing")
	}
	if o.memory < paged.MinMemory {
		s.Bad("memory", "", "%d: use %d at least", o.memory, paged.MinMemory)
	}
	from := map[string]string{}
	add := func(flag, item, name string, sent uint64) {
		if err := fwlog.CheckRun(name); err != nil {
			s.Bad(flag, item, "%w", err)
		}
		if sent > paged.MaxNumbers {
			s.Bad(flag, item, "%d lines: %d are the most", sent, uint64(paged.MaxNumbers))
		}
		if before, twice := from[name]; twice {
			s.Bad(flag, item, "run %s is in %s as well: the lines of two machines with one name cannot be told apart; give each its own -run, or none", name, before)
		}
		from[name] = item
		o.runs = append(o.runs, runOf{name, sent})
	}
	for _, path := range o.files {
		r, err := report.Read(path)
		if err != nil {
			s.Bad("report", path, "%w", err)
			continue
		}
		if r.Replay != nil && !r.Replay.Stamped {
			s.Bad("report", path, "its lines cannot be recognised: replay them with -stamp")
		}
		o.reports = append(o.reports, *r)
		add("report", path, r.Run, r.Sent)
	}
	switch {
	case o.run != "" && o.sent == 0, o.run == "" && o.sent > 0:
		s.Bad("run", "", "-run and -sent need each other")
	case o.run != "":
		add("run", "", o.run, o.sent)
	case len(o.files) == 0:
		s.Bad("report", "", "give -report, or -run and -sent")
	}
}

// check reads every object at each destination and counts the lines of the runs.
func (o *checking) check(ctx context.Context, to *output) error {
	result := &report.Check{Version: report.Version, Class: o.class, OK: true, Reports: o.reports}
	for _, u := range o.at {
		f := o.checkAt(ctx, to, u)
		result.Found = append(result.Found, f)
		result.OK = result.OK && f.OK()
		if err := show(to, &f); err != nil {
			return err
		}
	}
	result.Checked = time.Now().UTC()
	var errs []error
	if !result.OK {
		errs = append(errs, errNotAll)
	}
	if o.out != "" {
		errs = append(errs, report.WriteJSON(o.out, result))
	}
	if o.page != "" {
		errs = append(errs, report.WritePage(o.page, result, version()))
	}
	return errors.Join(errs...)
}

// show prints what was found: text on a terminal, otherwise a line of JSON. Only files contain the gaps.
func show(to *output, f *report.Found) error {
	if bar.IsTerminal(to.stdout) {
		_, err := fmt.Fprint(to.stdout, foundText(f))
		return err
	}
	short := *f
	short.Runs = map[string]report.FoundRun{}
	for name, r := range f.Runs {
		r.Gaps = nil
		short.Runs[name] = r
	}
	line, err := json.Marshal(short)
	if err == nil {
		_, err = fmt.Fprintf(to.stdout, "%s\n", line)
	}
	return err
}

// foundText formats a result for people.
func foundText(f *report.Found) string {
	verdict := "every line is there once, as it was sent"
	switch {
	case f.Error != "":
		verdict = f.Error
	case !f.OK():
		verdict = errNotAll.Error()
	}
	missing := "unknown"
	if f.Missing != nil {
		missing = units.Grouped(*f.Missing)
	}
	return fmt.Sprintf("%s\n  %s\n%14s  sent\n%14s  found, in %s objects of %d spools\n%14s  missing\n%14s  duplicated\n%14s  altered\n%14s  of others\n",
		f.At, verdict, units.Grouped(f.Sent), units.Grouped(f.Found), units.Grouped(f.Objects), f.Spools, missing, units.Grouped(f.Duplicate), units.Grouped(f.Altered), units.Grouped(f.Foreign))
}

// counter counts the lines of runs at one destination.
type counter struct {
	tallies map[string]*fwlog.Tally
	foreign uint64
	records atomic.Uint64
}

// add counts a record.
func (c *counter) add(data []byte) error {
	c.records.Add(1)
	t := c.tallies[string(fwlog.RunOf(data))]
	if t == nil {
		c.foreign++
		return nil
	}
	t.Add(data)
	return t.Err()
}

// checkAt counts the lines at one destination. Failed reads are retried. If something still cannot be read, the result contains
// the error, and the number of missing lines is unknown.
func (o *checking) checkAt(ctx context.Context, to *output, u string) report.Found {
	f := report.Found{At: u, Runs: map[string]report.FoundRun{}}
	c := &counter{tallies: map[string]*fwlog.Tally{}}
	store, err := paged.NewStore(o.memory, o.temp)
	if err == nil {
		defer store.Close()
		for _, r := range o.runs {
			f.Sent += r.sent
			var t *fwlog.Tally
			if t, err = fwlog.NewTallyIn(store, r.name, r.sent); err != nil {
				break
			}
			c.tallies[r.name] = t
		}
	}
	if err == nil {
		err = o.read(ctx, to, u, c, &f)
	}
	for _, r := range o.runs {
		if t := c.tallies[r.name]; t != nil {
			f.Runs[r.name] = sum(t, &err, len(o.runs) == 1, &f)
		}
	}
	f.Foreign = c.foreign
	if err != nil {
		f.Error = "not everything could be read: " + err.Error()
		f.Missing, f.FirstMissing = nil, nil
		for name, r := range f.Runs {
			r.Missing, r.FirstMissing, r.Gaps = nil, nil, nil
			f.Runs[name] = r
		}
	}
	return f
}

// sum adds the results of a tally to f.
func sum(t *fwlog.Tally, err *error, only bool, f *report.Found) report.FoundRun {
	missing := t.Missing()
	r := report.FoundRun{Sent: t.Sent(), Found: t.Found, Missing: &missing, Duplicate: t.Duplicate, Altered: t.Altered, FirstMissing: t.FirstMissing(5)}
	if missing > 0 {
		r.Gaps = make([]uint64, report.GapParts)
		t.Gaps(func(from, to uint64) bool { gap(r.Gaps, t.Sent(), from, to); return true })
	}
	if *err == nil {
		*err = t.Err()
	}
	f.Found, f.Duplicate, f.Altered = f.Found+r.Found, f.Duplicate+r.Duplicate, f.Altered+r.Altered
	total := missing
	if f.Missing != nil {
		total += *f.Missing
	}
	f.Missing = &total
	if only {
		f.FirstMissing = r.FirstMissing
	}
	return r
}

// gap adds a range of missing lines to the parts of the run that it overlaps.
func gap(parts []uint64, sent, from, to uint64) {
	n := uint64(len(parts))
	for from < to {
		part := from * n / sent // sent is at most 2^40
		end := min(to, ((part+1)*sent+n-1)/n)
		parts[part] += end - from
		from = end
	}
}

// read counts every record at a destination.
func (o *checking) read(ctx context.Context, to *output, u string, c *counter, f *report.Found) error {
	d, err := open.Destination(ctx, u, &open.Options{Logger: slog.Default()})
	if err != nil {
		return err
	}
	seen := &listed{Destination: d, spools: map[string]bool{}}
	done := func() {}
	if !o.quiet {
		done = o.watch(to, u, c, seen)
	}
	err = open.Records(ctx, seen, &open.RecordsOptions{Class: o.class}, func(_ uint64, r segment.Record) error { return c.add(r.Data) })
	done()
	f.Objects, f.Spools = seen.objects.Load(), len(seen.spools)
	if closer, ok := d.(io.Closer); ok {
		err = errors.Join(err, closer.Close())
	}
	return err
}

// watch draws the progress until done is called.
func (o *checking) watch(to *output, u string, c *counter, seen *listed) (done func()) {
	begin := time.Now()
	var sent uint64
	for _, r := range o.runs {
		sent += r.sent
	}
	plain := func() string {
		n := c.records.Load()
		return fmt.Sprintf("%s: %s records of %s objects, %s/s", u, units.Grouped(n), units.Grouped(seen.objects.Load()), units.Grouped(uint64(float64(n)/max(0.001, time.Since(begin).Seconds()))))
	}
	return start(to, func(int) []string {
		part := min(1, float64(c.records.Load())/float64(max(1, sent)))
		return []string{plain(), bar.Line(part, fmt.Sprintf("%3.0f %% of %s lines", 100*part, units.Grouped(sent)))}
	}, func() string { return "loadgen: " + plain() })
}

// listed is a destination that records which objects and spools were listed.
type listed struct {
	ship.Destination
	objects atomic.Uint64
	last    string
	spools  map[string]bool
}

// List implements ship.Lister. A listing that restarts after a failure repeats objects; each object is counted once, since keys
// come in order.
func (l *listed) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		lister, ok := l.Destination.(ship.Lister)
		if !ok {
			yield(ship.Entry{}, errors.New("this destination cannot list its objects"))
			return
		}
		for e, err := range lister.List(ctx, prefix) {
			if err == nil && !e.IsFolder() && e.Key > l.last {
				l.last = e.Key
				l.objects.Add(1)
				l.note(e.Key)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// note records the spool of an object.
func (l *listed) note(key string) {
	if k, ok := object.ParseKey(key); ok {
		l.spools[k.Spool] = true
	}
}
