//go:build linux

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestVersionFlag: every program says what it was built from.
func TestVersionFlag(t *testing.T) {
	for _, name := range []string{"collector", "audit", "loadgen", "platform", "quickstart"} {
		out, err := exec.Command(binary(t, name), "-version").Output()
		if err != nil || !strings.HasPrefix(string(out), name+" ") || !strings.Contains(string(out), runtime.Version()) || bytes.Count(out, []byte("\n")) != 1 {
			t.Errorf("%s: %v, %q", name, err, out)
		}
	}
}

// TestQuickstart: the result comes last, nothing else is on the terminal, and a directory with a space in its name does
// not matter, also to the command that the quickstart advises.
func TestQuickstart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary(t, "quickstart"), "-records", "6000", "-rate", "6000")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Fatalf("%v: %s\n%s", err, &stderr, &stdout)
	}
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	last := lines[max(0, len(lines)-7):]
	if len(last) < 7 || last[6] != "nothing lost, nothing doubled" || !strings.HasPrefix(last[0], "class ") || !strings.HasPrefix(last[4], "web    idc") {
		t.Errorf("the last lines are\n%s", strings.Join(last, "\n"))
	}
	_, args, ok := strings.Cut(stdout.String(), "go run ./examples/audit ")
	args, _, _ = strings.Cut(args, "\n")
	out, err := exec.Command("sh", "-c", "'"+binary(t, "audit")+"' "+args).CombinedOutput()
	if !ok || err != nil || !strings.Contains(string(out), "complete") {
		t.Errorf("what it advises: %v\n%s", err, out)
	}
}
