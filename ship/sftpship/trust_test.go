package sftpship

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
)

// newKey makes a key in a file.
func newKey(t *testing.T, file string) ssh.Signer {
	t.Helper()
	if _, err := testserver.WriteKey(file); err != nil {
		t.Fatal(err)
	}
	return signer(t, file)
}

func signer(t *testing.T, file string) ssh.Signer {
	t.Helper()
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func keygen(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command(testserver.Find(t, "ssh-keygen", "openssh-client"), args...).CombinedOutput()
	return string(out), err
}

// certify writes a certificate for a key beside it, as ssh-keygen -s does.
func certify(t *testing.T, ca ssh.Signer, file string, key ssh.PublicKey, kind uint32, principal string) {
	t.Helper()
	cert := &ssh.Certificate{Key: key, CertType: kind, ValidPrincipals: []string{principal}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, ssh.MarshalAuthorizedKey(cert), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestHostKeys: every form of known_hosts that ssh(1) understands is understood, and a server that is not in it gets
// only a handshake.
func TestHostKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, stranger := newKey(t, filepath.Join(dir, "ca")), newKey(t, filepath.Join(dir, "stranger"))
	// The server has two keys of different types, and a certificate for the second.
	second := filepath.Join(dir, "second")
	if out, err := keygen(t, "-q", "-t", "ecdsa", "-N", "", "-f", second); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	certify(t, ca, second+"-cert.pub", signer(t, second).PublicKey(), ssh.HostCert, "127.0.0.1")
	s := testserver.StartSSHD(t, "ForceCommand internal-sftp", `HostKey "`+second+`"`, `HostCertificate "`+second+`-cert.pub"`)
	raw := s.URL("d")
	text, err := os.ReadFile(s.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	first := strings.TrimSpace(string(text))
	_, _, firstKey, _, _, err := ssh.ParseKnownHosts(text)
	if err != nil {
		t.Fatal(err)
	}
	host := knownhosts.Normalize(s.Addr)
	line := func(host string, key ssh.PublicKey) string { return knownhosts.Line([]string{host}, key) }

	for name, known := range map[string]string{
		"plain":                      first,
		"the second key alone":       line(s.Addr, signer(t, second).PublicKey()),
		"hashed":                     strings.Replace(first, host, knownhosts.HashHostname(host), 1),
		"wildcard":                   strings.Replace(first, host, "[127.0.0.*]:"+port(s.Addr), 1),
		"certificate authority":      "@cert-authority " + line(s.Addr, ca.PublicKey()),
		"authority and a stale key":  "@cert-authority " + line(s.Addr, ca.PublicKey()) + "\n" + line(s.Addr, stranger.PublicKey()),
		"among others and a comment": "# hosts\n\n" + line("elsewhere", stranger.PublicKey()) + "\n" + first,
	} {
		t.Run(name, func(t *testing.T) {
			if err := open(t, with(t, raw, "known_hosts", known), nil).Check(bounded(t)); err != nil {
				t.Error(err)
			}
		})
	}
	before := strings.Count(s.Log(), "Accepted publickey")
	print := ssh.FingerprintSHA256
	for name, c := range map[string]struct {
		known string
		says  []string
	}{
		"unknown":            {line("elsewhere", firstKey), []string{"unknown host key", "ssh-keygen -lf", `"` + host + " "}},
		"changed":            {line(s.Addr, stranger.PublicKey()), []string{"host key changed", print(firstKey), print(stranger.PublicKey()), ":1"}},
		"negated":            {"*,!" + host + " " + strings.SplitN(first, " ", 2)[1], []string{"unknown host key"}},
		"revoked":            {"@revoked * " + strings.SplitN(first, " ", 2)[1] + "\n" + first, []string{"revoked"}},
		"other authority":    {"@cert-authority " + line(s.Addr, stranger.PublicKey()), []string{"host"}},
		"no key of the type": {"", []string{"lost the host key type", "ssh-keyscan -p"}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.known == "" {
				rsa := filepath.Join(t.TempDir(), "rsa")
				if out, err := keygen(t, "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", rsa); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				c.known = line(s.Addr, signer(t, rsa).PublicKey())
			}
			h := open(t, with(t, raw, "known_hosts", c.known), nil)
			o, body := objectOf("a", 100)
			_, err := h.Put(bounded(t), o, body)
			wantPermanent(t, err, c.says...)
			if want := name == "changed" || name == "revoked"; errors.Is(err, ship.ErrIdentity) != want {
				t.Errorf("that this is another server: want %v, got %v", want, err)
			}
		})
	}
	if after := strings.Count(s.Log(), "Accepted publickey"); after != before {
		t.Errorf("%d logins at servers that are not known", after-before)
	}

	// The file is read again each time: an operator who corrects it need not restart anything.
	t.Run("corrected", func(t *testing.T) {
		raw := with(t, raw, "known_hosts", line(s.Addr, stranger.PublicKey()))
		h := open(t, raw, nil)
		wantPermanent(t, h.Check(bounded(t)), "host key changed")
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(u.Query().Get("known_hosts"), []byte(first), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := h.Check(bounded(t)); err != nil {
			t.Errorf("after the file was corrected: %v", err)
		}
	})
}

func port(addr string) string {
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		panic(err)
	}
	return p
}

// TestCredentials: key, certificate, key with a passphrase, agent; and what is said when none is taken.
func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	ca := newKey(t, filepath.Join(dir, "ca"))
	caFile := filepath.Join(dir, "ca.pub")
	if err := os.WriteFile(caFile, ssh.MarshalAuthorizedKey(ca.PublicKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	s := testserver.StartSSHD(t, "ForceCommand internal-sftp", `TrustedUserCAKeys "`+caFile+`"`)
	with := func(param string) string {
		return strings.Replace(s.URL("d"), "key="+url.QueryEscape(s.KeyFile), param, 1)
	}
	check := func(t *testing.T, url string, o *Options) error {
		t.Helper()
		return open(t, url, o).Check(bounded(t))
	}
	other := filepath.Join(dir, "other")
	otherKey := newKey(t, other)

	t.Run("refused", func(t *testing.T) {
		err := check(t, with("key="+other), nil)
		wantPermanent(t, err, "authorized_keys", strings.TrimSpace(string(ssh.MarshalAuthorizedKey(otherKey.PublicKey()))), other)
	})
	t.Run("wrong user", func(t *testing.T) {
		wantPermanent(t, check(t, strings.Replace(s.URL("d"), s.User+"@", "nobody-here@", 1), nil), `"nobody-here"`)
	})
	t.Run("certificate", func(t *testing.T) {
		certify(t, ca, filepath.Join(dir, "elsewhere.pub"), otherKey.PublicKey(), ssh.UserCert, s.User)
		if err := check(t, with("key="+other+"&cert="+filepath.Join(dir, "elsewhere.pub")), nil); err != nil {
			t.Error(err)
		}
		certify(t, ca, other+"-cert.pub", otherKey.PublicKey(), ssh.UserCert, s.User)
		if err := check(t, with("key="+other), nil); err != nil {
			t.Errorf("beside the key: %v", err)
		}
	})
	t.Run("passphrase", func(t *testing.T) {
		if out, err := keygen(t, "-q", "-a", "1", "-p", "-P", "", "-N", "open sesame", "-f", s.KeyFile); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		defer keygen(t, "-q", "-p", "-P", "open sesame", "-N", "", "-f", s.KeyFile)
		if err := check(t, s.URL("d"), &Options{Passphrase: "open sesame"}); err != nil {
			t.Error(err)
		}
		if _, err := Open(t.Context(), s.URL("d"), nil); err == nil || !strings.Contains(err.Error(), "passphrase") {
			t.Errorf("Open without the passphrase: %v", err)
		}
	})
	t.Run("agent", func(t *testing.T) {
		raw, err := ssh.ParseRawPrivateKey(read(t, s.KeyFile))
		if err != nil {
			t.Fatal(err)
		}
		ring := agent.NewKeyring()
		if err := ring.Add(agent.AddedKey{PrivateKey: raw}); err != nil {
			t.Fatal(err)
		}
		t.Setenv(agentSocket, serveAgent(t, ring))
		if err := check(t, with(""), nil); err != nil {
			t.Error(err)
		}
		if err := ring.RemoveAll(); err != nil {
			t.Fatal(err)
		}
		wantPermanent(t, check(t, with(""), nil), "the keys of the agent")
	})
}

// TestJump: through a bastion, whose key is verified like any other; a black hole there ends like any other.
func TestJump(t *testing.T) {
	t.Parallel()
	// The bastion lets the account go on to the server and nothing else.
	inner := testserver.StartSSHD(t, "ForceCommand internal-sftp", "AllowTcpForwarding no")
	outer := testserver.StartSSHD(t, "ForceCommand /bin/false", "PermitOpen "+inner.Addr)
	both := string(read(t, inner.KnownHosts)) + string(read(t, outer.KnownHosts))
	// Both take the one key.
	authorized := filepath.Join(filepath.Dir(outer.KeyFile), "authorized_keys")
	if err := os.WriteFile(authorized, ssh.MarshalAuthorizedKey(signer(t, inner.KeyFile).PublicKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	raw := with(t, inner.URL("d"), "known_hosts", both) + "&jump=" + outer.User + "@" + outer.Addr
	h := open(t, raw, nil)
	o, body := objectOf("a/b", 1<<20)
	for range 2 {
		if _, err := h.Put(bounded(t), o, body); err != nil {
			t.Fatal(err)
		}
	}
	wantFile(t, filepath.Join(inner.Dir, "d", o.Key), o)
	for _, known := range []string{inner.KnownHosts, outer.KnownHosts} {
		err := open(t, with(t, raw, "known_hosts", string(read(t, known))), nil).Check(bounded(t))
		wantPermanent(t, err, "unknown host key")
	}
	shut := testserver.StartSSHD(t, "AllowTcpForwarding no")
	if err := os.WriteFile(filepath.Join(filepath.Dir(shut.KeyFile), "authorized_keys"), read(t, authorized), 0o600); err != nil {
		t.Fatal(err)
	}
	raw2 := with(t, inner.URL("d"), "known_hosts", both+string(read(t, shut.KnownHosts))) + "&jump=" + shut.User + "@" + shut.Addr
	wantPermanent(t, open(t, raw2, nil).Check(bounded(t)), "PermitOpen", shut.Addr, inner.Addr)
	outer.Pause()
	t.Cleanup(outer.Resume)
	short := open(t, raw, &Options{StallTimeout: time.Second})
	_, err := short.Put(bounded(t), o, body)
	wantTransient(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Stat(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	outer.Resume()
	if _, err := h.Stat(bounded(t), o.Key); err != nil {
		t.Error(err)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// serveAgent serves an agent on a socket, whose path it returns.
func serveAgent(t *testing.T, ring agent.Agent) string {
	t.Helper()
	// Not t.TempDir: a socket's path has to be short.
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				_ = agent.ServeAgent(ring, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
		os.RemoveAll(dir)
	})
	return filepath.Join(dir, "s")
}

// TestRefusals: if the server forbids something, or something is missing there, the error names the directory and the
// cure.
func TestRefusals(t *testing.T) {
	t.Parallel()
	put := func(url string) error {
		o, body := objectOf("a/b", 100)
		_, err := open(t, url, nil).Put(bounded(t), o, body)
		return err
	}
	readOnly := testserver.StartSSHD(t, "ForceCommand internal-sftp -R")
	for what, err := range map[string]error{"Put": put(readOnly.URL("d")), "Check": open(t, readOnly.URL("d"), nil).Check(bounded(t))} {
		t.Run("read-only "+what, func(t *testing.T) {
			wantPermanent(t, err, filepath.Join(readOnly.Dir, "d"), readOnly.User, "write")
		})
	}
	wantPermanent(t, put(testserver.StartSSHD(t, "ForceCommand internal-sftp").URL("d")+"&verify=exec"), "verify=readback")
	s, _ := inProcess(t, nil)
	for _, err := range open(t, s.URL("/no/such"), nil).List(bounded(t), "class=x/") {
		wantPermanent(t, err, "no directory /no/such", "mounted")
	}
	// A first delivery makes the directory.
	real := strings.Replace(testserver.StartSSHD(t).URL("d"), "/d?", "/d/made/by/put?", 1)
	for _, url := range []string{s.URL("/made/by/put"), real} {
		if err := put(url); err != nil {
			t.Error(err)
		}
	}
	if err := open(t, s.URL("/made/by/check"), nil).Check(bounded(t)); err != nil {
		t.Error(err)
	}
	noSFTP := testserver.StartSSHD(t, "Subsystem sftp /no/such/program")
	if err := put(noSFTP.URL("d")); err == nil {
		t.Error("Put succeeds without an SFTP server")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	wantTransient(t, put(at(t, s.URL("/"), l.Addr().String())))
}
