package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"os"

	"github.com/penstock-go/penstock/internal/bench/result"
)

// page is the data of the page.
type page struct {
	Machine  machine
	Short    bool
	Sections []section
}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"bar": bar}).Parse(pageText))

// bar returns the length of the bar behind a cell, in percent of the longest of its column; -1 for a column without bars.
func bar(t result.Table, column int, c result.Cell) float64 {
	if !t.Columns[column].Bars {
		return -1
	}
	longest := 0.0
	for _, r := range t.Rows {
		longest = max(longest, r.Cells[column].Number)
	}
	if longest == 0 {
		return -1
	}
	return 100 * c.Number / longest
}

func (p *page) write(file string) error {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}
