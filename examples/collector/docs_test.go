package main

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of settings into the documentation")

// TestTable: the table in the documentation is the table of the flags. With -update it is written.
func TestTable(t *testing.T) {
	const file, begin, end = "../../internal/docs/configuration.md", "<!-- begin: made by go test ./examples/collector -run TestTable -update -->\n", "<!-- end -->"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(b), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the table", file)
	}
	_, set := newConfig("collector")
	want := head + begin + set.Table() + end + tail
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(b) != want {
		t.Errorf("%s is not what the flags say: run go test ./examples/collector -run TestTable -update", file)
	}
}
