package main

import (
	"context"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

const catText = `It writes the records that the spool holds, in their order, delivered or not: from segments and, where these are gone or damaged, from
staged files. Records that are missing are named on standard error, with the files that may hold them, and the exit code is 1 then. What
was delivered everywhere and deleted is not missing. With -damaged, records that are nowhere else are taken from the files in damaged/.

Where standard output is a terminal, characters that could control it are escaped. -binary writes them as they are.

Examples:
  spoolctl cat /var/spool/penstock/vpn
  spoolctl cat -since 15m -source 192.0.2.0/24 -text error -format text /var/spool/penstock/vpn
  spoolctl cat -records 1000-2000 -format raw /var/spool/penstock/vpn > payloads
  spoolctl cat -segment 17 /var/spool/penstock/vpn | jq .data`

func catCommand() *command {
	c := newCommand("cat", "writes records", "[-since T] [-until T] [-source A] [-text S] [-format ndjson|raw|text] DIR", catText)
	c.one = true
	f := new(filter)
	f.flags(c.flags)
	form := c.flags.String("format", formNDJSON, "`ndjson|raw|text`: form of the records; raw is the payload alone")
	damaged := damagedFlag(c)
	binary := c.flags.Bool("binary", false, "write to a terminal what could control it, too")
	c.do = func(ctx context.Context, to *output, dirs []string) (int, error) {
		d, segments, err := readSegments(dirs[0])
		if err != nil {
			return 0, err
		}
		out, err := newRecordWriter(to.stdout, *form, d.Spool, *binary)
		if err != nil {
			return 0, err
		}
		code := warnUnreadable(to, segments, f)
		n := uint64(0)
		w := &walker{d: d, segments: segments, filter: f}
		if *damaged {
			if w.damaged, err = d.ReadDamaged(); err != nil {
				return 0, err
			}
		}
		w.each = func(_ *spool.SegmentFile, seq uint64, rec *segment.Record) error {
			if err := out.write(seq, rec); err != nil {
				return err
			}
			if n++; n == f.limit {
				return errEnough
			}
			return nil
		}
		w.miss = func(m missing) {
			code = exitDamaged
			to.tellMissing(m)
		}
		err = w.run(ctx)
		if ferr := out.flush(); err == nil {
			err = ferr
		}
		return code, err
	}
	return c
}

// damagedFlag defines the flag -damaged.
func damagedFlag(c *command) *bool {
	return c.flags.Bool("damaged", false, "take records that are nowhere else from the files in damaged/, which the spool could not use")
}

// tellMissing reports missing records on standard error.
func (to *output) tellMissing(m missing) {
	if to.json {
		_ = writeJSONLine(to.stderr, map[string]any{"missing": m})
		return
	}
	to.warn("%s", m.String())
}

// warnUnreadable reports the segments that cannot be read at all. It returns the exit code for them.
func warnUnreadable(to *output, segments []*spool.SegmentFile, f *filter) (code int) {
	for _, s := range segments {
		if s.State == spool.SegmentUnreadable && (f.segment == 0 || f.segment == s.Number) {
			code = exitDamaged
			path := s.Path
			if path == "" {
				path = s.Object
			}
			to.warn("segment %d cannot be read: %s: %s", s.Number, path, s.Problem)
		}
	}
	return code
}
