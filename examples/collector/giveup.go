package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

const giveUpUsage = `collector give-up acknowledges damage: records that were kept, and that this disk no longer returns.

  collector give-up -spool DIR -class CLASS                                     lists what is damaged
  collector give-up -spool DIR -class CLASS -segment N -records FIRST-LAST,… -confirm lose-COUNT-records

A drain is incomplete as long as damage is not given up, since the damaged files are the only copy of what they held.
Look at them first: they stay until you remove them, and GiveUp does not touch them. The collector may be running. For a
volume that is adopted, DIR is the directory in which its class lies, and the collector's log has segment and records.

`

// giveUp is the command of that name. It returns the exit code.
func giveUp(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("collector give-up", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, giveUpUsage)
		fs.PrintDefaults()
	}
	dir := fs.String("spool", "", "`DIR` with the spools, one sub-directory per class")
	class := fs.String("class", "", "`CLASS` whose records are damaged")
	number := fs.Uint64("segment", 0, "`N`umber of the segment")
	records := fs.String("records", "", "`RANGES` of sequence numbers that are given up: 100-116,200-210")
	confirm := fs.String("confirm", "", "`lose-COUNT-records`: how many records that is")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return exitUsage
	case *dir == "" || !classPattern.MatchString(*class) || fs.NArg() > 0:
		fmt.Fprint(stderr, giveUpUsage)
		return exitUsage
	}
	path := filepath.Join(*dir, *class)
	damages, err := spool.ReadDamages(path)
	if err != nil {
		fmt.Fprintln(stderr, "collector give-up:", err)
		return exitFailed
	}
	if *number == 0 {
		listDamages(stdout, *dir, *class, damages)
		return 0
	}
	ranges, count, err := parseRanges(*records)
	noted := false
	if err == nil {
		noted, err = known(damages, *number, ranges)
	}
	if want := fmt.Sprintf("lose-%d-records", count); err == nil && *confirm != want {
		err = fmt.Errorf("this gives up %d records of class %s in segment %d; say so with -confirm %s", count, *class, *number, want)
	}
	if err != nil {
		fmt.Fprintln(stderr, "collector give-up:", err)
		return exitUsage
	}
	if err := spool.GiveUp(path, *number, ranges); err != nil {
		fmt.Fprintln(stderr, "collector give-up:", err)
		return exitFailed
	}
	fmt.Fprintf(stdout, "class %s, segment %d: %d records are given up; they stay reported as damaged\n", *class, *number, count)
	if !noted {
		fmt.Fprintf(stdout, "  no damage of segment %d is on record in %s: this counts only if an adopter of the volume has reported it\n", *number, path)
	}
	return 0
}

// listDamages prints what is damaged, each with the command that gives it up.
func listDamages(w io.Writer, dir, class string, damages []spool.Damage) {
	if len(damages) == 0 {
		fmt.Fprintf(w, "class %s: no damage is on record\n", class)
	}
	for _, x := range damages {
		var list []string
		for _, r := range x.Ranges {
			list = append(list, fmt.Sprintf("%d-%d", r.First, r.Last))
		}
		fmt.Fprintf(w, "class %s, segment %d, records %s (%d): %s, found %s\n", class, x.Segment, strings.Join(list, ","), x.Records, x.Why,
			x.Found.Format("2006-01-02T15:04:05Z07:00"))
		for _, file := range x.Files {
			fmt.Fprintf(w, "  kept: %s\n", file)
		}
		switch {
		case x.GivenUp:
			fmt.Fprintln(w, "  given up")
		case len(x.Ranges) > 0:
			fmt.Fprintf(w, "  to give it up: collector give-up -spool %s -class %s -segment %d -records %s -confirm lose-%d-records\n",
				dir, class, x.Segment, strings.Join(list, ","), x.Records)
		}
	}
}

// known refuses to give up what is on record as damaged otherwise, or in another segment: sequence numbers are unique, so a
// number of the segment was mistyped. What is on no record here may be damaged all the same, since an adopter keeps its own:
// only then noted says so.
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

func parseRanges(s string) (ranges []segment.Range, count uint64, err error) {
	for part := range strings.SplitSeq(s, ",") {
		a, b, ok := strings.Cut(part, "-")
		if !ok {
			b = a
		}
		first, err1 := strconv.ParseUint(strings.TrimSpace(a), 10, 64)
		last, err2 := strconv.ParseUint(strings.TrimSpace(b), 10, 64)
		if err1 != nil || err2 != nil || first == 0 || last < first {
			return nil, 0, fmt.Errorf("-records %q: ranges of sequence numbers like 100-116,200-210 are needed", s)
		}
		if n := len(ranges); n > 0 && first <= ranges[n-1].Last {
			return nil, 0, fmt.Errorf("-records %q: ranges must ascend and not overlap", s)
		}
		ranges, count = append(ranges, segment.Range{First: first, Last: last}), count+last-first+1
	}
	return ranges, count, nil
}
