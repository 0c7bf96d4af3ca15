package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// owing makes a closed spool with 30 records in three sealed segments, of which nothing is delivered, and returns their paths too.
func owing(t *testing.T) (dir string, segments []string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "vpn")
	sp, err := spool.Open(dir, &spool.Options{
		Class: "vpn", Instance: "host", Destinations: []string{"idc"}, SegmentBytes: 64 << 10, MaxBytes: 64 << 20, SegmentAge: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		batch := make([]segment.Record, 10)
		for j := range batch {
			batch[j] = segment.Record{Time: int64(10*i + j + 1), Data: fmt.Appendf(nil, "record %d", 10*i+j+1)}
		}
		if _, err := sp.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if err := sp.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	segments, err = filepath.Glob(filepath.Join(dir, "seg", "*.seg"))
	if err != nil || len(segments) != 3 {
		t.Fatalf("%q, %v", segments, err)
	}
	return dir, segments
}

// TestOldestMissing: records that no destination has are reported as missing if the oldest segments, or all, are gone or
// unreadable.
func TestOldestMissing(t *testing.T) {
	for _, c := range []struct {
		what string
		hurt func(segments []string) error
		last uint64
	}{
		{"one gone", func(s []string) error { return os.Remove(s[0]) }, 10},
		{"all gone", func(s []string) error { return errors.Join(os.Remove(s[0]), os.Remove(s[1]), os.Remove(s[2])) }, 30},
		{"one unreadable", func(s []string) error { return os.WriteFile(s[0], []byte("not a segment"), 0o600) }, 10},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir, segments := owing(t)
			if err := c.hurt(segments); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("records 1-%d are missing", c.last)
			if code, _, errs := call(t, "cat", dir); code != exitDamaged || !strings.Contains(errs, want) {
				t.Errorf("cat: %d, %q", code, errs)
			}
			code, out, _ := call(t, "export", "-json", "-to", filepath.Join(t.TempDir(), "x"), dir)
			var all []summary
			if err := json.Unmarshal([]byte(out), &all); err != nil || code != exitDamaged || len(all) != 1 || len(all[0].Missing) != 1 || all[0].Missing[0].Last != c.last {
				t.Errorf("export: %d, %v, %s", code, err, out)
			}
		})
	}
	dir, _ := owing(t)
	if code, out, errs := call(t, "cat", "-format", "raw", dir); code != 0 || strings.Count(out, "\n") != 30 {
		t.Errorf("a sound spool: %d, %s%s", code, out, errs)
	}
}

// TestHostileNames: the name of a file neither controls the terminal nor forges a line, in text and in JSON.
func TestHostileNames(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("has no such names")
	}
	dir, _ := owing(t)
	for _, name := range []string{"x\u009b2Jy", "z\n  done: the spool holds 30 records", "\x1b]0;title\a", "\u202etxt"} {
		if err := os.WriteFile(filepath.Join(dir, "stage", name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"ls", "-files", dir},
		{"ls", "-files", "-json", dir},
		{"repair", dir},
		{"repair", "-json", dir},
		{"status", dir},
		{"status", "-json", dir},
		{"verify", dir},
		{"verify", "-json", dir},
		{"ls", filepath.Join(dir, "no\u009bne")},
	} {
		_, out, errs := call(t, args...)
		if strings.ContainsAny(out+errs, "\u009b\x1b\a\u202e") {
			t.Errorf("%q controls the terminal", args)
		}
		if strings.Contains(out+errs, "\n  done: the spool") {
			t.Errorf("%q: a forged line", args)
		}
		if slices.Contains(args, "-json") && !json.Valid([]byte(out)) {
			t.Errorf("%q: no JSON", args)
		}
	}
}

// TestRepairAdvice: the command that a plan prints works: a shell passes the directory unchanged, and the plan is the same.
func TestRepairAdvice(t *testing.T) {
	for arg, want := range map[string]string{
		"/var/spool/a-b_c.d": "/var/spool/a-b_c.d", "": "''", "a; rm -rf b": "'a; rm -rf b'", "it's": `'it'\''s'`, "$(x)`y`": "'$(x)`y`'",
		"a\nb\x1b'": `$'a\nb\x1b\''`, "\xff": `$'\xff'`,
	} {
		if got := quoted(arg); got != want {
			t.Errorf("%q is quoted as %s, not %s", arg, got, want)
		}
	}
	dir, _ := owing(t)
	there := filepath.Join(filepath.Dir(dir), "a; touch gone")
	identity := filepath.Join(t.TempDir(), "spool.json")
	b, err := os.ReadFile(filepath.Join(dir, "spool.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.WriteFile(identity, b, 0o600), os.Rename(dir, there), os.Truncate(filepath.Join(there, "index.db"), 100)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	code, out, _ := call(t, "repair", "-identity", identity, "-dest", "idc", filepath.Dir(there))
	if want := " -identity " + quoted(identity) + " -dest idc '" + there + "'\n"; code != exitRepair || !strings.HasSuffix(out, want) {
		t.Errorf("%d, %q, not %q", code, out, want)
	}
}

// TestExportIntoSpool: an export cannot be written into the spool, where the next start would remove it, not even through a
// link.
func TestExportIntoSpool(t *testing.T) {
	dir, _ := owing(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Join(dir, "stage"), link); err != nil {
		t.Skip(err)
	}
	for _, to := range []string{link, filepath.Join(link, "x.ndjson"), filepath.Join(dir, "x")} {
		if code, out, _ := call(t, "export", "-to", to, dir); code != exitUsage {
			t.Errorf("%s: %d, %s", to, code, out)
		}
	}
}
