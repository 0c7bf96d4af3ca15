package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/penstock-go/penstock/spool"
)

const tailText = `It writes the last records of a spool, and with -f those that come, until it is interrupted: through all segments that begin and end
meanwhile. A running service is not delayed. Records that cannot be read are named on standard error, and so are
those of which a full spool has kept only the staged file: cat writes them.

Examples:
  spoolctl tail /var/spool/penstock/vpn
  spoolctl tail -f -n 0 -source 192.0.2.7 -format text /var/spool/penstock/vpn`

func tailCommand() *command {
	c := newCommand("tail", "writes the last records, and follows", "[-f] [-n N] [-source A] [-text S] [-format ndjson|raw|text] DIR", tailText)
	c.one = true
	f := new(filter)
	f.flags(c.flags)
	follow := c.flags.Bool("f", false, "wait for further records")
	n := c.flags.Uint64("n", 10, "begin this `NUMBER` of records before the end")
	form := c.flags.String("format", formNDJSON, "`ndjson|raw|text`: form of the records; raw is the payload alone")
	binary := c.flags.Bool("binary", false, "write to a terminal what could control it, too")
	c.do = func(ctx context.Context, to *output, dirs []string) (int, error) {
		d, err := spool.ReadDirectory(dirs[0])
		if err != nil {
			return 0, err
		}
		out, err := newRecordWriter(to.stdout, *form, d.Spool, *binary)
		if err != nil {
			return 0, err
		}
		last, err := lastRecord(ctx, d)
		if err != nil {
			return 0, err
		}
		after := last - min(last, *n)
		if f.first > 0 {
			after = f.first - 1
		}
		t := &tailing{to: to, out: out, filter: f, began: after}
		done := t.keepFlushing()
		err = t.run(ctx, dirs[0], &spool.TailOptions{Stop: !*follow})
		if ferr := done(); err == nil {
			err = ferr
		}
		if *follow && errors.Is(err, context.Canceled) {
			err = nil // the regular end of -f
		}
		return t.code, err
	}
	return c
}

// lastRecord returns the number of the last record. The directory's Next may be too small by some records.
func lastRecord(ctx context.Context, d *spool.Directory) (uint64, error) {
	last := d.Next - 1
	for r, err := range spool.TailDir(ctx, d.Dir, last, &spool.TailOptions{Stop: true}) {
		gap, missed := errors.AsType[*spool.GapError](err)
		switch {
		case missed:
			last = max(last, gap.Last)
		case err != nil:
			return 0, err
		default:
			last = r.Seq
		}
	}
	return last, nil
}

// tailing writes records as they are appended.
type tailing struct {
	to     *output
	out    *recordWriter
	filter *filter
	began  uint64 // the number of the record before the first one
	n      uint64
	code   int

	mu sync.Mutex // guards out
}

// keepFlushing flushes the output ten times a second until done is called. On a busy host, one write per record would cost more
// than reading the records.
func (t *tailing) keepFlushing() (done func() error) {
	flush := func() error {
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.out.flush()
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = flush() // the next write returns the error
			case <-stop:
				return
			}
		}
	}()
	return func() error {
		close(stop)
		<-stopped
		return flush()
	}
}

// write writes a record.
func (t *tailing) write(r *spool.Tailed) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out.write(r.Seq, &r.Record)
}

func (t *tailing) run(ctx context.Context, dir string, o *spool.TailOptions) error {
	for r, err := range spool.TailDir(ctx, dir, t.began, o) {
		gap, missed := errors.AsType[*spool.GapError](err)
		switch {
		case missed:
			if err := t.tellGap(dir, gap); err != nil {
				return err
			}
		case err != nil:
			return err
		case r.Seq > t.filter.last:
			return nil
		case t.filter.passes(r.Seq, &r.Record):
			if err := t.write(&r); err != nil {
				return err
			}
			if t.n++; t.n == t.filter.limit {
				return nil
			}
		}
	}
	return nil
}

// tellGap reports the records of a gap, unless the gap is at the beginning of the output and every destination has its records:
// then they were deleted.
func (t *tailing) tellGap(dir string, gap *spool.GapError) error {
	if gap.Gone && gap.First == t.began+1 {
		d, err := spool.ReadDirectory(dir) // read now, because more may have been delivered since the start
		if err != nil {
			return err
		}
		if gap.Last < firstOwed(d) {
			return nil
		}
	}
	t.code = exitDamaged
	t.to.tellMissing(missing{First: gap.First, Last: gap.Last, Why: gap.Error()})
	return nil
}
