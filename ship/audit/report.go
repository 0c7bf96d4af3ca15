package audit

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/penstock-go/penstock/internal/units"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// WriteText writes a summary for people: each chain on a line, then each finding with its cure. Programs should read
// the Result's JSON.
func (r *Result) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	width := 0
	for _, p := range r.Places {
		width = max(width, len(shown(p)))
	}
	var last object.Origin
	for i := range r.Chains {
		c := &r.Chains[i]
		if c.Class != last.Class {
			fmt.Fprintf(b, "class %s\n", c.Class)
		}
		if id := (object.Origin{Class: c.Class, Spool: c.Spool}); id != last {
			fmt.Fprintf(b, "  spool %s of %s\n", c.Spool, c.Instance)
			last = id
		}
		fmt.Fprintf(b, "    %-8s  %-*s  ", c.Verdict, width, shown(c.Place))
		if c.Last < max(1, c.First) {
			fmt.Fprint(b, "no records")
		} else {
			fmt.Fprintf(b, "records %d to %d in %s, %s", c.First, c.Last, count(c.Segments, "object"), units.Size(c.Stored))
		}
		if c.NotOwed > 0 {
			fmt.Fprintf(b, ", %d from before it joined are not owed here", c.NotOwed)
		}
		if c.Gaps > 0 {
			fmt.Fprintf(b, ", %d damaged before delivery", c.Gaps)
		}
		if c.Restored > 0 {
			fmt.Fprintf(b, ", %d restored by replay", c.Restored)
		}
		for cause, l := range c.Lost {
			if l.Records > 0 {
				fmt.Fprintf(b, ", %d lost (%s)", l.Records, segment.Cause(cause))
			}
		}
		if n := c.Filtered.Records; n > 0 {
			fmt.Fprintf(b, ", %d filtered on purpose", n)
		}
		if n := c.Made.Records; n > 0 {
			fmt.Fprintf(b, ", %d more made of those received", n)
		}
		if u := c.Unaccounted; u.Times > 0 {
			fmt.Fprintf(b, ", %d and at most %s more unaccounted for by %d sudden ends", u.Known.Records, units.Size(int64(u.AtMostBytes)), u.Times)
		}
		if x := c.Closed; x != nil {
			fmt.Fprintf(b, ", closed by %s on %s (%s): records that the spool kept after record %d are lost unless another place has them", shown(x.By), x.Time.Format(time.RFC3339), shown(x.Reason), x.After)
		} else if !c.Final {
			fmt.Fprintf(b, ", not final, last heard of %s ago", r.Time.Sub(c.Time).Round(time.Second))
		}
		fmt.Fprintln(b)
	}
	for i := range r.Findings {
		r.Findings[i].text(b, r.Time)
	}
	if r.Omitted > 0 {
		fmt.Fprintf(b, "\n… and %d findings more\n", r.Omitted)
	}
	if len(r.Chains) == 0 {
		fmt.Fprint(b, "no chain of manifests was found: is the prefix right?\n")
	}
	fmt.Fprintf(b, "\n%s: %s, %s, %s at %s", r.Verdict, count(uint64(len(r.Chains)), "chain"), count(r.Manifests, "manifest"),
		count(r.Objects, "object"), count(uint64(len(r.Places)), "place"))
	if n := len(r.Findings) + r.Omitted; n > 0 {
		fmt.Fprintf(b, "; %s", count(uint64(n), "finding"))
	}
	fmt.Fprintln(b)
	return b.Flush()
}

// text writes one finding. The cure comes last, because readers look for it.
func (f *Finding) text(b *bufio.Writer, now time.Time) {
	fmt.Fprintf(b, "\n%s: %s", f.Verdict, f.Code)
	if f.Place != "" {
		fmt.Fprintf(b, " at %s", shown(f.Place))
	}
	fmt.Fprintln(b)
	if f.Spool != "" {
		fmt.Fprintf(b, "  class %s, spool %s", f.Class, f.Spool)
		if f.Epoch > 0 {
			fmt.Fprintf(b, ", epoch %d", f.Epoch)
		}
		switch {
		case f.Last > 0:
			fmt.Fprintf(b, ", records %d to %d", f.First, f.Last)
		case f.First > 0:
			fmt.Fprintf(b, ", records from %d", f.First)
		}
		fmt.Fprintln(b)
	}
	if f.Key != "" {
		fmt.Fprintf(b, "  %s\n", shown(f.Key))
	}
	fmt.Fprintf(b, "  %s\n", shown(f.Detail))
	if f.Other != "" {
		fmt.Fprintf(b, "  compared with %s\n", shown(f.Other))
	}
	if !f.Since.IsZero() {
		fmt.Fprintf(b, "  since %s, %s ago\n", f.Since.Format(time.RFC3339), now.Sub(f.Since).Round(time.Second))
	}
	fmt.Fprintf(b, "  → %s\n", f.Cure)
	if f.replayable() {
		// Not with the names of the places: they are not always URLs, and never have the parameters of one.
		fmt.Fprintf(b, "    audit replay -from URL -to URL -class %s -spool %s -first %d -last %d\n", f.Class, f.Spool, f.First, f.Last)
	}
}

// shown returns a text that is safe to write to a terminal. Anyone with write access to a destination chooses the names
// there, and one with a newline or an escape sequence in it could claim that all is well.
func shown(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// replayable reports whether Replay is the cure.
func (f *Finding) replayable() bool {
	switch f.Code {
	case ObjectMissing, ObjectAltered, Behind:
		return f.First > 0 && f.Last > 0
	}
	return false
}

// count writes a number of things.
func count(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
