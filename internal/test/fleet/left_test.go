//go:build linux

package fleet

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestNothingLeft kills the test program in the middle of a run: no process, mount or loop device outlives it. (A mount would keep
// its loop device; network namespaces are held by processes and mounts.)
func TestNothingLeft(t *testing.T) {
	need(t)
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestStage$", "-test.v")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	stands := false
	for s := bufio.NewScanner(out); !stands && s.Scan(); said = append(said, s.Text()) {
		stands = strings.Contains(s.Text(), "two servers after")
	}
	space := pidNamespace(cmd.Process.Pid)
	processes, devices := inNamespace(space), loopsBelow(dir)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if !stands || len(processes) < 5 || len(devices) < 3 {
		t.Fatalf("the stage does not stand: %d processes, %v\n%s", len(processes), devices, strings.Join(said, "\n"))
	}
	if err := until(30*time.Second, func() error {
		if p, d := inNamespace(space), loopsBelow(dir); len(p)+len(d) > 0 {
			return fmt.Errorf("left: processes %v, loop devices %v", p, d)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "penstock-fleet-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// pidNamespace names the PID namespace of a process's child.
func pidNamespace(pid int) string {
	b, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, name := range b {
		text, _ := os.ReadFile(name)
		for child := range strings.FieldsSeq(string(text)) {
			if ns, err := os.Readlink("/proc/" + child + "/ns/pid"); err == nil {
				return ns
			}
		}
	}
	return ""
}

// inNamespace lists the processes of a PID namespace.
func inNamespace(ns string) (pids []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/ns/pid")
	for _, link := range all {
		if to, err := os.Readlink(link); err == nil && to == ns {
			pids = append(pids, strings.Split(link, "/")[2])
		}
	}
	return pids
}

// loopsBelow lists the loop devices whose image was made in a directory.
func loopsBelow(dir string) (devices []string) {
	all, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, name := range all {
		if b, err := os.ReadFile(name); err == nil && strings.HasPrefix(string(b), dir) {
			devices = append(devices, strings.Split(name, "/")[3])
		}
	}
	return devices
}
