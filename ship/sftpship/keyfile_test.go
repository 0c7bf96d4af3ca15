package sftpship

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/penstock-go/penstock/internal/shell"
	"github.com/penstock-go/penstock/internal/test/testserver"
)

// TestKeyFormats: operators are given keys in many formats. For an unusable one, the error names the format and a
// command that converts it. Commands that this machine has are tried.
func TestKeyFormats(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	known := filepath.Join(dir, "known_hosts")
	plain := filepath.Join(dir, "plain")
	public := newKey(t, plain).PublicKey()
	text := string(read(t, plain))
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("known_hosts", "")
	locked := filepath.Join(dir, "locked")
	write("locked", text)
	if out, err := keygen(t, "-q", "-a", "1", "-p", "-P", "", "-N", "open sesame", "-f", locked); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pkcs8 := filepath.Join(dir, "pkcs8")
	if out, err := keygen(t, "-q", "-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "open sesame", "-f", pkcs8); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	right, wrong := "&passphrase_file="+write("right", "open sesame\n"), "&passphrase_file="+write("wrong", "open barley\r\n")

	for name, c := range map[string]struct {
		file, param string
		says        []string // nothing: it is usable
	}{
		"plain":                   {plain, "", nil},
		"plain, passphrase given": {plain, right, nil},
		"carriage returns":        {write("crlf", strings.ReplaceAll(text, "\n", "\r\n")), "", nil},
		"byte order mark":         {write("bom", "\xef\xbb\xbf"+text), "", nil},
		"passphrase":              {locked, right, nil},
		"no passphrase":           {locked, "", []string{"passphrase_file="}},
		"wrong passphrase":        {locked, wrong, []string{"another passphrase"}},
		"PKCS #8, locked":         {pkcs8, right, []string{"ssh-keygen -p -f " + shell.Quote(pkcs8)}},
		"PuTTY":                   {write("putty", "PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: none\r\n"), "", []string{"PuTTY", "-O private-openssh"}},
		"public":                  {write("public", string(ssh.MarshalAuthorizedKey(public))), "", []string{"public key"}},
		"public, ssh.com":         {write("ssh2", "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n"), "", []string{"public key"}},
		"certificate":             {write("x509", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "", []string{"X.509"}},
		"UTF-16":                  {write("utf16", "-\x00-\x00-\x00"), "", []string{"UTF-16"}},
		"empty":                   {write("empty", "\n"), "", []string{"is empty"}},
		"other":                   {write("other", "hello\n"), "", []string{"ssh-keygen -t ed25519"}},
	} {
		_, err := Open(t.Context(), "sftp://u@h/d?known_hosts="+known+"&key="+c.file+c.param, nil)
		if (err == nil) != (c.says == nil) {
			t.Errorf("%s: Open says %v", name, err)
			continue
		}
		for _, s := range append(c.says, c.file) {
			if err != nil && !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %v\ndoes not say %q", name, err, s)
			}
		}
		if err != nil && (strings.Contains(err.Error(), "sesame") || strings.Contains(err.Error(), "barley")) {
			t.Errorf("%s: %v\nshows the passphrase", name, err)
		}
	}
	// The cure for PKCS #8 does what it says.
	if out, err := keygen(t, "-q", "-a", "1", "-p", "-P", "open sesame", "-N", "open sesame", "-f", pkcs8); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	open(t, "sftp://u@h/d?known_hosts="+known+"&key="+pkcs8+right, nil)
}

// TestForeignLines: a line of known_hosts that cannot be read affects only its own host, as with ssh(1).
func TestForeignLines(t *testing.T) {
	t.Parallel()
	s := testserver.StartSSHD(t, "ForceCommand internal-sftp")
	good := string(read(t, s.KnownHosts))
	other := testKeyLine(t)
	for name, line := range map[string]string{
		"unknown type":    "other.example future-sig-mldsa65@example.org AAAAHmZ1dHVyZS1zaWctbWxkc2E2NUBleGFtcGxlLm9yZwAAAAQBAgME",
		"protocol 1":      "old.example 1024 35 1234567890123456789012345678901234567890",
		"cut off":         "other.example ssh-ed25519 AAAAC3Nz",
		"damaged hash":    "|1|AAAA|#### " + other,
		"unknown marker":  "@future * " + other,
		"too long":        "a.example " + strings.Repeat("x", 70_000),
		"another key":     "[127.0.0.1]:" + port(s.Addr) + " " + other,
		"carriage return": "other.example " + other + "\r",
	} {
		t.Run(name, func(t *testing.T) {
			log := &testserver.Log{}
			raw := with(t, s.URL("d"), "known_hosts", "# comment\n"+line+"\n"+good)
			h := open(t, raw, &Options{Logger: textLogger(log)})
			for range 2 {
				if err := h.Check(bounded(t)); err != nil {
					t.Error(err)
				}
			}
			skipped := strings.Count(log.String(), "line 2 of")
			if want := map[bool]int{true: 0, false: 1}[name == "another key" || name == "carriage return"]; skipped != want {
				t.Errorf("%d warnings about the line, want %d: %s", skipped, want, log)
			}
			// Without the good line the host is unknown.
			err := open(t, with(t, raw, "known_hosts", line+"\nelsewhere.example "+other), nil).Check(bounded(t))
			wantPermanent(t, err, "host key")
		})
	}
}

// TestExposed: a file with a secret that everybody can read is warned about, once.
func TestExposed(t *testing.T) {
	t.Parallel()
	s := testserver.StartSSHD(t, "ForceCommand internal-sftp")
	log := &testserver.Log{}
	if err := os.Chmod(s.KeyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	h := open(t, s.URL("d"), &Options{Logger: textLogger(log)})
	if err := h.Check(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "`chmod o= "+shell.Quote(s.KeyFile)+"`"); n != 1 {
		t.Errorf("%d warnings, want 1: %s", n, log)
	}
}

// TestPuttygen: the advice for PuTTY's keys names options that puttygen has.
func TestPuttygen(t *testing.T) {
	if _, err := exec.LookPath("puttygen"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	plain, ppk, again := filepath.Join(dir, "plain"), filepath.Join(dir, "k.ppk"), filepath.Join(dir, "again")
	newKey(t, plain)
	for _, args := range [][]string{{plain, "-O", "private", "-o", ppk}, {ppk, "-O", "private-openssh", "-o", again}} {
		if out, err := exec.Command("puttygen", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	signer(t, again)
}
