package testserver

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestSSHD: the system's own client talks to it; it stops, comes back, stands still, and goes on.
func TestSSHD(t *testing.T) {
	s := StartSSHD(t, "PermitTTY no")
	ssh := Find(t, "ssh", "openssh-client")
	run := func() error {
		host, port, err := net.SplitHostPort(s.Addr)
		if err != nil {
			return err
		}
		out, err := exec.Command(ssh, "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes",
			"-o", `UserKnownHostsFile="`+s.KnownHosts+`"`, "-i", s.KeyFile, "-p", port, s.User+"@"+host, "echo there").CombinedOutput()
		if err == nil && !strings.Contains(string(out), "there") {
			err = errors.New(string(out))
		}
		return err
	}
	if err := run(); err != nil {
		t.Fatalf("%v\n%s", err, s.Log())
	}
	s.Stop()
	s.Stop()
	if err := run(); err == nil {
		t.Error("a stopped server answers")
	}
	s.Start()
	if err := run(); err != nil {
		t.Errorf("after Start: %v", err)
	}
	if fi, err := os.Stat(s.Dir); err != nil || !fi.IsDir() {
		t.Error(err)
	}
	if strings.Contains(s.URL("new/dir"), " ") {
		t.Errorf("URL %q", s.URL("new/dir"))
	}
	if _, err := os.Stat(s.Dir + "/new/dir"); errors.Is(err, fs.ErrNotExist) {
		t.Error("URL does not make the directory")
	}

	// A connection that stands, and so a process of its own.
	c, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "SSH-2.0-OpenSSH") {
		t.Fatalf("banner %q, %v", line, err)
	}
	s.Pause()
	if _, err := c.Write([]byte("SSH-2.0-test\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if b, err := r.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a server that stands still sends %q, %v", b, err)
	}
	s.Resume()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := r.ReadByte(); err != nil {
		t.Errorf("after Resume: %v", err)
	}
	s.Stop()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := r.WriteTo(io.Discard); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("Stop leaves the connection's process behind")
	}
}

// TestBadConfig: what sshd says about its configuration is said.
func TestBadConfig(t *testing.T) {
	Find(t, "sshd", "openssh-server")
	if s, err := NewSSHD(t.TempDir(), "NoSuchKeyword yes"); err == nil || !strings.Contains(err.Error(), "NoSuchKeyword") {
		if err == nil {
			s.Stop()
		}
		t.Errorf("error %v", err)
	}
}
