package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchunit"

	"github.com/penstock-go/penstock/internal/bench/result"
)

// goBench makes tables from the output of go test -bench: one for each benchmark with sub-benchmarks, and one for all others.
// It returns an error for a benchmark that was skipped or left a contestant out.
func goBench(pkg string, out []byte) (tables []result.Table, err error) {
	groups := map[string][]*benchfmt.Result{}
	var order []string
	r := benchfmt.NewReader(bytes.NewReader(out), pkg)
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.Result:
			base, parts := rec.Name.Parts()
			name := ""
			if slices.ContainsFunc(parts, func(p []byte) bool { return p[0] == '/' }) {
				name = string(base)
			}
			if groups[name] == nil {
				order = append(order, name)
			}
			groups[name] = append(groups[name], rec.Clone())
		case *benchfmt.SyntaxError:
			err = errors.Join(err, rec)
		}
	}
	err = errors.Join(err, r.Err())
	for _, line := range strings.Split(string(out), "\n") {
		if l := strings.TrimSpace(line); strings.HasPrefix(l, "--- SKIP") || strings.Contains(l, "left out:") {
			err = errors.Join(err, fmt.Errorf("a contestant did not run: %s", l))
		}
	}
	for _, name := range order {
		tables = append(tables, tableOf(strings.TrimSuffix(pkg+" "+name, " "), groups[name]))
	}
	return tables, err
}

// tableOf returns a table with a column for each unit that occurs.
func tableOf(title string, results []*benchfmt.Result) result.Table {
	t := result.Table{Title: title}
	var unitsSeen []string
	for _, r := range results {
		for _, v := range r.Values {
			if u, _ := written(v); !slices.Contains(unitsSeen, u) {
				unitsSeen = append(unitsSeen, u)
			}
		}
	}
	for _, u := range unitsSeen {
		t.Columns = append(t.Columns, result.Column{Name: u, Bars: u == "MB/s"})
	}
	for _, r := range results {
		row := result.Row{Name: rowName(r.Name), Cells: make([]result.Cell, len(unitsSeen))}
		for _, v := range r.Values {
			u, n := written(v)
			row.Cells[slices.Index(unitsSeen, u)] = result.Cell{Text: short(n), Number: n}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// written returns a value as the benchmark printed it: the reader of its output converts ns to s and MB to B.
func written(v benchfmt.Value) (unit string, n float64) {
	if v.OrigUnit != "" {
		return v.OrigUnit, v.OrigValue
	}
	return v.Unit, v.Value
}

// short formats a number with four digits; a large one in its largest unit.
func short(n float64) string {
	if n < 1e4 {
		return strconv.FormatFloat(n, 'g', 4, 64)
	}
	return benchunit.Scale(n, benchunit.Decimal)
}

// rowName returns the name of a benchmark without the number of processors and, if it has parts, without the first name, which
// is in the title.
func rowName(n benchfmt.Name) string {
	base, parts := n.Parts()
	var s string
	for _, p := range parts {
		if p[0] == '/' {
			s += string(p[1:]) + " "
		}
	}
	if s == "" {
		return string(base)
	}
	return strings.TrimSuffix(s, " ")
}
