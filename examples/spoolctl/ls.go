package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/examples/internal/terminal"
	"github.com/penstock-go/penstock/examples/internal/units"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

const lsText = `It lists the segments with their records, sizes and states, and which destinations have them. Header and footer of each are read. A
segment is "sealed", "active" (a process writes to it, or the next one will), "unsealed" (a crash left it without its end), "staged" (only
its staged file is left), "blank" (prepared) or "unreadable". Damage within a segment shows when it is read: see verify.

Examples:
  spoolctl ls /var/spool/penstock/vpn
  spoolctl ls -files /var/spool/penstock/vpn
  spoolctl ls -json /var/spool/penstock/vpn | jq '.[].segments[] | select(.state=="unreadable")'`

func lsCommand() *command {
	c := newCommand("ls", "lists segments, or files", "[-files] [-json] DIR…", lsText)
	files := c.flags.Bool("files", false, "list every file, with what it is for")
	c.do = func(_ context.Context, to *output, dirs []string) (int, error) {
		var all []*listing
		for _, dir := range dirs {
			d, segments, err := readSegments(dir)
			if err != nil {
				return 0, err
			}
			l := &listing{Dir: dir, Class: d.Class, Spool: d.Spool}
			if *files {
				l.Files = d.Files
			} else {
				l.add(d, segments)
			}
			all = append(all, l)
		}
		return 0, show(to, all, func(w io.Writer, l *listing) { l.write(w, len(dirs) > 1) })
	}
	return c
}

// listing is the result of the command ls for a spool.
type listing struct {
	Dir      string                `json:"dir"`
	Class    string                `json:"class"`
	Spool    string                `json:"spool"`
	Segments []listed              `json:"segments,omitempty"`
	Files    []spool.DirectoryFile `json:"files,omitempty"`
}

// listed is a segment in a listing.
type listed struct {
	Segment uint64             `json:"segment"`
	State   spool.SegmentState `json:"state"`
	Epoch   uint32             `json:"epoch,omitempty"`
	First   uint64             `json:"first,omitempty"`
	Last    uint64             `json:"last,omitempty"`
	Records uint64             `json:"records"`
	Bytes   uint64             `json:"bytes"`
	Gaps    []segment.Range    `json:"gaps,omitempty"`
	Created time.Time          `json:"created,omitzero"`
	MinTime time.Time          `json:"min_time,omitzero"`
	MaxTime time.Time          `json:"max_time,omitzero"`
	Path    string             `json:"path,omitempty"`
	Size    int64              `json:"size"`
	Object  string             `json:"staged,omitempty"`
	// ObjectSize is the size of the staged file.
	ObjectSize int64    `json:"staged_size,omitempty"`
	Delivered  []string `json:"delivered,omitempty"` // the destinations that have it
	Problem    string   `json:"problem,omitempty"`
}

func (l *listing) add(d *spool.Directory, segments []*spool.SegmentFile) {
	for _, s := range segments {
		x := listed{
			Segment: s.Number, State: s.State, Epoch: s.Epoch, First: s.First, Last: s.Last, Records: s.Records, Bytes: s.Bytes, Gaps: s.Gaps,
			Created: s.Created, MinTime: s.MinTime, MaxTime: s.MaxTime, Path: s.Path, Size: s.Size, Object: s.Object, ObjectSize: s.ObjectSize,
			Problem: s.Problem,
		}
		if s.State == spool.SegmentUnreadable || s.State == spool.SegmentBlank {
			x.First, x.Last = 0, 0
		}
		for _, name := range slices.Sorted(maps.Keys(d.Destinations)) {
			if at := d.Destinations[name]; at.Chain.Segment >= s.Number && !at.Forgotten {
				x.Delivered = append(x.Delivered, name)
			}
		}
		l.Segments = append(l.Segments, x)
	}
}

func (l *listing) write(w io.Writer, heading bool) {
	if heading {
		fmt.Fprintf(w, "%s:\n", terminal.Printable(l.Dir))
	}
	var lines []string
	if l.Files != nil {
		lines = append(lines, "KIND\tSIZE\tCHANGED\tPATH")
		for _, f := range l.Files {
			lines = append(lines, fmt.Sprintf("%s\t%d\t%s\t%s", f.Kind, f.Size, stamp(f.Time), f.Path))
		}
		table(w, lines...)
		return
	}
	lines = append(lines, "SEGMENT\tSTATE\tRECORDS\tCOUNT\tPAYLOAD\tFILE\tSTAGED\tCREATED\tDELIVERED")
	var problems []string
	for _, s := range l.Segments {
		staged := "-"
		if s.Object != "" {
			staged = units.Size(s.ObjectSize)
		}
		records := "-"
		if s.First > 0 {
			records = span(s.First, s.Last)
		}
		lines = append(lines, fmt.Sprintf("%d\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s", s.Segment, s.State, records, s.Records, units.Size(s.Bytes), units.Size(s.Size), staged,
			stamp(s.Created), strings.Join(s.Delivered, ",")))
		if s.Problem != "" {
			problems = append(problems, fmt.Sprintf("segment %d: %s", s.Segment, s.Problem))
		}
	}
	table(w, lines...)
	for _, p := range problems {
		fmt.Fprintln(w, terminal.Paragraph(p))
	}
}
