package sftpd

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, dir string) *Server {
	t.Helper()
	s, err := Start(dir, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// dial connects with what the URL says.
func dial(t *testing.T, s *Server, user string) (*ssh.Client, error) {
	t.Helper()
	u, err := url.Parse(s.URL("/"))
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(u.Query().Get("key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		t.Fatal(err)
	}
	known, err := knownhosts.New(u.Query().Get("known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	return ssh.Dial("tcp", u.Host, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: known,
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
}

func client(t *testing.T, s *Server) *sftp.Client {
	t.Helper()
	conn, err := dial(t, s, User)
	if err != nil {
		t.Fatal(err)
	}
	c, err := sftp.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		conn.Close()
		conn.Wait()
	})
	return c
}

func write(c *sftp.Client, name, text string) error {
	f, err := c.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(text))
	return errors.Join(err, f.Close())
}

// TestConfined: no path and no link leads out of the directory.
func TestConfined(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := errors.Join(
		os.WriteFile(secret, []byte("secret"), 0o644),
		os.Symlink(outside, filepath.Join(dir, "out")),
		os.Symlink(secret, filepath.Join(dir, "file"))); err != nil {
		t.Fatal(err)
	}
	c := client(t, start(t, dir))
	for _, name := range []string{secret, "../" + filepath.Base(outside) + "/secret", "/../../.." + secret, "out/secret", "file"} {
		if f, err := c.Open(name); err == nil {
			text, _ := io.ReadAll(f)
			t.Errorf("Open(%s) gives %q", name, text)
		}
	}
	if err := write(c, "inside", "x"); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"create":       write(c, "out/new", "x"),
		"truncate":     c.Truncate("file", 0),
		"chmod":        c.Chmod("out/secret", 0o777),
		"remove":       c.Remove("out/secret"),
		"mkdir":        c.Mkdir("out/new"),
		"link":         c.Link("inside", "out/new"),
		"link of":      c.Link("out/secret", "stolen"),
		"rename":       c.Rename("inside", "out/new"),
		"posix-rename": c.PosixRename("inside", "out/new"),
		"symlink":      c.Symlink(secret, "stolen"),
	} {
		if err == nil {
			t.Errorf("%s leads out of the directory", what)
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside are now %v, %v", entries, err)
	}
	if text, err := os.ReadFile(secret); err != nil || string(text) != "secret" {
		t.Errorf("the secret is now %q, %v", text, err)
	}
}

// TestNoClobber: a version 3 rename, a link and an exclusive creation fail if the name exists; a posix-rename replaces.
func TestNoClobber(t *testing.T) {
	dir := t.TempDir()
	c := client(t, start(t, dir))
	if err := errors.Join(write(c, "a", "a"), write(c, "b", "b")); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"rename": c.Rename("a", "b"), "link": c.Link("a", "b"), "create": write(c, "b", "c")} {
		if err == nil {
			t.Errorf("%s replaces a file", what)
		}
	}
	want := func(name, text string) {
		t.Helper()
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != text {
			t.Errorf("%s holds %q, %v, want %q", name, got, err, text)
		}
	}
	want("b", "b")
	if err := c.Rename("a", "c"); err != nil {
		t.Error(err)
	}
	want("c", "a")
	if err := c.PosixRename("c", "b"); err != nil {
		t.Error(err)
	}
	want("b", "a")
	if _, err := c.Stat("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat of a renamed file: %v", err)
	}
	if _, err := c.Stat("b/c"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat below a file: %v", err)
	}
}

// TestDirectories: more entries than fit into one answer are listed.
func TestDirectories(t *testing.T) {
	c := client(t, start(t, t.TempDir()))
	if err := c.MkdirAll("a/b"); err != nil {
		t.Fatal(err)
	}
	want := 3 * int(sftp.MaxFilelist) / 2
	for i := range want {
		if err := write(c, "a/b/"+strings.Repeat("x", i+1), ""); err != nil {
			t.Fatal(err)
		}
	}
	if entries, err := c.ReadDir("a/b"); err != nil || len(entries) != want {
		t.Errorf("ReadDir gives %d entries, %v, want %d", len(entries), err, want)
	}
	if c.RemoveDirectory("a/b") == nil || c.RemoveDirectory("a/b/x") == nil {
		t.Error("RemoveDirectory removes what is no empty directory")
	}
	if err := c.RemoveAll("a"); err != nil {
		t.Error(err)
	}
}

// TestRefused: other users, other keys, and anything but SFTP.
func TestRefused(t *testing.T) {
	s := start(t, t.TempDir())
	if c, err := dial(t, s, "root"); err == nil {
		c.Close()
		t.Error("another user may log in")
	}
	c, err := dial(t, s, User)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer c.Close()
	session, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Run("true"); err == nil {
		t.Error("a command is executed")
	}
	if conn, err := c.Dial("tcp", s.Addr); err == nil {
		conn.Close()
		t.Error("a port is forwarded")
	}
	other := start(t, t.TempDir())
	s.KeyFile = other.KeyFile
	if c, err := dial(t, s, User); err == nil {
		c.Close()
		t.Error("another key may log in")
	}
}

// TestStop: a stopped server cuts its connections and refuses new ones; it comes back on the same port, with the same key.
func TestStop(t *testing.T) {
	s := start(t, t.TempDir())
	for range 3 {
		c := client(t, s)
		if _, err := c.Stat("/"); err != nil {
			t.Fatal(err)
		}
		s.Stop()
		s.Stop()
		if _, err := c.Stat("/"); err == nil {
			t.Error("a stopped server answers")
		}
		if conn, err := net.Dial("tcp", s.Addr); err == nil {
			conn.Close()
			t.Error("a stopped server listens")
		}
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		if s.Restart() == nil {
			t.Error("Restart of a running server succeeds")
		}
	}
}
