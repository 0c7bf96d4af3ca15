package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExportUnreadable: the exit code of export, like that of cat, reports a segment that cannot be read.
func TestExportUnreadable(t *testing.T) {
	dir := scene(t, true)
	if err := os.WriteFile(filepath.Join(dir, "seg", "0000000000000099.seg"), bytes.Repeat([]byte("garbage "), 1024), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := call(t, "cat", dir); code != exitDamaged {
		t.Errorf("cat: %d\n%s", code, errs)
	}
	if code, out, errs := call(t, "export", "-to", filepath.Join(t.TempDir(), "out"), dir); code != exitDamaged {
		t.Errorf("export: %d\n%s%s", code, out, errs)
	}
}

// TestVerifyPartly: findings are reported even if the next start cannot be tried, or another spool cannot be read.
func TestVerifyPartly(t *testing.T) {
	dir := scene(t, true)
	if err := os.Truncate(filepath.Join(dir, "index.db"), 1000); err != nil {
		t.Fatal(err)
	}
	free := filepath.Join(dir, "free")
	if err := os.RemoveAll(free); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("free", free); err != nil { // a link to itself, which cannot be read
		t.Skip(err)
	}
	code, out, errs := call(t, "verify", dir)
	if code != exitDamaged || !strings.Contains(out, "index.db") || !strings.Contains(out, "the next start cannot be tried") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
}
