package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/internal/bench/result"
)

const output = `goos: linux
pkg: example.org/x
BenchmarkOpen/segments=1000-2         	       1	  1000000 ns/op	 5.5 MB/s
BenchmarkOpen/segments=10000-2        	       1	 10000000 ns/op	 5.5 MB/s
BenchmarkOpen/segments=100000-2       	       1	100000000 ns/op	 6.5 MB/s
BenchmarkAdd-2	 100	 12.5 ns/op	 0 B/op	 0 allocs/op
PASS
`

func TestGoBench(t *testing.T) {
	tables, err := goBench("./x", []byte(output))
	if err != nil || len(tables) != 2 {
		t.Fatal(tables, err)
	}
	open, add := tables[0], tables[1]
	if open.Title != "./x Open" || len(open.Rows) != 3 || open.Rows[2].Name != "segments=100000" || open.Rows[2].Cells[0].Number != 1e8 || open.Rows[1].Cells[1].Text != "5.5" {
		t.Errorf("%+v", open)
	}
	if add.Title != "./x" || len(add.Rows) != 1 || add.Rows[0].Name != "Add" || add.Rows[0].Cells[2].Text != "0" {
		t.Errorf("%+v", add)
	}
	plots, err := plotsOf(open)
	if err != nil || len(plots) != 2 || !strings.HasPrefix(string(plots[0].SVG), "<svg") {
		t.Errorf("%d plots, %v", len(plots), err)
	}
	if plots, err := plotsOf(add); err != nil || len(plots) != 0 {
		t.Errorf("%d plots of what does not grow, %v", len(plots), err)
	}
}

// A benchmark that did not run is an error; the table must not just lack a row.
func TestContestantMissing(t *testing.T) {
	for _, line := range []string{"--- SKIP: BenchmarkS3", "    s3_test.go:12: left out: rclone is neither installed nor to be had"} {
		if _, err := goBench("./x", []byte(output+line+"\n")); err == nil {
			t.Errorf("%q is no error", line)
		}
	}
	top, err := root()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]command{
		"nothing matches": bench("./internal/hist", "NoSuchBenchmark"),
		"no such package": bench("./internal/nothing", "."),
		"no contestant":   {program: "peers", short: []string{"-only=nobody"}},
	} {
		if tables, err := c.run(t.Context(), top, true); err == nil {
			t.Errorf("%s: %v", name, tables)
		}
	}
	if _, err := choose([]string{"spool", "spoool"}); err == nil {
		t.Error("an unknown part is accepted")
	}
}

func TestPage(t *testing.T) {
	tables, err := goBench("./x", []byte(output))
	if err != nil {
		t.Fatal(err)
	}
	plots, err := plotsOf(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	p := page{Short: true, Sections: []section{{
		Title: "A part", Failed: []string{"nobody <ran>"}, Tables: []shown{{tables[0], "go test", plots}, {tables[1], "go test", nil}},
	}}}
	file := filepath.Join(t.TempDir(), "page.html")
	if err := p.write(file); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"segments=100000", "nobody &lt;ran&gt;", "--part:85%", "currentColor", "The times mean nothing"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, never := range []string{"http://", "https://", "src=", "ZgotmplZ"} {
		if strings.Contains(strings.ReplaceAll(string(b), "http://www.w3.org/", ""), never) {
			t.Errorf("the page loads something from elsewhere: %q", never)
		}
	}
}

func TestTables(t *testing.T) {
	var b bytes.Buffer
	table := result.Table{Title: "T", Columns: []result.Column{{Name: "n", Bars: true}}, Rows: []result.Row{{Name: "r", Cells: []result.Cell{result.Num("%.1f", 2)}}}}
	if err := result.NewWriter(&b, true).Write(table); err != nil {
		t.Fatal(err)
	}
	if back, err := result.Read(&b); err != nil || len(back) != 1 || back[0].Rows[0].Cells[0].Text != "2.0" {
		t.Errorf("%v, %v", back, err)
	}
	table.Columns = nil
	if err := result.NewWriter(&b, true).Write(table); err == nil {
		t.Error("a row with more cells than columns is written")
	}
}
