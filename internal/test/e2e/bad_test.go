//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

// usage runs the collector with flags it must refuse and returns what it says.
func usage(t *testing.T, code int, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(binary(t, "collector"), args...)
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code {
		t.Fatalf("collector %q: %v, want exit code %d\n%s", args, err, code, stderr.String())
	}
	return stderr.String()
}

func TestUsage(t *testing.T) {
	said := usage(t, 2, "-listen", "VPN=udp://:1", "-dest", "nothing", "-codec", "rar", "-on-term", "explode",
		"-segment-bytes", "many", "-sync", "web=-3s", "-drain-timeout", "soon", "-colour=red", "-listen", "vpn=udp://:0?sockets=some")
	for _, want := range []string{"-spool", "VPN", "use NAME=URL", "rar", "explode", "many", "-3s", "soon", "colour", "some"} {
		if !strings.Contains(said, want) {
			t.Errorf("nothing said of %s:\n%s", want, said)
		}
	}
	dir := t.TempDir()
	said = usage(t, 2, "-spool", dir, "-listen", "vpn=udp://:0?sockets=many&colour=red", "-listen", "vpn=smoke://:0",
		"-dest", "a=gopher://x", "-dest", "b=sftp://u@127.0.0.1:1/d?key=/nonexistent&known_hosts=/nonexistent",
		"-dest", "c=s3:///nobucket?colour=blue", "-adopt", filepath.Join(dir, "vpn"), "-adopt-max-bytes", "lots", "-adopt-patience", "-1s")
	for _, want := range []string{"many", "colour", "smoke", "gopher", "/nonexistent", "-dest c", "this collector's own", "lots", "-adopt-patience"} {
		if !strings.Contains(said, want) {
			t.Errorf("nothing said of %s:\n%s", want, said)
		}
	}
	said = usage(t, 2, "-spool", dir, "-listen", "vpn=udp://127.0.0.1:0", "-dest", "a=file://"+t.TempDir(), "-spool-max-bytes", "1MiB")
	if !strings.Contains(said, "raise MaxBytes") {
		t.Errorf("nothing said of a quota that holds no segment:\n%s", said)
	}
}

// TestHelp: asking for help is no mistake, and the answer is clean.
func TestHelp(t *testing.T) {
	out, err := exec.Command(binary(t, "collector"), "-h").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "-spool-max-bytes") || strings.Contains(string(out), "panic") {
		t.Errorf("collector -h: %v\n%s", err, out)
	}
}

// TestHeld: a second collector on the same spool is refused and told who has it; the first is not disturbed.
func TestHeld(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	addr := testserver.FreeAddr(t)
	args := []string{"-listen", "vpn=udp://" + addr, "-dest", "a=file://" + out}
	c := startCollector(t, dir, nil, args...).ready()
	said := usage(t, 1, append([]string{"-spool", dir}, "-listen", "vpn=udp://127.0.0.1:0", "-dest", "a=file://"+out)...)
	if !strings.Contains(said, fmt.Sprintf("process %d", c.cmd.Process.Pid)) {
		t.Errorf("the holder is not named:\n%s", said)
	}
	sent := loadgenSend(t, "-to", "udp://"+addr, "-count", "1000", "-rate", "20000", "-run", "held")
	if code := c.end(syscall.SIGTERM, 20*time.Second); code != 3 {
		t.Errorf("exit code %d after stopping with data kept", code)
	}
	if r := c.report(); r.Outcome != "stopped" || r.Classes["vpn"].Kept.Records != sent.Sent {
		t.Errorf("report: %+v", r)
	}
}

// TestDestinationsNeverStopAStart: each of these destinations is unusable in a different way; the collector accepts records
// from the first second, reports within ten what is wrong and how to fix it, and keeps everything.
func TestDestinationsNeverStopAStart(t *testing.T) {
	s := startServers(t)
	stranger := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(stranger, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dead := testserver.FreeAddr(t)
	addr := testserver.FreeAddr(t)
	c := startCollector(t, t.TempDir(), s.env, "-listen", "vpn=tcp://"+addr,
		"-dest", "unreachable=sftp://u@"+dead+"/d?key="+s.ssh.KeyFile+"&known_hosts="+s.ssh.KnownHosts,
		"-dest", "stranger="+strings.Replace(s.sftp, url.QueryEscape(s.ssh.KnownHosts), url.QueryEscape(stranger), 1),
		"-dest", "nobucket="+strings.Replace(s.s3, testserver.Bucket+"/", "absent-bucket/", 1),
		"-dest", "unwritable=file:///proc/penstock",
	).ready()
	sent := loadgenSend(t, "-to", "tcp://"+addr, "-count", "5000", "-run", "early")
	c.until("all four to be named in the log", 10*time.Second, func() bool {
		log := c.log.String()
		for _, dest := range []string{"unreachable", "stranger", "nobucket", "unwritable"} {
			if !strings.Contains(log, "destination="+dest) {
				return false
			}
		}
		return strings.Contains(log, "known_hosts")
	})
	if code := c.end(syscall.SIGTERM, 20*time.Second); code != 3 {
		t.Errorf("exit code %d", code)
	}
	if r := c.report(); r.Classes["vpn"].Kept.Records != sent.Sent {
		t.Errorf("kept %+v of %d", r.Classes["vpn"].Kept, sent.Sent)
	}
}

// TestSecondSignal: with a destination that never answers a drain cannot end for ten minutes; the second signal makes it report
// and leave long before, and the next start has everything.
func TestSecondSignal(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts nothing: connections stay in the backlog
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := startServers(t)
	dir, out, addr := t.TempDir(), t.TempDir(), testserver.FreeAddr(t)
	args := []string{
		"-listen", "vpn=tcp://" + addr, "-on-term", "drain", "-dest", "dir=file://" + out,
		"-dest", "deaf=sftp://u@" + l.Addr().String() + "/d?key=" + s.ssh.KeyFile + "&known_hosts=" + s.ssh.KnownHosts,
	}
	c := startCollector(t, dir, nil, args...).ready()
	sent := loadgenSend(t, "-to", "tcp://"+addr, "-count", "5000", "-run", "deaf")
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	shipping(c)
	if code := c.end(syscall.SIGTERM, time.Minute); code != 4 {
		t.Errorf("exit code %d", code)
	}
	r := c.report()
	if r.Outcome != "incomplete" || r.Classes["vpn"].Kept.Records != sent.Sent || len(r.Left) == 0 || r.Left[0].Destination != "deaf" {
		t.Errorf("report: %s", r.JSON())
	}
	// The report is written: the next start listens again, and stops with everything still there.
	c = startCollector(t, dir, nil, args...).ready()
	loadgenSend(t, "-to", "tcp://"+addr, "-count", "10", "-run", "again")
	c.cmd.Process.Signal(syscall.SIGTERM)
	shipping(c)
	if code := c.end(syscall.SIGTERM, time.Minute); code != 4 {
		t.Errorf("exit code %d", code)
	}
	if r := c.report(); r.Classes["vpn"].Kept.Records != sent.Sent+10 {
		t.Errorf("kept %+v", r.Classes["vpn"].Kept)
	}
}

// shipping waits until a drain ships, and until another signal is no echo of the first one (see drain.Drainer.Run).
func shipping(c *collector) {
	c.t.Helper()
	begin := time.Now()
	c.until("the drain to ship", 10*time.Second, func() bool {
		return strings.Contains(c.log.String(), "phase=ship") && time.Since(begin) > 500*time.Millisecond
	})
}

// TestKilledDrain: a drain that is killed before its report goes on at the next start, with the listeners closed.
func TestKilledDrain(t *testing.T) {
	s := startServers(t)
	dir, addr := t.TempDir(), testserver.FreeAddr(t)
	args := []string{"-listen", "vpn=tcp://" + addr, "-dest", "idc=" + s.sftp, "-dest", "s3=" + s.s3, "-on-term", "drain"}
	c := startCollector(t, dir, s.env, args...).ready()
	sent := loadgenSend(t, "-to", "tcp://"+addr, "-count", "20000", "-run", "killed")
	s.ssh.Stop()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.until("the drain to ship", 10*time.Second, func() bool { return strings.Contains(c.log.String(), "phase=ship") })
	c.end(syscall.SIGKILL, 10*time.Second)

	c = startCollector(t, dir, s.env, args...)
	c.until("the drain to go on", 20*time.Second, func() bool { return strings.Contains(c.log.String(), "phase=ship") })
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Error("a resumed drain listens")
	}
	s.ssh.Start()
	if code := c.wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if r := c.report(); r.Outcome != "delivered" || !strings.Contains(r.Trigger, "terminated") {
		t.Errorf("report: %s", r.JSON())
	}
	loadgenCheck(t, s.env, "killed", sent.Sent, s.s3, s.sftp)
}

// TestDeadDestination: a destination that is down for a whole life of the collector delays the other by nothing, and has
// everything once it is back.
func TestDeadDestination(t *testing.T) {
	s := startServers(t)
	dir, addr := t.TempDir(), testserver.FreeAddr(t)
	args := []string{
		"-listen", "vpn=tcp://" + addr, "-dest", "idc=" + s.sftp, "-dest", "s3=" + s.s3,
		"-segment-bytes", "1MiB", "-segment-age", "1s",
	}
	s.ssh.Stop()
	c := startCollector(t, dir, s.env, append(args, "-on-term", "stop")...).ready()
	sent := loadgenSend(t, "-to", "tcp://"+addr, "-count", "30000", "-run", "dead")
	c.until("everything to be at s3", 20*time.Second, func() bool {
		cmd := exec.Command(binary(t, "loadgen"), "check", "-run", "dead", "-sent", "30000", "-at", s.s3)
		cmd.Env = append(os.Environ(), s.env...)
		return cmd.Run() == nil
	})
	if code := c.end(syscall.SIGTERM, 20*time.Second); code != 3 {
		t.Errorf("exit code %d", code)
	}
	d := c.report().Classes["vpn"].Destinations
	if d["s3"].Delivered.Records != sent.Sent || d["idc"].Delivered.Records != 0 || d["idc"].Pending.Records != sent.Sent {
		t.Errorf("destinations: %+v", d)
	}
	s.ssh.Start()
	c = startCollector(t, dir, s.env, append(args, "-on-term", "drain")...).ready()
	if code := c.end(syscall.SIGTERM, time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	loadgenCheck(t, s.env, "dead", sent.Sent, s.s3, s.sftp)
}
