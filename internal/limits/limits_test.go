package limits

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestGroupFiles: the limit of a group may be set on any group above it.
func TestGroupFiles(t *testing.T) {
	got := groupFiles("12:cpu,memoryx:/no\n9:memory:/docker/abc\n0::/system.slice/penstock.service\nnonsense\n")
	want := []string{
		"/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
		"/sys/fs/cgroup/memory/memory.limit_in_bytes",
		"/sys/fs/cgroup/system.slice/penstock.service/memory.max", "/sys/fs/cgroup/system.slice/memory.max", "/sys/fs/cgroup/memory.max",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestMemory: GOMEMLIMIT is a limit, and on Linux there is always one.
func TestMemory(t *testing.T) {
	if os.Getenv("LIMITS_TEST_MEMORY") != "" {
		if n := Memory(); n != 64<<20 {
			t.Errorf("%d bytes", n)
		}
		return
	}
	if n := Memory(); runtime.GOOS == "linux" && n <= 0 {
		t.Errorf("%d bytes", n)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestMemory$")
	cmd.Env = append(os.Environ(), "LIMITS_TEST_MEMORY=1", "GOMEMLIMIT=64MiB")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, strings.TrimSpace(string(out)))
	}
}
