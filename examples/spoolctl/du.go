package main

import (
	"context"
	"fmt"
	"io"

	"github.com/penstock-go/penstock/examples/internal/terminal"
	"github.com/penstock-go/penstock/examples/internal/units"
	"github.com/penstock-go/penstock/spool"
)

const duText = `It adds up the files of spools by what they are for. Files of the kinds "damaged" and "kept" stay until the operator removes them: the
first may be the only copy of records, the second are what a repair has replaced.

Examples:
  spoolctl du /var/spool/penstock
  spoolctl du -json /var/spool/penstock | jq '.[] | {class, total_bytes}'`

func duCommand() *command {
	c := newCommand("du", "says what takes the space", "[-json] DIR…", duText)
	c.do = func(_ context.Context, to *output, dirs []string) (int, error) {
		var all []*usage
		for _, dir := range dirs {
			d, err := spool.ReadDirectory(dir)
			if err != nil {
				return 0, err
			}
			all = append(all, usageOf(d))
		}
		return 0, show(to, all, func(w io.Writer, u *usage) { u.write(w) })
	}
	return c
}

// usage is the result of the command du for a spool.
type usage struct {
	Dir   string      `json:"dir"`
	Class string      `json:"class"`
	Spool string      `json:"spool"`
	Kinds []kindUsage `json:"kinds"`
	Files int         `json:"files"`
	Bytes int64       `json:"total_bytes"`
}

type kindUsage struct {
	Kind  string `json:"kind"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
}

func usageOf(d *spool.Directory) *usage {
	u := &usage{Dir: d.Dir, Class: d.Class, Spool: d.Spool, Files: len(d.Files), Kinds: []kindUsage{}}
	by := map[string]*kindUsage{}
	for _, f := range d.Files {
		if by[f.Kind] == nil {
			by[f.Kind] = &kindUsage{Kind: f.Kind}
		}
		by[f.Kind].Files++
		by[f.Kind].Bytes += f.Size
		u.Bytes += f.Size
	}
	for _, kind := range spool.FileKinds() {
		if by[kind] != nil {
			u.Kinds = append(u.Kinds, *by[kind])
		}
	}
	return u
}

func (u *usage) write(w io.Writer) {
	fmt.Fprintf(w, "%s: class %s\n", terminal.Printable(u.Dir), terminal.Printable(u.Class))
	lines := make([]string, 0, len(u.Kinds)+1)
	for _, k := range u.Kinds {
		lines = append(lines, fmt.Sprintf("  %s\t%s\t%s", k.Kind, units.Size(k.Bytes), count(k.Files, "file")))
	}
	table(w, append(lines, fmt.Sprintf("  total\t%s\t%s", units.Size(u.Bytes), count(u.Files, "file")))...)
}
