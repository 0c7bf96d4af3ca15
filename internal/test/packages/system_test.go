//go:build linux

package packages

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

// system is a copy of this one that can be changed.
type system struct {
	t     *testing.T
	root  string // what programs in it see as /
	upper string // what was changed
}

// newSystem makes one. It needs root.
func newSystem(t *testing.T) *system {
	t.Helper()
	dir := t.TempDir()
	s := &system{t, filepath.Join(dir, "root"), filepath.Join(dir, "upper")}
	// On a file system of its own, since / may be an overlay itself, which is no place for the upper directory of another one.
	s.mount("tmpfs", dir, "tmpfs", "size=512m")
	for _, name := range []string{"root", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.mount("overlay", s.root, "overlay", "lowerdir=/,upperdir="+s.upper+",workdir="+filepath.Join(dir, "work"))
	s.mount("proc", filepath.Join(s.root, "proc"), "proc", "")
	s.mount("tmpfs", filepath.Join(s.root, "run"), "tmpfs", "size=16m")
	s.mount("tmpfs", filepath.Join(s.root, "tmp"), "tmpfs", "size=256m")
	return s
}

// mount mounts until the test ends.
func (s *system) mount(source, at, kind, options string) {
	s.t.Helper()
	if err := syscall.Mount(source, at, kind, 0, options); err != nil {
		if os.Getenv("CI") != "" {
			s.t.Fatalf("mount %s: %v: CI needs root and overlay file systems", kind, err)
		}
		s.t.Skipf("mount %s: %v", kind, err)
	}
	s.t.Cleanup(func() {
		if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
			s.t.Error(err)
		}
	})
}

// command returns a command that runs in the system.
func (s *system) command(args ...string) *exec.Cmd {
	cmd := exec.Command("/usr/bin/env", append([]string{"DEBIAN_FRONTEND=noninteractive"}, args...)...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: s.root}
	return cmd
}

// run runs a command in the system, and returns what it prints.
func (s *system) run(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// changed lists the files that were made or changed, and those that were removed, of which the upper directory has a device 0:0.
func (s *system) changed() (made, gone []string) {
	s.t.Helper()
	err := filepath.WalkDir(s.upper, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, s.upper)
		if e.Type()&fs.ModeCharDevice != 0 {
			gone = append(gone, name)
		} else {
			made = append(made, name)
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return made, gone
}

// build makes the packages in a directory. For a test without -trimpath, so that what other tests have compiled is used again.
func build(t *testing.T) (deb, rpm string) {
	t.Helper()
	testserver.Find(t, "nfpm", "nfpm (go install github.com/goreleaser/nfpm/v2/cmd/nfpm)")
	testserver.Find(t, "dpkg", "dpkg")
	dir := t.TempDir()
	cmd := exec.Command("../../../examples/deploy/packages/build", dir, "1.2.3~test")
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	found := func(pattern string) string {
		t.Helper()
		all, _ := filepath.Glob(filepath.Join(dir, pattern))
		if len(all) != 1 {
			t.Fatalf("%s: %q", pattern, all)
		}
		return all[0]
	}
	return found("*.deb"), found("*.rpm")
}

// files lists the files of a package, by a command that prints a path at the end of each line.
func files(t *testing.T, name string, args ...string) (list []string) {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		path := fields[len(fields)-1]
		if path = strings.TrimPrefix(path, "."); !strings.HasSuffix(path, "/") && strings.HasPrefix(path, "/") {
			list = append(list, path)
		}
	}
	slices.Sort(list)
	return list
}
