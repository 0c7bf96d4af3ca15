package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/penstock-go/penstock/examples/reaper/internal/mounter"
)

// someUser is the collector's user in TestUnprivileged.
const someUser = 12345

// TestUnprivileged runs a reaper's disk operations under the conditions of its unit: as the collector's user, without any
// capability, in its own mount namespace, in which only the directory of the mount points is writable. Only the service mounts.
func TestUnprivileged(t *testing.T) {
	if device := os.Getenv("REAPER_TEST_DEVICE"); device != "" {
		unprivileged(t, device, os.Getenv("REAPER_TEST_ORPHANS"))
		return
	}
	h, device := loop(t, 64<<20)
	for _, p := range []string{"unshare", "setpriv"} {
		if _, err := exec.LookPath(p); err != nil {
			unable(t, err)
		}
	}
	base := t.TempDir()
	mountUntilEnd(t, "tmpfs", base, "tmpfs")
	// As systemd does with the root of a host.
	if err := unix.Mount("", base, "", unix.MS_SHARED, ""); err != nil {
		unable(t, err)
	}
	orphans := filepath.Join(base, "orphans")
	if err := errors.Join(os.Chmod(filepath.Dir(base), 0o755), os.Chmod(base, 0o755), os.Mkdir(orphans, 0o750), os.Chown(orphans, someUser, someUser)); err != nil {
		t.Fatal(err)
	}
	tool(t, "mkfs.ext4", "-q", "-E", "nodiscard", device)
	fill := t.TempDir()
	tool(t, "mount", device, fill)
	spool := filepath.Join(fill, "spool")
	err := errors.Join(os.Mkdir(spool, 0o750), os.WriteFile(filepath.Join(spool, "report.json"), []byte("{}"), 0o600), os.Chown(spool, someUser, someUser), os.Chown(filepath.Join(spool, "report.json"), someUser, someUser))
	tool(t, "umount", fill)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(base, "mount.sock")
	serveUntilEnd(t, socket, &mounter.Server{Host: h.Host, Dir: orphans})

	// The test's program is in a directory that belongs to root.
	self := filepath.Join(base, "reaper.test")
	tool(t, "cp", os.Args[0], self)
	disk, err := user.LookupGroup("disk")
	if err != nil {
		unable(t, err)
	}
	gid, err := strconv.Atoi(disk.Gid)
	if err == nil { // as udev does with block devices
		err = errors.Join(os.Chown(device, 0, gid), os.Chmod(device, 0o660))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(os.Chown(device, 0, 0), os.Chmod(device, 0o600)); err != nil {
			t.Error(err)
		}
	})
	script := fmt.Sprintf(`mount --bind %[1]s %[1]s && mount -o remount,bind,ro %[2]s && cd / && exec setpriv --reuid %[3]d --regid %[3]d --groups %[4]d --bounding-set=-all --inh-caps=-all --no-new-privs %[5]s -test.v -test.run '^TestUnprivileged$'`,
		orphans, base, someUser, gid, self)
	cmd := exec.Command("unshare", "--mount", "--propagation", "slave", "sh", "-euc", script)
	cmd.Env = append(os.Environ(), "REAPER_TEST_DEVICE="+device, "REAPER_TEST_ORPHANS="+orphans, "REAPER_TEST_SOCKET="+socket)
	if out, err := cmd.CombinedOutput(); err != nil || strings.Count(string(out), "--- PASS: TestUnprivileged") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	if at, err := h.At(device); err != nil || len(at) > 0 {
		t.Errorf("it is still mounted: %v, %v", at, err)
	}
}

// unprivileged is the reaper in that namespace.
func unprivileged(t *testing.T, device, orphans string) {
	if err := unix.Mount(device, orphans, "ext4", unix.MS_RDONLY, ""); !errors.Is(err, unix.EPERM) {
		t.Fatalf("it may mount by itself: %v", err)
	}
	m := mounts{host: newHost(), service: mounter.NewClient(os.Getenv("REAPER_TEST_SOCKET"))}
	dir := filepath.Join(orphans, "vol-1")
	c, err := m.Probe(t.Context(), device)
	if err != nil || c.FileSystem != "ext4" {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, _, zero, err := m.Zero(t.Context(), device, 0); err != nil || zero {
		t.Errorf("%v, %v", zero, err)
	}
	for range 2 { // it may have died before it knew
		if err := m.Mount(device, c, dir); err != nil {
			t.Fatal(err)
		}
	}
	f, err := look(dir)
	if err != nil || !f.closed || len(f.strange) > 0 {
		t.Errorf("%+v, %v", f, err)
	}
	if used, known, err := m.Inodes(device, dir); err != nil || !known || used != f.entries {
		t.Errorf("%d inodes of %d names, %v, %v", used, f.entries, known, err)
	}
	if _, err := os.ReadFile(filepath.Join(dir, "spool/report.json")); err != nil {
		t.Error(err)
	}
	open, err := os.Open(filepath.Join(dir, "spool"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Unmount(device, dir); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("unmounted while a file is open in another namespace: %v", err)
	}
	open.Close()
	if err := m.Unmount(device, dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the mount point stays")
	}
}

// mountUntilEnd mounts until the test ends.
func mountUntilEnd(t *testing.T, source, at, kind string) {
	t.Helper()
	if err := unix.Mount(source, at, kind, 0, ""); err != nil {
		unable(t, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// serveUntilEnd serves requests at a socket, as systemd does with the mount program.
func serveUntilEnd(t *testing.T, socket string, s *mounter.Server) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if err := s.Serve(c, c); err != nil {
				t.Error(err)
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

// TestServiceTrustsNobody: for any request, the service mounts a volume of this host at its own directory, or nothing.
func TestServiceTrustsNobody(t *testing.T) {
	h, device := loop(t, 64<<20)
	tool(t, "mkfs.ext4", "-q", "-E", "nodiscard", device)
	orphans, victim := t.TempDir(), t.TempDir()
	s := &mounter.Server{Host: h.Host, Dir: orphans}
	ask := func(line string) string {
		t.Helper()
		var out strings.Builder
		if err := s.Serve(strings.NewReader(line+"\n"), &out); err != nil {
			t.Error(err)
		}
		return out.String()
	}
	refused := func(line, why string) {
		t.Helper()
		if got := ask(line); !strings.Contains(got, why) {
			t.Errorf("%s: %s, want %q", line, got, why)
		}
		if at, err := h.At(device); err != nil || len(at) > 0 {
			t.Fatalf("%s: it is mounted at %v, %v", line, at, err)
		}
	}
	const mount = `{"do":"mount","volume":"vol-1","file_system":"ext4"}`
	refused(mount, "no such file")
	for line, why := range map[string]string{
		`{"do":"mount","volume":"../vol-1","file_system":"ext4"}`:    "is no volume",
		`{"do":"mount","volume":"vol-1/../..","file_system":"ext4"}`: "is no volume",
		`{"do":"mount","volume":"vol-2","file_system":"ext4"}`:       "no device",
		`{"do":"mount","volume":"vol-1","file_system":"overlay"}`:    "not done here",
		`{"do":"mount","volume":"vol-1"}`:                            "not done here",
		`{"do":"format","volume":"vol-1","file_system":"ext4"}`:      "not done here",
		`mount`: "request",
	} {
		refused(line, why)
	}
	link := filepath.Join(orphans, "vol-1")
	if err := os.Symlink(victim, link); err != nil {
		t.Fatal(err)
	}
	refused(mount, "not a directory")
	if err := errors.Join(os.Remove(link), os.Mkdir(link, 0o755)); err != nil {
		t.Fatal(err)
	}
	tool(t, "mount", "--read-only", device, victim)
	if got := ask(mount); !strings.Contains(got, "is mounted at "+victim) {
		t.Errorf("it is mounted elsewhere: %s", got)
	}
	if got := ask(`{"do":"unmount","volume":"vol-1"}`); got != "{}\n" { // it is not mounted there, so there is nothing to do
		t.Error(got)
	}
	if at, err := h.At(device); err != nil || len(at) != 1 || at[0] != victim {
		t.Errorf("somebody else's mount is gone: %v, %v", at, err)
	}
	tool(t, "umount", victim)
	if err := s.Serve(strings.NewReader(strings.Repeat("x", 1<<20)), &strings.Builder{}); err == nil {
		t.Error("a request without an end is read")
	}
}
