package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/penstock-go/penstock/examples/internal/terminal"
	"github.com/penstock-go/penstock/examples/internal/units"
	"github.com/penstock-go/penstock/spool"
)

const statusText = `It says who has the spool open, how much is kept, what is pending for each destination, and what is wrong, as the small files in the
directory say it: no segment is read. Beside a running service the numbers are up to a second old.

Examples:
  spoolctl status /var/spool/penstock
  spoolctl status -json /var/spool/penstock/vpn | jq '.[].destinations'`

func statusCommand() *command {
	c := newCommand("status", "says what spools hold and owe", "[-json] DIR…", statusText)
	c.do = func(_ context.Context, to *output, dirs []string) (int, error) {
		code := 0
		var all []*status
		for _, dir := range dirs {
			d, err := spool.ReadDirectory(dir)
			if err != nil {
				return 0, err
			}
			s := newStatus(d)
			if s.wrong() {
				code = exitDamaged
			}
			all = append(all, s)
		}
		return code, show(to, all, func(w io.Writer, s *status) { s.write(w) })
	}
	return c
}

// status is the result of the command status for a spool.
type status struct {
	*spool.Directory
	NoFiles  *int  `json:"files,omitempty"` // instead of the list: see ls -files
	Segments int   `json:"segments"`
	Staged   int   `json:"staged"`
	Used     int64 `json:"used_bytes"`
	// Oldest is when the oldest segment file was last changed: no record has been pending for longer.
	Oldest time.Time `json:"oldest,omitzero"`
}

func newStatus(d *spool.Directory) *status {
	s := &status{Directory: d}
	for _, f := range d.Files {
		s.Used += f.Size
		switch f.Kind {
		case "segment":
			s.Segments++
			if s.Oldest.IsZero() || f.Time.Before(s.Oldest) {
				s.Oldest = f.Time
			}
		case "staged":
			s.Staged++
		}
	}
	return s
}

// wrong reports whether something needs the operator's attention.
func (s *status) wrong() bool {
	return slices.ContainsFunc(s.Damages, func(x spool.Damage) bool { return !x.GivenUp }) ||
		slices.ContainsFunc(s.Problems, func(p spool.Problem) bool { return !p.Harmless })
}

func (s *status) write(w io.Writer) {
	fmt.Fprintf(w, "%s: class %s, spool %s, epoch %d, written by %s\n", terminal.Printable(s.Dir), terminal.Printable(s.Class), terminal.Printable(s.Spool), s.Epoch, terminal.Printable(s.Instance))
	fmt.Fprintf(w, "  %s\n", terminal.Printable(s.state()))
	fmt.Fprintf(w, "  %s, %d staged, %s in %s, next record %d\n", count(s.Segments, "segment"), s.Staged, units.Size(s.Used), count(len(s.Files), "file"), s.Next)
	if s.Frozen != "" {
		fmt.Fprintf(w, "  frozen, so that nothing is deleted: %s\n", terminal.Printable(s.Frozen))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Destinations)) {
		x := s.Destinations[name]
		switch {
		case x.Forgotten:
			fmt.Fprintf(w, "  destination %s: given up\n", terminal.Printable(name))
		case x.Pending.Records == 0:
			fmt.Fprintf(w, "  destination %s: %s delivered (%s), nothing pending\n", terminal.Printable(name), count(x.Delivered.Records, "record"), units.Size(x.Delivered.Bytes))
		case !s.Adopted.IsZero(): // the adopter keeps its own counters
			fmt.Fprintf(w, "  destination %s: %s delivered (%s) before, and %s%s by the adopter\n", terminal.Printable(name), count(x.Delivered.Records, "record"),
				units.Size(x.Delivered.Bytes), count(x.Pending.Records, "record"), bytesOf(x.Pending.Bytes))
		default:
			fmt.Fprintf(w, "  destination %s: %s delivered (%s), %s pending%s\n", terminal.Printable(name), count(x.Delivered.Records, "record"),
				units.Size(x.Delivered.Bytes), count(x.Pending.Records, "record"), bytesOf(x.Pending.Bytes))
		}
	}
	for _, x := range s.Damages {
		given := ""
		if x.GivenUp {
			given = ", given up"
		}
		fmt.Fprintf(w, "  damaged: segment %d, records %s (%d)%s: %s\n", x.Segment, numbers(x.Ranges), x.Records, given, terminal.Paragraph(x.Why))
	}
	for _, p := range s.Problems {
		fmt.Fprintf(w, "  problem: %s: %s\n", terminal.Printable(p.Path), terminal.Paragraph(p.What))
	}
}

func bytesOf(n uint64) string {
	if n == 0 {
		return ""
	}
	return " (" + units.Size(n) + ")"
}

// state returns who has the spool.
func (s *status) state() string {
	switch {
	case s.Open:
		return "open in " + s.Holder
	case !s.Adopted.IsZero(): // even if its last process was killed, and left its name behind
		return "everything was delivered by " + s.AdoptedBy + " at " + stamp(s.Adopted)
	case s.Holder != "":
		return "not open, as far as this process can see; it was open in " + s.Holder
	case s.Clean:
		return "closed in order"
	}
	return "not open; the last process did not close it, so that the next one recovers it"
}
