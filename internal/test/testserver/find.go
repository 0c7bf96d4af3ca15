package testserver

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Find returns the path of a program that a test needs. Without it the test is skipped, naming the Debian package that
// has it; except in CI (the variable CI is set), where a test that does not run is a failure.
func Find(t testing.TB, program, pkg string) string {
	t.Helper()
	path, err := find(program)
	if err != nil {
		missing(t, "%v: this test needs %s", err, pkg)
	}
	return path
}

// FindFile is Find for a file that is no program, such as a module of one.
func FindFile(t testing.TB, path, pkg string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		missing(t, "%v: this test needs %s", err, pkg)
	}
}

// missing skips a test that needs a program, except in CI, where a skipped test would look like a passed one.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// find looks for a program, also where servers are: often not in the PATH of a user.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(dir + "/" + program)
	}
	if err != nil {
		return "", fmt.Errorf("testserver: no %s on this machine", program)
	}
	return path, nil
}
