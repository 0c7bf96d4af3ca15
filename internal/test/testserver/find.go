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
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatalf("%v: CI must install %s", err, pkg)
	default:
		t.Skipf("%v: install %s to run this test", err, pkg)
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
