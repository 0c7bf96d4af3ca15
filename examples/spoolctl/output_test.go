package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/penstock-go/penstock/examples/internal/terminal"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// FuzzTerminal: whatever a record contains, nothing that is written to a terminal can control it, and NDJSON keeps its meaning.
func FuzzTerminal(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[31m", "\u009b31m", "\u202e\u200b", "a\\b\"c", "\xff\xfe", "\U000e0001", "\r\n\t\x00\x7f"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		line, err := format.NewNDJSONWriter(strings.Repeat("0", 26)).Record(nil, 1, &segment.Record{Data: data})
		if err != nil {
			t.Fatal(err)
		}
		safe := terminal.EscapeJSON(line)
		var a, b map[string]any
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(safe, &b); err != nil || a["data"] != b["data"] || a["data_b64"] != b["data_b64"] {
			t.Fatalf("%q became %q: %v", line, safe, err)
		}
		for _, c := range string(safe[:len(safe)-1]) + string(appendEscaped(nil, data)) + terminal.Printable(string(data)) {
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
	if s := numbers([]segment.Range{{First: 1, Last: 3}, {First: 7, Last: 7}, {First: 9, Last: segment.Unbounded}}); s != "1-3,7,9…" {
		t.Error(s)
	}
}

// FuzzObject: a staged file and its record may contain anything, because a volume may come from elsewhere.
func FuzzObject(f *testing.F) {
	rec := func(format, codec string, raw int64, gaps ...segment.Range) *spool.StageRecord {
		r := &spool.StageRecord{First: 1, Last: 9, Gaps: gaps, RawBytes: raw}
		r.Format, r.Codec = format, codec
		return r
	}
	line := `{"seq":1,"ts":"2026-11-22T08:00:00.000000001Z","src":"","data":"x","spool":"` + strings.Repeat("0", 26) + "\"}\n"
	f.Add([]byte(line), "ndjson", "none", int64(1000), uint64(0), uint64(0))
	f.Add([]byte("a\nb\n"), "lines", "none", int64(1000), uint64(1), uint64(1))
	f.Add([]byte("a\nb\n"), "lines", "none", int64(1000), uint64(0), uint64(1<<64-1))
	f.Add([]byte("\x28\xb5\x2f\xfd"), "ndjson", "zstd", int64(-1), uint64(2), uint64(1))
	f.Fuzz(func(t *testing.T, data []byte, form, codec string, raw int64, first, last uint64) {
		n := 0
		err := readObject(t.Context(), bytes.NewReader(data), rec(form, codec, min(raw, 1<<20), segment.Range{First: first, Last: last}), func(uint64, *segment.Record) error {
			n++
			return nil
		})
		if _, bad := errors.AsType[*objectError](err); err != nil && !bad {
			t.Fatal(err)
		}
		_ = guessRecord(bytes.NewReader(data), strings.Repeat("0", 26))
	})
}
