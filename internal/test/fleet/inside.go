//go:build linux

package fleet

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// insideEnv is set in the process that has the namespaces.
const insideEnv = "PENSTOCK_FLEET_INSIDE"

// programs are what a stage runs, with the Debian package of each.
var programs = map[string]string{"ip": "iproute2", "tc": "iproute2", "nft": "nftables", "mkfs.ext4": "e2fsprogs", "sshd": "openssh-server"}

// inside reports whether this process has namespaces of its own. If it has none, inside runs the calling test again in a process
// that has, waits for it, and fails if that fails.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		if err := furnish(); err != nil {
			t.Fatal(err)
		}
		return true
	}
	need(t)
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	cmd := exec.Command("/proc/self/exe", append([]string{"-test.run", "^" + t.Name() + "$"}, others(os.Args[1:])...)...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL, // if this process is killed
	}
	// The kernel sends that signal when the thread ends that has started the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		if errors.Is(err, syscall.EPERM) {
			missing(t, "no namespaces may be made here: "+err.Error())
		}
		t.Fatal(err)
	}
	copied := make(chan struct{})
	go func() { defer close(copied); passOn(out) }()
	select {
	case <-copied:
	case sig := <-interrupts:
		_ = cmd.Process.Kill() // everything inside dies with it
		<-copied
		t.Error("ended by ", sig)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v", t.Name(), err)
	}
	return false
}

// passOn prints what the inner test says. Its lines begin with a bar, so that go test does not take them for its own.
func passOn(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		fmt.Println("| " + s.Text())
	}
	_, _ = io.Copy(io.Discard, r)
}

// others are the arguments of this test program but for those that choose the tests.
func others(args []string) (rest []string) {
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "-test.run":
			i++
		case len(args[i]) > 10 && args[i][:10] == "-test.run=":
		case len(args[i]) > 21 && args[i][:21] == "-test.paniconexit0": // of go test itself
		default:
			rest = append(rest, args[i])
		}
	}
	return rest
}

// need skips the test on a machine that cannot be a stage.
func need(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "the stage needs root, for namespaces, mounts and loop devices")
	}
	for program, pkg := range programs {
		if _, err := find(program); err != nil {
			missing(t, err.Error()+": install "+pkg)
		}
	}
	if _, err := versitygw(); err != nil {
		missing(t, "versitygw is missing: go install github.com/versity/versitygw/cmd/versitygw@v1.8.0")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		missing(t, "no loop devices: "+err.Error())
	}
}

// missing skips the test, and fails it in CI, where everything must be there.
func missing(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s (CI must have it)", why)
	}
	t.Skip(why)
}

// find looks for a program, also where daemons are.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, program))
	}
	return path, err
}

func versitygw() (string, error) {
	if path, err := exec.LookPath("versitygw"); err == nil {
		return path, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(home, "go", "bin", "versitygw")
	_, err = os.Stat(path)
	return path, err
}

// furnish makes the mounts of this process its own, and gives it a /proc of its processes and an empty /run, where ip looks for
// network namespaces.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	return errors.Join(os.Mkdir("/run/netns", 0o755), os.Mkdir("/run/sshd", 0o755), os.Mkdir("/run/fleet", 0o755))
}
