package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/penstock-go/penstock/examples/internal/cli"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

const giveUpUsage = `With -spool and -class alone it lists the damage, with the command that gives up each.

A drain is incomplete as long as damage is not given up, because the damaged files are the only copy of what they held.
Examine them first: they stay until you remove them, and give-up does not touch them. The collector may be running. For a
volume that is being adopted, DIR is the directory that contains its class, and the collector's log names segment and records.
`

// giveUpFlags is the command line of give-up.
type giveUpFlags struct {
	dir, class, records, confirm string
	segment                      uint64
}

// giveUp is the command give-up. It returns the exit code.
func giveUp(args []string, stdout, stderr io.Writer) int {
	var o giveUpFlags
	if err := o.parse(args, stderr); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return exitUsage
	}
	fail := func(err error, code int) int {
		fmt.Fprintln(stderr, "collector give-up:", err)
		return code
	}
	path := filepath.Join(o.dir, o.class)
	damages, err := spool.ReadDamages(path)
	if err != nil {
		return fail(err, exitFailed)
	}
	if o.segment == 0 {
		listDamages(stdout, o.dir, o.class, damages)
		return 0
	}
	ranges, count, noted, err := o.check(damages)
	if err != nil {
		return fail(err, exitUsage)
	}
	if err := spool.GiveUp(path, o.segment, ranges); err != nil {
		return fail(err, exitFailed)
	}
	fmt.Fprintf(stdout, "class %s, segment %d: %d records are given up; they stay reported as damaged\n", o.class, o.segment, count)
	if !noted {
		fmt.Fprintf(stdout, "  no damage of segment %d is on record in %s: this counts only if exactly these records are found damaged, for example by an adopter of the volume\n", o.segment, path)
	}
	return 0
}

// flags are those of give-up.
func (o *giveUpFlags) flags() *flag.FlagSet {
	f := newFlagSet("collector give-up")
	f.StringVar(&o.dir, "spool", "", "`DIR` with the spools, one subdirectory per class")
	f.StringVar(&o.class, "class", "", "`CLASS` whose records are damaged")
	f.Uint64Var(&o.segment, "segment", 0, "`N`umber of the segment")
	f.StringVar(&o.records, "records", "", "`RANGES` of sequence numbers to give up: 100-116,200-210")
	f.StringVar(&o.confirm, "confirm", "", "`lose-COUNT-records`, with the number of these records")
	return f
}

// parse reads the flags, and prints their mistakes.
func (o *giveUpFlags) parse(args []string, stderr io.Writer) error {
	f, help := o.flags(), func() { command().Find("give-up").Help(stderr) }
	f.SetOutput(stderr)
	f.Usage = help
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.dir == "" || !classPattern.MatchString(o.class) || f.NArg() > 0 {
		help()
		return errFlags
	}
	return nil
}

// check returns the records to give up, if the damage on record allows it and the confirmation is correct. noted reports
// whether damage of the segment is on record.
func (o *giveUpFlags) check(damages []spool.Damage) (ranges []segment.Range, count uint64, noted bool, err error) {
	if ranges, count, err = parseRanges(o.records); err != nil {
		return nil, 0, false, err
	}
	if noted, err = known(damages, o.segment, ranges); err != nil {
		return nil, 0, noted, err
	}
	if want := fmt.Sprintf("lose-%d-records", count); o.confirm != want {
		return nil, 0, noted, fmt.Errorf("this gives up %d records of class %s in segment %d; to do so, add -confirm %s", count, o.class, o.segment, want)
	}
	return ranges, count, noted, nil
}

// listDamages prints each damage, with the command that gives its records up.
func listDamages(w io.Writer, dir, class string, damages []spool.Damage) {
	if len(damages) == 0 {
		fmt.Fprintf(w, "class %s: no damage is on record\n", class)
	}
	for _, x := range damages {
		var list []string
		for _, r := range x.Ranges {
			list = append(list, fmt.Sprintf("%d-%d", r.First, r.Last))
		}
		if len(list) == 0 {
			fmt.Fprintf(w, "class %s, segment %d: %s\n", class, x.Segment, x.Why)
		} else {
			fmt.Fprintf(w, "class %s, segment %d, records %s (%d): %s, found %s\n", class, x.Segment, strings.Join(list, ","), x.Records, x.Why,
				x.Found.Format("2006-01-02T15:04:05Z07:00"))
		}
		for _, file := range x.Files {
			fmt.Fprintf(w, "  kept: %s\n", file)
		}
		switch {
		case x.GivenUp:
			fmt.Fprintln(w, "  given up")
		case len(x.Ranges) > 0:
			fmt.Fprintf(w, "  to give it up: collector give-up -spool %s -class %s -segment %d -records %s -confirm lose-%d-records\n",
				cli.Word(dir), class, x.Segment, strings.Join(list, ","), x.Records)
		default:
			fmt.Fprintf(w, "  to acknowledge it: %s\n", moveNote(filepath.Join(dir, class), x))
		}
	}
}

// moveNote returns the commands that acknowledge a damage whose note cannot be read. They delete nothing, since the files may
// be the only copy of records.
func moveNote(spool string, x spool.Damage) string {
	note := cli.Word(filepath.Join(spool, "damaged", fmt.Sprintf("%016x.json", x.Segment)))
	if len(x.Files) == 0 {
		return fmt.Sprintf("mv -n %s ELSEWHERE/", note)
	}
	var files []string
	for _, file := range x.Files {
		files = append(files, cli.Word(file))
	}
	return fmt.Sprintf("cp -n %s ELSEWHERE/ && mv -n %s ELSEWHERE/", strings.Join(files, " "), note)
}

// known refuses ranges that differ from the damage on record for the segment, or that are on record in another segment:
// sequence numbers are unique, so the segment number must be mistyped. It accepts ranges of a segment without any damage on
// record, because an adopter records damage in its own notes. noted reports whether any damage of the segment is on record.
func known(damages []spool.Damage, number uint64, ranges []segment.Range) (noted bool, err error) {
	for _, r := range ranges {
		in, covered := uint64(0), false
		for _, x := range damages {
			noted = noted || x.Segment == number
			for _, d := range x.Ranges {
				if d.First <= r.Last && r.First <= d.Last && (in == 0 || x.Segment == number) {
					in = x.Segment
				}
				covered = covered || x.Segment == number && d.First <= r.First && r.Last <= d.Last
			}
		}
		switch {
		case covered:
		case in != 0 && in != number:
			return noted, fmt.Errorf("records %d to %d are damaged in segment %d, not in segment %d", r.First, r.Last, in, number)
		case noted || in == number:
			return noted, fmt.Errorf("records %d to %d are not on record as damaged in segment %d", r.First, r.Last, number)
		}
	}
	return noted, nil
}

// parseRanges reads the value of -records.
func parseRanges(s string) (ranges []segment.Range, count uint64, err error) {
	for part := range strings.SplitSeq(s, ",") {
		a, b, ok := strings.Cut(part, "-")
		if !ok {
			b = a
		}
		first, err1 := strconv.ParseUint(strings.TrimSpace(a), 10, 64)
		last, err2 := strconv.ParseUint(strings.TrimSpace(b), 10, 64)
		if err1 != nil || err2 != nil || first == 0 || last < first {
			return nil, 0, fmt.Errorf("-records %q: use ranges of sequence numbers such as 100-116,200-210", s)
		}
		if n := len(ranges); n > 0 && first <= ranges[n-1].Last {
			return nil, 0, fmt.Errorf("-records %q: ranges must ascend and not overlap", s)
		}
		ranges, count = append(ranges, segment.Range{First: first, Last: last}), count+last-first+1
	}
	return ranges, count, nil
}
