package main

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNoChecksum: over IPv4 a sender may omit the checksum of a datagram, as some flow exporters do. The kernel must not treat
// the 0 as a checksum to adjust: the receiver would then drop the datagram, and no account would include it.
func TestNoChecksum(t *testing.T) {
	for _, mode := range [][]string{{"-check", "off"}, {"-mode", "generations"}} {
		t.Run(mode[1], func(t *testing.T) {
			f := newField(t, 3, false)
			f.use(addrs(0, 3)...)
			p := f.start(nil, append([]string{"-engine", "nft", "-listen", relay4.String()}, mode...)...)
			raw, err := f.conn.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			var serr error
			if err := raw.Control(func(fd uintptr) { serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1) }); err != nil || serr != nil {
				t.Fatal(err, serr)
			}
			f.send(300, 10000, 100)
			f.wantAll()
			f.send(300, 10000, 1900)
			f.wantAll()
			p.wantAccount(f.sent, 0)
		})
	}
}

// TestForeignTable: a table of the same name that another program has made is never touched.
func TestForeignTable(t *testing.T) {
	f := newField(t, 2, false)
	f.use(addrs(0, 2)...)
	f.relay.run("nft", "add table inet filter; add chain inet filter input { type filter hook input priority 0; policy accept; }; add rule inet filter input tcp dport 22 accept")
	before := f.relay.run("nft", "list", "ruleset")
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	built.Store(true)
	err = f.relay.do(func() error {
		out, err := runUntil(func(string) bool { return false }, path, "-engine", "nft", "-listen", relay4.String(), "-targets", "file:"+f.list, "-check", "off", "-table", "filter")
		t.Logf("%s", out)
		return err
	})
	if err == nil {
		t.Error("it took the table over")
	}
	if after := f.relay.run("nft", "list", "ruleset"); after != before {
		t.Errorf("the table of another program is now %q", after)
	}
}

// TestTableTaken: another program removes the table and makes one of the same name. The relay does not touch it, keeps its
// account, and logs why nothing is forwarded.
func TestTableTaken(t *testing.T) {
	f := newField(t, 3, false)
	f.use(addrs(0, 2)...)
	p := f.start(nil, "-engine", "nft", "-listen", relay4.String(), "-check", "off", "-refresh", "50ms")
	f.send(300, 10000, 100)
	f.wantAll()
	p.wantAccount(300, 0)
	f.relay.run("nft", "flush ruleset; add table inet penstock_relay; add chain inet penstock_relay mine")
	before := f.relay.run("nft", "list", "ruleset")
	f.use(addrs(0, 3)...)
	p.wait("File exists", nil)
	p.wantAccount(300, 0)
	if err := p.end(syscall.SIGTERM); err == nil || !strings.Contains(p.log.String(), "is left alone") {
		t.Errorf("%v\n%s", err, p.log)
	}
	if after := f.relay.run("nft", "list", "ruleset"); after != before {
		t.Errorf("the table of another program is now %q", after)
	}
}

// TestDroppedLate: a datagram that a rule of another table drops at the last moment is counted.
func TestDroppedLate(t *testing.T) {
	f := newField(t, 2, false)
	f.use(addrs(0, 2)...)
	p := f.start(nil, "-engine", "nft", "-listen", relay4.String(), "-check", "off")
	f.relay.run("nft", fmt.Sprintf("add table ip late; add chain ip late out { type filter hook postrouting priority 200; }; add rule ip late out udp dport %d numgen inc mod 4 0 drop", port))
	f.send(400, 10000, 100)
	f.arrived(300)
	p.wantAccount(400, 100)
}

// TestTwoTables: after routing it is unknown to which of two relays in one network namespace a datagram belongs. So the second
// relay refuses a target of the first one, and forwards to others; a relay with the same table refuses to start, even with
// another engine.
func TestTwoTables(t *testing.T) {
	f := newField(t, 3, false)
	f.use(addrs(0, 2)...)
	p := f.start(nil, "-engine", "nft", "-listen", relay4.String(), "-check", "off")
	second := netip.AddrPortFrom(relay4.Addr(), port+1)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-engine", "nft", "-table", "other"}, {"-engine", "auto"}} {
		refused := func(log string) bool {
			return strings.Contains(log, "table inet penstock_relay also has it") || strings.Contains(log, "another process controls the table")
		}
		var out string
		_ = f.relay.do(func() (err error) {
			out, err = runUntil(refused, path, append([]string{"-listen", second.String(), "-targets", "file:" + f.list, "-check", "off"}, args...)...)
			return err
		})
		if !refused(out) {
			t.Errorf("%v: %s", args, out)
		}
	}
	f.send(300, 10000, 100)
	f.wantAll()
	p.wantAccount(300, 0)
	f.use(addrs(2, 3)...)
	p.wait("is=[10.250.3.13:5514]", nil)
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if left := f.relay.run("nft", "list", "tables"); strings.TrimSpace(left) != "" {
		t.Errorf("left behind: %s", left)
	}
}

// runUntil runs a program until it ends, or its log says enough. The program should refuse at once; even a busy machine needs
// at most a minute for that.
func runUntil(enough func(log string) bool, path string, args ...string) (string, error) {
	log, done := &logBuffer{}, make(chan error, 1)
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); !enough(log.String()) && time.Since(begin) < time.Minute; {
		select {
		case err := <-done:
			return log.String(), err
		case <-tick.C:
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	err := <-done
	return log.String(), err
}
