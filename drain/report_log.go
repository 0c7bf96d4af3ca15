package drain

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/steadylog"
	"github.com/penstock-go/penstock/internal/units"
	"github.com/penstock-go/penstock/spool/segment"
)

// log writes the report to the log: one line for the report, and one for each class, for what a class has lost, for
// each damage, for each destination, and for each adopted volume that is not delivered. Each kind of line has its own
// message, so that a search finds it.
func (r *Report) log(ctx context.Context, log *slog.Logger, file string) {
	l := reportLog{steadylog.Keep(ctx), log, slog.LevelInfo}
	if r.Outcome != Delivered && r.Outcome != Stopped {
		l.worst = slog.LevelError
	}
	l.log.Log(l.ctx, l.worst, "drain: report", "intent", r.Intent, "outcome", r.Outcome, "trigger", r.Trigger,
		"took", r.Ended.Sub(r.Started).Round(time.Millisecond), "left", r.segmentsLeft(), "file", file)
	for _, name := range slices.Sorted(maps.Keys(r.Classes)) {
		l.class(name, r.Classes[name])
	}
	for _, a := range r.Adoptions {
		l.line("drain: report: an adopted volume is not delivered and must be kept", true, a.Why, "dir", a.Dir, "class", a.Class, "spool", a.Spool, "pending", a.describePending())
	}
}

// essence is equal for two reports that say the same.
func (r *Report) essence() string {
	s := fmt.Sprint(r.Outcome, len(r.Left), len(r.Adoptions), len(r.Errors))
	for _, name := range slices.Sorted(maps.Keys(r.Classes)) {
		c := r.Classes[name]
		s += fmt.Sprint(name, c.Received, c.Made, c.Kept, c.Filtered, c.Lost, c.Damaged, c.inMemory, c.Err)
		for _, dest := range slices.Sorted(maps.Keys(c.Destinations)) {
			d := c.Destinations[dest]
			s += fmt.Sprint(dest, d.Delivered, d.Pending, d.Verified)
		}
	}
	return s
}

// reportLog writes the lines of one report.
type reportLog struct {
	ctx   context.Context
	log   *slog.Logger
	worst slog.Level // of the lines with bad news
}

// line writes a line, at least as a warning if bad is true.
func (l *reportLog) line(msg string, bad bool, err string, args ...any) {
	at := slog.LevelInfo
	if bad || err != "" {
		at = max(l.worst, slog.LevelWarn)
	}
	if err != "" {
		args = append(args, "err", err)
	}
	l.log.Log(l.ctx, at, msg, args...)
}

func (l *reportLog) class(name string, c ClassReport) {
	args := []any{
		"class", name, "received", c.Received.Records, "kept", c.Kept.Records, "lost", lostRecords(c), "damaged", c.Damaged.Records,
	}
	if c.Filtered.Records > 0 || c.Made.Records > 0 {
		args = append(args, "filtered", c.Filtered.Records, "made", c.Made.Records)
	}
	if c.Lost != (segment.Losses{}) {
		args = append(args, "lost_to", c.Lost.Text())
	}
	l.line("drain: report: class", c.Damaged.Records > 0, c.Err, args...)
	if c.LostInEnd > 0 {
		l.log.Log(l.ctx, slog.LevelError, "drain: report: records were LOST during the end, because the spool was full or the time was up",
			"class", name, "records", c.LostInEnd, "lost_to", c.LostMeanwhile.Text())
	}
	if c.inMemory > 0 {
		l.log.Log(l.ctx, slog.LevelError, "drain: report: records are in memory only, because the disk does not take them", "class", name, "records", c.inMemory)
	}
	for _, x := range c.Damages {
		at := slog.LevelError
		if x.GivenUp {
			at = slog.LevelInfo
		}
		l.log.Log(l.ctx, at, "drain: report: damage", "class", name, "segment", x.Segment, "ranges", x.Ranges,
			"records", x.Records, "bytes", x.Bytes, "files", x.Files, "given_up", x.GivenUp, "why", x.Why)
	}
	for _, dest := range slices.Sorted(maps.Keys(c.Destinations)) {
		d := c.Destinations[dest]
		l.line("drain: report: destination", d.Pending.Records > 0, d.Err, "class", name, "destination", dest, "delivered", d.Delivered.Records,
			"pending", units.Records(d.Pending.Records, d.Pending.Bytes), "verified", d.Verified, "restored", d.Restored)
	}
}
