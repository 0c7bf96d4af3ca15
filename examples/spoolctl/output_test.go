package main

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool/segment"
)

// FuzzTerminal: whatever a record holds, nothing that is written to a terminal can control it, and NDJSON keeps its meaning.
func FuzzTerminal(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[31m", "\u009b31m", "\u202e\u200b", "a\\b\"c", "\xff\xfe", "\U000e0001", "\r\n\t\x00\x7f"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		line, err := format.NewNDJSONWriter(strings.Repeat("0", 26)).Record(nil, 1, &segment.Record{Data: data})
		if err != nil {
			t.Fatal(err)
		}
		safe := escapeJSON(line)
		var a, b map[string]any
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(safe, &b); err != nil || a["data"] != b["data"] || a["data_b64"] != b["data_b64"] {
			t.Fatalf("%q became %q: %v", line, safe, err)
		}
		for _, c := range string(safe[:len(safe)-1]) + string(appendEscaped(nil, data)) + printable(string(data)) {
			if !unicode.IsPrint(c) && c != '\n' {
				t.Fatalf("%q has %q", safe, c)
			}
		}
		for _, c := range string(appendEscaped(nil, data)) {
			if !unicode.IsPrint(c) {
				t.Fatalf("%q", c)
			}
		}
	})
}

func TestText(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1 kB", 1_050_000: "1.05 MB", 999_999: "1 MB", 5e12: "5 TB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	if s := numbers([]segment.Range{{First: 1, Last: 3}, {First: 7, Last: 7}, {First: 9, Last: segment.Unbounded}}); s != "1-3,7,9…" {
		t.Error(s)
	}
}
