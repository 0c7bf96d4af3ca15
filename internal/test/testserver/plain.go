package testserver

import (
	"os"
	"strings"
	"testing"
)

// PlainDir returns a new directory without white space in its path, for programs that do not support any. It is
// t.TempDir's, unless TMPDIR contains white space.
func PlainDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if !strings.ContainsAny(dir, " \t\n") {
		return dir
	}
	dir, err := os.MkdirTemp("/tmp", "penstock-test-")
	if err != nil {
		t.Skipf("TMPDIR has white space in its name, and there is no other place: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
