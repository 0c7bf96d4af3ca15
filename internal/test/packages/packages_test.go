//go:build linux

package packages

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

// programs are what a package brings.
var programs = []string{"collector", "audit", "loadgen", "spoolctl", "udprelay", "reaper"}

// TestPackages installs the .deb and the .rpm, each in a copy of this system. It starts the service, sends it records, replaces
// its program, stops it, and removes the package. Only the received records and the operator's settings are left afterwards.
func TestPackages(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must run this test as root")
		}
		t.Skip("a package is installed by root")
	}
	deb, rpm := build(t)
	list := files(t, "dpkg-deb", "--contents", deb)
	testserver.Find(t, "rpm", "rpm")
	if other := files(t, "rpm", "--query", "--package", "--list", rpm); !slices.Equal(list, leaves(other)) {
		t.Errorf("the packages have different files:\n%q\n%q", list, leaves(other))
	}
	t.Run("deb", func(t *testing.T) {
		lives(t, list, deb, manager{
			install: []string{"dpkg", "--install"}, upgrade: []string{"dpkg", "--install"}, remove: []string{"dpkg", "--purge", "penstock"},
		})
	})
	t.Run("rpm", func(t *testing.T) {
		// Its database does not contain the packages of this system, so it cannot see what is installed.
		lives(t, list, rpm, manager{
			install: []string{"rpm", "--install", "--nodeps"}, upgrade: []string{"rpm", "--upgrade", "--nodeps", "--replacepkgs"}, remove: []string{"rpm", "--erase", "penstock"},
			keeps: []string{"/etc/penstock/collector.yaml.rpmsave"}, // what the operator wrote
		})
	})
}

// manager installs packages.
type manager struct {
	install, upgrade, remove []string
	keeps                    []string // after a removal
}

// lives installs a package in a system, runs what is in it, upgrades and removes it.
func lives(t *testing.T, list []string, file string, m manager) {
	s := newSystem(t)
	s.run(append(m.install, put(t, s, file))...)
	made, gone := s.changed()
	for _, path := range list {
		if !slices.Contains(made, path) {
			t.Errorf("%s is not installed", path)
		}
	}
	if len(gone) > 0 {
		t.Errorf("the installation has removed %q", gone)
	}
	for _, p := range programs {
		if out := s.run("/usr/bin/penstock-"+p, "version"); !strings.HasPrefix(out, "penstock-"+p+" ") {
			t.Errorf("penstock-%s version: %q", p, out)
		}
		page := s.run("sh", "-c", "gzip -dc /usr/share/man/man1/penstock-"+p+".1.gz")
		if !strings.Contains(strings.ReplaceAll(page, `\-`, "-"), ".SH NAME\npenstock-"+p+" ") {
			t.Errorf("the manual page of penstock-%s does not have its name", p)
		}
		s.run("bash", "-c", ". /usr/share/bash-completion/completions/penstock-"+p+" && complete -p penstock-"+p)
	}
	check := s.command("penstock-collector", "check", "-offline", "-config", "/etc/penstock/collector.yaml")
	if out, _ := check.Output(); check.ProcessState.ExitCode() != 2 || strings.Count(string(out), "it is missing") != 2 {
		t.Errorf("the settings of the package lack a listener and a destination only: %d\n%s", check.ProcessState.ExitCode(), out)
	}
	service(t, s)
	relay(t, s)

	s.run(append(m.upgrade, put(t, s, file))...) // an upgrade keeps what the operator wrote
	if got := s.read("/etc/penstock/collector.yaml"); !strings.Contains(got, "archive") {
		t.Errorf("an upgrade has replaced the settings:\n%s", got)
	}
	s.run(m.remove...)
	made, gone = s.changed()
	kept := 0
	for _, path := range made {
		switch {
		case strings.HasPrefix(path, "/var/lib/penstock/"):
			kept++
		case slices.Contains(list, path):
			t.Errorf("%s is left behind", path)
		case !harmless(path) && !slices.Contains(m.keeps, path):
			t.Errorf("%s is left behind, which is no file of the package", path)
		}
	}
	if kept == 0 {
		t.Error("the removal has deleted the spool")
	}
	if len(gone) > 0 {
		t.Errorf("the removal has removed files of others: %q", gone)
	}
}

// harmless reports whether dpkg, rpm and the making of a user leave a file, whatever package it is.
func harmless(path string) bool {
	for _, prefix := range []string{"/var/lib/dpkg/", "/var/lib/rpm/", "/root/.rpmdb/", "/var/log/", "/var/cache/", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid", "/etc/.pwd.lock", "/dev/"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// leaves leaves out directories, which some packages list.
func leaves(list []string) (files []string) {
	for i, path := range list {
		if i+1 == len(list) || !strings.HasPrefix(list[i+1], path+"/") {
			files = append(files, path)
		}
	}
	return files
}

// put copies a file into the system's /tmp.
func put(t *testing.T, s *system, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s.write("/tmp/"+filepath.Base(file), string(b))
	return "/tmp/" + filepath.Base(file)
}

func (s *system) write(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.root, path), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) read(path string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.root, path))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// service runs the service as its unit says: starts it, sends to it, and stops it.
func service(t *testing.T, s *system) {
	t.Helper()
	udp, web := testserver.FreeAddr(t), testserver.FreeAddr(t)
	s.write("/etc/penstock/collector.yaml", fmt.Sprintf("spool: /var/lib/penstock/spool\nhttp: %s\nlifecycle: none\ndest:\n  archive: file:///var/lib/penstock/archive\n"+
		"classes:\n  vpn:\n    listen: udp://%s?rcvbuf=64MiB\n", web, udp))
	sup := supervise(t, s, "/usr/lib/systemd/system/penstock.service")
	sup.await("READY=1", 30*time.Second)
	c, err := net.Dial("udp", udp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 100 {
		if _, err := fmt.Fprintf(c, "record %d", i); err != nil {
			t.Fatal(err)
		}
	}
	sup.await("WATCHDOG=1", sup.watchdog/2)
	if got := s.run("penstock-collector", "status", "-http", web); !strings.Contains(got, "vpn") {
		t.Errorf("status: %s", got)
	}
	if code := sup.stop(); code != 0 && strconv.Itoa(code) != sup.unit.one("Service.SuccessExitStatus") {
		t.Errorf("the service ended with %d\n%s", code, sup.log)
	}
	if report := s.read("/var/lib/penstock/spool/report.json"); !strings.Contains(report, `"kept"`) {
		t.Errorf("report: %s", report)
	}
}

// supervisor starts a service as systemd would, as far as a process without systemd can.
type supervisor struct {
	t        *testing.T
	unit     unit
	cmd      *exec.Cmd
	watchdog time.Duration
	log      *testserver.Log
	said     chan string // what the service tells through NOTIFY_SOCKET
	done     chan error
}

// supervise starts the service of a unit.
func supervise(t *testing.T, s *system, path string) *supervisor {
	t.Helper()
	u, err := readUnit(filepath.Join(s.root, path))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the first process is not systemd's, or not asked: a supervisor starts %q as user %s", u.one("Service.ExecStart"), u.one("Service.User"))
	sup := &supervisor{t: t, unit: u, log: &testserver.Log{}, said: make(chan string, 1000), done: make(chan error, 1)}
	if sup.watchdog, err = u.span("Service.WatchdogSec"); err != nil {
		t.Fatal(err)
	}
	sup.watchdog /= 60 // nobody waits for minutes
	uid, gid := sup.user(s)
	for _, dir := range strings.Fields(u.one("Service.StateDirectory")) {
		full := filepath.Join(s.root, "var/lib")
		for part := range strings.SplitSeq(dir, "/") {
			full = filepath.Join(full, part)
			if err := os.MkdirAll(full, 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(full, int(uid), int(gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(s.root, "run/notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { notify.Close() })
	if err := os.Chmod(filepath.Join(s.root, "run/notify"), 0o666); err != nil {
		t.Fatal(err)
	}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := notify.Read(b)
			if err != nil {
				return
			}
			for line := range strings.Lines(string(b[:n])) {
				select {
				case sup.said <- strings.TrimSpace(line):
				default:
				}
			}
		}
	}()
	args := strings.Fields(u.one("Service.ExecStart"))
	sup.cmd = s.command(args[1:]...)
	sup.cmd.Path, sup.cmd.Args = args[0], args
	sup.cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/var/lib/penstock", "NOTIFY_SOCKET=/run/notify", fmt.Sprintf("WATCHDOG_USEC=%d", sup.watchdog.Microseconds())}
	sup.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	sup.cmd.SysProcAttr.AmbientCaps = capabilities(t, u.one("Service.AmbientCapabilities"))
	sup.cmd.Stderr = sup.log
	if err := sup.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { sup.done <- sup.cmd.Wait() }()
	t.Cleanup(func() { sup.cmd.Process.Kill() })
	return sup
}

// user returns the numbers of the unit's user, which the package has made.
func (sup *supervisor) user(s *system) (uid, gid uint32) {
	sup.t.Helper()
	for line := range strings.Lines(s.read("/etc/passwd")) {
		f := strings.Split(line, ":")
		if f[0] != sup.unit.one("Service.User") {
			continue
		}
		u, err1 := strconv.ParseUint(f[2], 10, 32)
		g, err2 := strconv.ParseUint(f[3], 10, 32)
		if err1 != nil || err2 != nil || u == 0 {
			sup.t.Fatalf("the user: %q", line)
		}
		return uint32(u), uint32(g)
	}
	sup.t.Fatalf("the package has not made the user %q", sup.unit.one("Service.User"))
	return 0, 0
}

// capabilities returns the numbers of those that the unit names.
func capabilities(t *testing.T, names string) (caps []uintptr) {
	t.Helper()
	for _, name := range strings.Fields(names) {
		n, ok := map[string]uintptr{"CAP_NET_ADMIN": unix.CAP_NET_ADMIN}[name]
		if !ok {
			t.Fatalf("this supervisor does not know %s", name)
		}
		caps = append(caps, n)
	}
	return caps
}

// await waits for a state that the service tells.
func (sup *supervisor) await(state string, within time.Duration) {
	sup.t.Helper()
	timeout := time.After(within)
	for {
		select {
		case got := <-sup.said:
			if got == state {
				return
			}
		case err := <-sup.done:
			sup.t.Fatalf("the service ended: %v\n%s", err, sup.log)
		case <-timeout:
			sup.t.Fatalf("the service does not say %s within %v\n%s", state, within, sup.log)
		}
	}
}

// stop ends the service as systemd would, and returns its exit code.
func (sup *supervisor) stop() int {
	sup.t.Helper()
	limit, err := sup.unit.span("Service.TimeoutStopSec")
	if err != nil {
		sup.t.Fatal(err)
	}
	if err := sup.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		sup.t.Fatal(err)
	}
	select {
	case <-sup.done:
	case <-time.After(limit):
		sup.t.Fatalf("the service does not end within %v\n%s", limit, sup.log)
	}
	return sup.cmd.ProcessState.ExitCode()
}
