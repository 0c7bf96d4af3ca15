//go:build linux

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/internal/test/testserver"
)

// TestReload changes the settings of a collector under load: destinations join, the key of an SFTP account and the certificate of a
// TLS listener are renewed, limits and the log level change, and a file with mistakes changes nothing. Nothing is lost, and the
// audit finds every chain complete.
func TestReload(t *testing.T) {
	sshd := testserver.StartSSHD(t)
	tmp := t.TempDir()
	dirA, dirB := t.TempDir(), t.TempDir()
	tcp, web := testserver.FreeAddr(t), testserver.FreeAddr(t)
	testserver.WriteCert(t, tmp, "web")
	file := filepath.Join(tmp, "collector.yaml")
	write := func(level, dests, more string) {
		t.Helper()
		text := fmt.Sprintf("lifecycle: none\non-term: drain\nsegment-age: 300ms\nlog-level: %s\ndest:\n  a: file://%s\n%s%s"+
			"classes:\n  vpn:\n    listen: tcp://%s\n  web:\n    codec: gzip\n    listen: {url: 'tls://%s', cert: %s/web.pem, key: %s/web.key}\n",
			level, dirA, dests, more, tcp, web, tmp, tmp)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("info", "", "limit: {a: 50MiB}\n")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(tmp, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	c := startCollector(t, filepath.Join(tmp, "spool"), []string{"NOTIFY_SOCKET=" + systemd.LocalAddr().String()}, "-config", file).ready()
	says := func(what string) {
		t.Helper()
		c.until(what, 20*time.Second, func() bool { return strings.Contains(c.log.String(), what) })
	}
	hangup := func(want string) {
		t.Helper()
		if err := c.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		says(want)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sent := make(chan sendResult, 1)
	load := exec.CommandContext(ctx, binary(t, "loadgen"), "send", "-to", "tcp://"+tcp, "-rate", "3000", "-for", "10m", "-run", "reload", "-sources", "2")
	load.Cancel = func() error { return load.Process.Signal(os.Interrupt) } // it prints what it has sent
	go func() {
		var r sendResult
		out, _ := load.Output()
		_ = json.Unmarshal(out, &r)
		sent <- r
	}()
	// wanted waits until a destination has objects of new records.
	wanted := func(dir string) {
		t.Helper()
		count := func() int { all, _ := filepath.Glob(filepath.Join(dir, "class=vpn", "*", "*", "*")); return len(all) }
		before := count()
		c.until("objects in "+dir, 20*time.Second, func() bool { return count() > before })
	}
	wanted(dirA)

	// Two destinations join. What is wrong in a file leaves everything as it is.
	key := filepath.Join(tmp, "first_key")
	authorize(t, sshd, key)
	sftp := func(key string) string {
		return fmt.Sprintf("  idc:\n    url: %s\n    key: %s\n    known_hosts: %s\n", strings.Split(sshd.URL("in"), "?")[0], key, sshd.KnownHosts)
	}
	b := "  b: file://" + dirB + "\n"
	write("info", b+sftp(key), "limits: {a: 1MiB}\n")
	hangup("limits: there is no such key; did you mean limit?")
	write("debug", b+sftp(key), "limit: {a: 40MiB, idc: 30MiB}\n")
	hangup("reload: the settings are in effect")
	for _, want := range []string{"log-level: debug, was info", "limit a: 41943040 bytes/s", "dest b: is served now", "dest idc: is served now"} {
		says(want)
	}
	wanted(dirB)
	wanted(filepath.Join(sshd.Dir, "in"))

	// The SFTP account gets another key: the first is refused, and the destination waits for the second.
	second := filepath.Join(tmp, "second_key")
	authorize(t, sshd, second)
	write("info", b+sftp(second), "limit: {a: 40MiB}\n")
	hangup("dest idc: uses its new parameters")
	wanted(filepath.Join(sshd.Dir, "in"))

	// The certificate is renewed under its name: no reload is needed.
	pair := testserver.WriteCert(t, tmp, "web")
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	conn, err := tls.Dial("tcp", web, &tls.Config{RootCAs: roots, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(conn, "over the renewed certificate")
	conn.Close()

	// What takes a new process is named.
	write("info", b+sftp(second), "limit: {a: 40MiB}\nspool-max-bytes: 10GiB\nhttp: 127.0.0.1:1\n")
	hangup("spool-max-bytes: it is read at the start only")
	write("info", "", "")
	hangup("dest b: removed here and still served")

	cancel()
	s := <-sent
	notified(t, systemd, "READY=1", "RELOADING=1\nMONOTONIC_USEC=", "READY=1", "RELOADING=1\nMONOTONIC_USEC=", "READY=1")
	if s.Sent == 0 {
		t.Fatal("loadgen does not say what it sent")
	}
	if code := c.end(syscall.SIGTERM, time.Minute); code != 0 {
		t.Fatalf("exit code %d\n%s", code, tail(c.log.String(), 30))
	}
	r := c.report()
	if vpn := r.Classes["vpn"]; r.Outcome != drain.Delivered || vpn.Received.Records != s.Sent || vpn.Kept.Records != s.Sent {
		t.Errorf("%d sent; %s, %+v", s.Sent, r.Outcome, vpn)
	}
	loadgenCheck(t, nil, "reload", s.Sent, "file://"+dirA)
	cmd := exec.Command(binary(t, "audit"), "-at", "file://"+dirA, "-at", "file://"+dirB, "-at", sshd.URL("in"), "-deep")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("audit: %v\n%s", err, out)
	}
	if strings.Contains(c.log.String(), "BEGIN OPENSSH") {
		t.Error("a secret is in the log")
	}
}

// notified reads what systemd was sent until these states have come in their order.
func notified(t *testing.T, systemd *net.UnixConn, states ...string) {
	t.Helper()
	if err := systemd.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	for len(states) > 0 {
		n, err := systemd.Read(buf)
		if err != nil {
			t.Fatalf("systemd was not sent %q: %v", states, err)
		}
		if strings.HasPrefix(string(buf[:n]), states[0]) {
			states = states[1:]
		}
	}
}

// authorize makes a key, the only one that the account of an sshd accepts from now on.
func authorize(t *testing.T, sshd *testserver.SSHD, file string) {
	t.Helper()
	public, err := testserver.WriteKey(file)
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(sshd.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(old) // of the test's own checks
	if err != nil {
		t.Fatal(err)
	}
	both := append(ssh.MarshalAuthorizedKey(public), ssh.MarshalAuthorizedKey(signer.PublicKey())...)
	if err := os.WriteFile(filepath.Join(filepath.Dir(sshd.KeyFile), "authorized_keys"), both, 0o600); err != nil {
		t.Fatal(err)
	}
}
