//go:build linux || darwin

package spool

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFileLimit: a process that may not write a whole segment is told so before anything is received, instead of being
// ended by a signal in the middle of one. In a process of its own, since the limit cannot be raised again by everybody.
func TestFileLimit(t *testing.T) {
	if dir := os.Getenv("SPOOL_TEST_FILE_LIMIT"); dir != "" {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		s, err := Open(filepath.Join(dir, "small"), &Options{SegmentBytes: 512 << 10})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = Open(filepath.Join(dir, "large"), &Options{SegmentBytes: 1 << 20})
		if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "LimitFSIZE") {
			t.Errorf("%v", err)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFileLimit$")
	cmd.Env = append(os.Environ(), "SPOOL_TEST_FILE_LIMIT="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%.1000s", err, out)
	}
}
