package testserver

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// SSHD is OpenSSH's server on loopback, with its own configuration, host key, port and user key: nothing of the system's is
// read or changed. It accepts only the user of this process.
type SSHD struct {
	Addr       string // host:port, the same after a restart
	User       string
	KeyFile    string // the user's private key
	KnownHosts string
	Dir        string // an empty directory to serve from; absolute

	binary, config string

	mu    sync.Mutex
	cmd   *exec.Cmd // nil while stopped
	ended chan struct{}
	log   *Log
}

// StartSSHD starts an SSHD for the length of a test. Lines of sshd_config given as extra win over its own. Without the
// binary the test is skipped, except in CI.
func StartSSHD(t testing.TB, extra ...string) *SSHD {
	t.Helper()
	Find(t, "sshd", "openssh-server")
	s, err := NewSSHD(t.TempDir(), extra...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// NewSSHD starts an SSHD whose files lie in dir. The caller stops it.
func NewSSHD(dir string, extra ...string) (*SSHD, error) {
	binary, err := find("sshd")
	if err != nil {
		return nil, err
	}
	if binary, err = filepath.Abs(binary); err != nil { // sshd executes itself again, and insists
		return nil, err
	}
	u, err := user.Current()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	s := &SSHD{
		Addr: addr, User: u.Username,
		KeyFile: filepath.Join(dir, "user_key"), KnownHosts: filepath.Join(dir, "known_hosts"), Dir: filepath.Join(dir, "data"),
		binary: binary, config: filepath.Join(dir, "sshd_config"),
	}
	if err := s.files(dir, extra); err != nil {
		return nil, err
	}
	return s, s.run()
}

// files writes keys and configuration.
func (s *SSHD) files(dir string, extra []string) error {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	if os.Getuid() == 0 {
		// Its privilege separation wants this directory, which a package makes at boot only.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return err
		}
	}
	host, err := WriteKey(filepath.Join(dir, "host_key"))
	if err != nil {
		return err
	}
	public, err := WriteKey(s.KeyFile)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	var c strings.Builder
	for _, line := range extra {
		fmt.Fprintln(&c, line) // first: sshd takes the first value it reads
	}
	fmt.Fprintf(&c, "ListenAddress 127.0.0.1\nPort %s\nHostKey \"%s\"\nAuthorizedKeysFile \"%s\"\n", port,
		filepath.Join(dir, "host_key"), filepath.Join(dir, "authorized_keys"))
	c.WriteString("PidFile none\nStrictModes no\nUsePAM no\nUseDNS no\nPrintMotd no\nPermitRootLogin prohibit-password\n" +
		"PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100:30:200\nLogLevel INFO\n" +
		// The start-up files of the user who runs the tests must not run: some use a second of CPU.
		"SetEnv HOME=/nonexistent\n")
	if !strings.Contains(strings.Join(extra, "\n"), "Subsystem") {
		c.WriteString("Subsystem sftp internal-sftp\n")
	}
	return errors.Join(
		os.WriteFile(s.config, []byte(c.String()), 0o600),
		os.WriteFile(filepath.Join(dir, "authorized_keys"), ssh.MarshalAuthorizedKey(public), 0o600),
		os.WriteFile(s.KnownHosts, []byte(knownhosts.Line([]string{s.Addr}, host)+"\n"), 0o600),
	)
}

// WriteKey makes an Ed25519 key, writes its private half in OpenSSH's format, and returns the public one.
func WriteKey(file string) (ssh.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return ssh.NewPublicKey(public)
}

// URL of a directory below Dir as sftpship takes it. The directory is made if it is not there.
func (s *SSHD) URL(dir string) string {
	dir = filepath.Join(s.Dir, dir)
	if err := os.MkdirAll(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		panic(err)
	}
	u := url.URL{
		Scheme: "sftp", User: url.User(s.User), Host: s.Addr, Path: dir,
		RawQuery: url.Values{"key": {s.KeyFile}, "known_hosts": {s.KnownHosts}}.Encode(),
	}
	return u.String()
}

// Start starts a stopped server again, on the same port. It panics if that is impossible.
func (s *SSHD) Start() {
	if err := s.run(); err != nil {
		panic(err)
	}
}

// run starts the process and returns when it listens.
func (s *SSHD) run() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		return errors.New("testserver: sshd runs already")
	}
	log := new(Log)
	listens := log.await("Server listening")
	cmd := exec.Command(s.binary, "-D", "-e", "-f", s.config)
	cmd.Stderr = log
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	s.cmd, s.ended, s.log = cmd, ended, log
	select {
	case <-listens:
		return nil
	case <-ended:
		s.cmd = nil
		return fmt.Errorf("testserver: sshd ended: %s", log)
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
		s.cmd = nil
		return fmt.Errorf("testserver: sshd does not listen: %s", log)
	}
}

// Log returns what the server has said.
func (s *SSHD) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}
