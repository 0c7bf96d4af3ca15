package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// damageAll runs all of them: go test -run TestDamage ./examples/spoolctl -damage.all
var damageAll = flag.Bool("damage.all", false, "TestDamage: all, not a quarter of it")

// hurts are the ways to damage a file.
var hurts = []struct {
	how string
	do  func(b []byte) []byte // nil: the file is deleted
}{
	{"flip first", func(b []byte) []byte { return flip(b, 10) }},
	{"flip middle", func(b []byte) []byte { return flip(b, len(b)/2) }},
	{"flip in a block", func(b []byte) []byte { return flip(b, 4096+200) }},
	{"flip last", func(b []byte) []byte { return flip(b, len(b)-1) }},
	{"zeroed page", func(b []byte) []byte { return fill(b, 0, 4096, 0) }},
	{"zeroed block", func(b []byte) []byte { return fill(b, 4096+128, 600, 0) }},
	{"garbage", func(b []byte) []byte { return fill(b, 0, len(b), 0xa5) }},
	{"foreign block", func(b []byte) []byte { return fill(b, len(b)/2, 600, 0xa5) }},
	{"empty", func([]byte) []byte { return []byte{} }},
	{"cut", func(b []byte) []byte { return b[:len(b)/2] }},
	{"cut last", func(b []byte) []byte { return b[:max(0, len(b)-1)] }},
	{"gone", func([]byte) []byte { return nil }},
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	if at >= 0 && at < len(b) {
		b[at] ^= 1
	}
	return b
}

func fill(b []byte, at, n int, with byte) []byte {
	b = bytes.Clone(b)
	for i := at; i < min(at+n, len(b)); i++ {
		b[i] = with
	}
	return b
}

// TestDamage damages every file of a spool in every way. No command except repair -apply changes anything, and none panics. The
// records that cat writes are kept ones, in order; cat, verify and export all report the same missing ones. After a repair the
// spool opens, and every record that could be read before can be read.
func TestDamage(t *testing.T) {
	for i, orderly := range []bool{true, false} {
		whole := scene(t, orderly)
		files := tree(t, whole)
		names := make([]string, 0, len(files))
		for name := range files {
			if len(files[name]) > 0 {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for j, name := range names {
			for k, hurt := range hurts {
				if !*damageAll && (j+k)%4 != 2*i {
					continue
				}
				b := hurt.do([]byte(files[name]))
				if string(b) == files[name] && b != nil {
					continue
				}
				t.Run(fmt.Sprintf("orderly=%v %s %s", orderly, name, hurt.how), func(t *testing.T) {
					dir := filepath.Join(t.TempDir(), "spool")
					if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
						t.Fatal(err)
					}
					path := filepath.Join(dir, name)
					if b == nil {
						if err := os.Remove(path); err != nil {
							t.Fatal(err)
						}
					} else if err := os.WriteFile(path, b, 0o600); err != nil {
						t.Fatal(err)
					}
					judge(t, dir)
				})
			}
		}
	}
}

func judge(t *testing.T, dir string) {
	before := tree(t, dir)
	for _, args := range [][]string{{"status", dir}, {"ls", dir}, {"ls", "-json", dir}, {"du", dir}, {"tail", dir}, {"status", "-json", dir}} {
		if code, out, errs := call(t, args...); code > exitDamaged || out == "" && args[0] != "tail" {
			t.Errorf("%q: %d\n%s%s", args, code, out, errs)
		}
	}
	vcode, verified, errs := call(t, "verify", dir)
	if vcode > exitDamaged {
		t.Errorf("verify: %d\n%s%s", vcode, verified, errs)
	}
	code, out, errs := call(t, "cat", dir)
	got := sequence(t, out)
	t.Logf("%d records, cat %d, verify %d", len(got), code, vcode)
	missing := sceneRecords - len(got)
	if missing > 0 && (code != exitDamaged || !strings.Contains(errs, "missing") && !strings.Contains(errs, "cannot be read")) {
		t.Errorf("%d records are missing, and cat says %d\n%s", missing, code, errs)
	}
	if missing > 0 && vcode == 0 {
		t.Errorf("%d records are missing, and verify says %s", missing, verified)
	}
	if missing == 0 && code != 0 && !strings.Contains(errs, "cannot be read") {
		t.Errorf("nothing is missing, and cat says %d\n%s", code, errs)
	}
	if xcode, xout, xerrs := call(t, "export", "-to", filepath.Join(t.TempDir(), "x"), dir); xcode > exitDamaged ||
		!strings.Contains(xout, fmt.Sprintf(": %d records ", len(got))) {
		t.Errorf("export: %d\n%s%s", xcode, xout, xerrs)
	}
	rcode, plan, errs := call(t, "repair", dir)
	if rcode != 0 && rcode != exitRepair {
		t.Errorf("repair: %d\n%s%s", rcode, plan, errs)
	}
	if after := tree(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("something has changed without -apply")
	}
	if code, plan, errs = call(t, "repair", "-apply", dir); code != 0 {
		t.Fatalf("repair -apply: %d\n%s%s", code, plan, errs)
	}
	_, out, errs = call(t, "cat", dir)
	if again := sequence(t, out); len(again) < len(got) {
		t.Errorf("%d records after the repair, and %d before: %v\n%s\n%s", len(again), len(got), again, plan, errs)
	}
	if err := openSpool(t, dir).Close(); err != nil {
		t.Error(err)
	}
}

// TestDamaged: records that the spool can no longer use are read from the files in damaged/, with or without their stage
// record.
func TestDamaged(t *testing.T) {
	dir := scene(t, true)
	path := filepath.Join(dir, "stage", "0000000000000001.json")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := call(t, "repair", "-apply", dir); code != 0 {
		t.Fatalf("%d\n%s%s", code, out, errs)
	}
	code, out, errs := call(t, "cat", dir)
	if got := sequence(t, out); len(got) != sceneRecords-6 || code != exitDamaged || !strings.Contains(errs, "damaged/") {
		t.Errorf("%d, %v\n%s", code, got, errs)
	}
	code, out, errs = call(t, "cat", "-damaged", dir)
	if got := sequence(t, out); len(got) != sceneRecords || code != 0 || errs != "" {
		t.Errorf("-damaged: %d, %v\n%s", code, got, errs)
	}
	code, out, errs = call(t, "export", "-damaged", "-to", filepath.Join(t.TempDir(), "x"), dir)
	if code != 0 || !strings.Contains(out, fmt.Sprintf(": %d records ", sceneRecords)) {
		t.Errorf("export: %d\n%s%s", code, out, errs)
	}
}
