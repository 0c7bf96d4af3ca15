// Package result is the format in which the commands of this module write their measurements: tables, for people or as JSON for
// the command run, which collects them on a page.
package result

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// Table contains the measurements of several contestants under one load.
type Table struct {
	Title   string
	Columns []Column
	Rows    []Row
}

// Column is one kind of figure.
type Column struct {
	Name string
	Bars bool // shown as a bar on a page; longer is a larger number
}

// Row has the figures of one contestant, a cell for each column.
type Row struct {
	Name  string
	Cells []Cell
}

// Cell is a figure, as text and as a number.
type Cell struct {
	Text   string
	Number float64
}

// Num returns a cell for a number, formatted as in package fmt.
func Num(format string, v float64) Cell { return Cell{fmt.Sprintf(format, v), v} }

// Writer writes tables.
type Writer struct {
	to   io.Writer
	json bool
}

// NewWriter returns a Writer that writes tables for people or, if asJSON is set, one line of JSON for each.
func NewWriter(to io.Writer, asJSON bool) *Writer { return &Writer{to, asJSON} }

// Write writes a table.
func (w *Writer) Write(t Table) error {
	for _, r := range t.Rows {
		if len(r.Cells) != len(t.Columns) {
			return fmt.Errorf("table %q: %d cells of %s for %d columns", t.Title, len(r.Cells), r.Name, len(t.Columns))
		}
	}
	if w.json {
		return json.NewEncoder(w.to).Encode(t)
	}
	fmt.Fprintln(w.to, t.Title)
	tw := tabwriter.NewWriter(w.to, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, c := range t.Columns {
		fmt.Fprint(tw, "\t", c.Name)
	}
	fmt.Fprintln(tw, "\t")
	for _, r := range t.Rows {
		fmt.Fprint(tw, r.Name)
		for _, c := range r.Cells {
			fmt.Fprint(tw, "\t", c.Text)
		}
		fmt.Fprintln(tw, "\t")
	}
	fmt.Fprintln(tw)
	return tw.Flush()
}

// Read reads the tables that a Writer wrote as JSON.
func Read(r io.Reader) (tables []Table, err error) {
	d := json.NewDecoder(r)
	for {
		var t Table
		switch err := d.Decode(&t); {
		case err == io.EOF:
			return tables, nil
		case err != nil:
			return tables, fmt.Errorf("tables: %w", err)
		}
		tables = append(tables, t)
	}
}
