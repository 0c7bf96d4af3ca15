//go:build linux

package packages

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

// relay runs the relay as described by its unit, in its own network namespace: as the unit's user, with the unit's capability,
// it makes its rules, reports that it is ready, and removes the rules at the end.
func relay(t *testing.T, s *system) {
	t.Helper()
	testserver.Find(t, "nft", "nft (Debian's package nftables)")
	inNamespace(t)
	u, err := readUnit(filepath.Join(s.root, "usr/lib/systemd/system/penstock-udprelay.service"))
	if err != nil {
		t.Fatal(err)
	}
	s.run("ip", "link", "set", "lo", "up")
	s.run("ip", "link", "add", "relay0", "type", "veth", "peer", "name", "relay1")
	s.run("ip", "address", "add", "10.0.1.10/24", "dev", "relay0")
	s.write("/etc/penstock/udprelay.yaml", "listen: [\"10.0.1.10:514\"]\ntargets: \"static:10.0.1.11:5140,10.0.1.12:5140\"\nmode: spray\nengine: nft\ncheck: \"off\"\nhttp: 127.0.0.1:8080\n")
	before, ok := strings.CutPrefix(u.one("Service.ExecStartPre"), "+") // by root
	if !ok {
		t.Fatalf("ExecStartPre=%s", u.one("Service.ExecStartPre"))
	}
	s.run(strings.Fields(before)...)
	start := func() *exec.Cmd {
		cmd := s.command(strings.Fields(u.one("Service.ExecStart"))...)
		uid, gid := (&supervisor{t: t, unit: u}).user(s)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
		cmd.SysProcAttr.AmbientCaps = capabilities(t, u.one("Service.AmbientCapabilities"))
		cmd.Stderr = &testserver.Log{}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		awaitReady(t, "127.0.0.1:8080", cmd)
		return cmd
	}
	cmd := start()
	rules := s.run("nft", "list", "table", "inet", "penstock_relay")
	for _, want := range []string{"ip daddr 10.0.1.10 udp dport 514", "ip daddr set 10.0.1.11", "ip daddr set 10.0.1.12"} {
		if !strings.Contains(rules, want) {
			t.Errorf("no rule has %q:\n%s", want, rules)
		}
	}
	// As systemctl kill --signal=SIGKILL: the kernel goes on, and the next process takes over.
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if s.run("nft", "list", "table", "inet", "penstock_relay") != rules {
		t.Error("the rules went with the process that was killed")
	}
	cmd = start()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the relay ended with %v\n%s", err, cmd.Stderr)
	}
	if err := os.Remove(filepath.Join(s.root, "etc/penstock/udprelay.yaml")); err != nil {
		t.Error(err)
	}
	if rules := s.run("nft", "list", "ruleset"); strings.Contains(rules, "penstock") {
		t.Errorf("rules are left:\n%s", rules)
	}
}

// inNamespace moves this goroutine, and the programs that it starts, into their own network namespace. The thread ends with the
// test, since nothing else may use it.
func inNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("unshare: %v: CI needs network namespaces", err)
		}
		t.Skipf("unshare: %v", err)
	}
}

// awaitReady asks /readyz until it is 200. It dials in this goroutine, whose thread is in the namespace.
func awaitReady(t *testing.T, addr string, cmd *exec.Cmd) {
	t.Helper()
	var last string
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-again.C {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			last = err.Error()
			continue
		}
		answer := make([]byte, 4096)
		fmt.Fprint(c, "GET /readyz HTTP/1.0\r\n\r\n")
		n, _ := c.Read(answer)
		c.Close()
		if last = string(answer[:n]); strings.Contains(last, " 200 ") {
			return
		}
	}
	t.Fatalf("the relay is not ready: %s\n%s", last, cmd.Stderr)
}
