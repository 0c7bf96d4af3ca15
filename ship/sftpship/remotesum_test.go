package sftpship

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/shell"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
)

// hashServer starts an sshd whose accounts execute the given shell code for each command that hashes, and logs these commands.
func hashServer(t *testing.T, sha256sum, openssl string) (s *testserver.SSHD, commands func() []string) {
	t.Helper()
	dir := t.TempDir()
	script, log := filepath.Join(dir, "shell"), filepath.Join(dir, "log")
	text := fmt.Sprintf(`#!/bin/sh
case "$SSH_ORIGINAL_COMMAND" in
sha256sum*) echo sha256sum >>%[1]s; %[2]s ;;
openssl*) echo openssl >>%[1]s; %[3]s ;;
*) exec /usr/lib/openssh/sftp-server ;;
esac
`, shell.Quote(log), sha256sum, openssl)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	s = testserver.StartSSHD(t, "ForceCommand '"+script+"'", "Subsystem sftp /usr/lib/openssh/sftp-server")
	return s, func() []string {
		b, err := os.ReadFile(log)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		_ = os.Remove(log)
		return strings.Fields(string(b))
	}
}

const asAsked = `eval "$SSH_ORIGINAL_COMMAND"`

// TestOpenSSL: sha256sum comes first; once it has answered, openssl is tried, once per connection, and replaces it if its answer
// is right. Whatever openssl says, nothing counts as delivered that is not, and verification on the server goes on.
func TestOpenSSL(t *testing.T) {
	t.Parallel()
	both, one := []string{"sha256sum", "openssl"}, []string{"sha256sum"}
	refused := slices.Concat(both, one, one)
	for _, c := range []struct {
		what, sha256sum, openssl string
		commands                 []string // of three Puts on one connection
	}{
		{"both", asAsked, asAsked, []string{"sha256sum", "openssl", "openssl"}},
		{"a restricted account", asAsked, `echo "not allowed" >&2; exit 1`, refused},
		{"a restricted account that says nothing", asAsked, `:`, refused},
		{"a restricted account that has sha256sum only, and runs it whatever was asked", asAsked, `sha256sum </dev/null`, refused},
		{"no openssl", asAsked, `PATH=/nowhere; ` + asAsked, refused},
		{"another sum", asAsked, asAsked + ` | tr 0-9a-f 1-9a-f0`, refused},
		{"the right sum, and an error", asAsked, asAsked + `; exit 3`, refused},
		{"the right sum, in words that are not those of openssl", asAsked, `echo "SHA2-256(stdin)= $(` + asAsked + `)"`, refused},
		{"an endless answer", asAsked, `yes | head -c 50000000`, refused},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			s, commands := hashServer(t, c.sha256sum, c.openssl)
			h := open(t, s.URL("d")+"&verify=exec", &Options{StallTimeout: 2 * time.Minute, Workers: 1})
			for i := range 3 {
				o, body := objectOf(fmt.Sprint("object", i), 1000)
				if r, err := h.Put(bounded(t), o, body); err != nil || r.Method != methodExec {
					t.Errorf("object %d: receipt %+v, %v, want one by %s", i, r, err, methodExec)
				}
			}
			if got := commands(); !slices.Equal(got, c.commands) {
				t.Errorf("commands %q, want %q", got, c.commands)
			}
		})
	}
}

// TestOpenSSLAgain: what is known about openssl applies to the next connection too, which detects by itself if it is wrong.
func TestOpenSSLAgain(t *testing.T) {
	t.Parallel()
	flag := filepath.Join(t.TempDir(), "gone")
	s, commands := hashServer(t, asAsked, "[ ! -e "+shell.Quote(flag)+" ] || exit 1; "+asAsked)
	h := open(t, s.URL("d")+"&verify=exec", &Options{StallTimeout: 2 * time.Minute, Workers: 1})
	put := func(name string, want ...string) {
		t.Helper()
		o, body := objectOf(name, 1000)
		if _, err := h.Put(bounded(t), o, body); err != nil {
			t.Error(err)
		}
		if got := commands(); !slices.Equal(got, want) {
			t.Errorf("%s: commands %q, want %q", name, got, want)
		}
	}
	reconnect := func() {
		h.pool.mu.Lock()
		defer h.pool.mu.Unlock()
		for c := range h.pool.all {
			c.load.retired = true
			c.close()
		}
	}
	put("a", "sha256sum")
	put("b", "openssl")
	reconnect()
	put("c", "openssl")
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	put("d", "openssl", "sha256sum")
	put("e", "sha256sum")
	reconnect()
	put("f", "sha256sum")
	put("g", "openssl", "sha256sum")
}

// TestOpenSSLFindsDamage: bytes that are not those that were sent are found whichever command is asked, and no openssl turns
// verification on the server off.
func TestOpenSSLFindsDamage(t *testing.T) {
	t.Parallel()
	for _, verify := range []string{"exec", "auto"} {
		s, commands := hashServer(t, asAsked, asAsked)
		h := open(t, s.URL("d")+"&verify="+verify, &Options{StallTimeout: 2 * time.Minute, Workers: 1})
		h.execFrom = 0
		put := func(i int) (ship.Receipt, error) {
			h.execNext.Store(0) // a process takes longer than these bytes
			o, body := objectOf(fmt.Sprint("object", i), 1000)
			return h.Put(bounded(t), o, body)
		}
		for i := range 2 {
			if _, err := put(i); err != nil {
				t.Fatal(err)
			}
		}
		commands()
		path := filepath.Join(s.Dir, "d", "object0")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[500] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := put(0); err == nil {
			t.Errorf("%s: damage was taken for the object: %+v", verify, r)
		}
		if got := commands(); !slices.Equal(got, []string{"openssl", "sha256sum"}) {
			t.Errorf("%s: commands %q", verify, got)
		}
		if r, err := put(2); err != nil || r.Method != methodExec {
			t.Errorf("%s: receipt %+v, %v", verify, r, err)
		}
		if got := commands(); !slices.Equal(got, []string{"openssl"}) { // which was right
			t.Errorf("%s: commands %q", verify, got)
		}
	}
}

// TestNeitherCommand: without either, auto reads back, and exec says what to allow.
func TestNeitherCommand(t *testing.T) {
	t.Parallel()
	s, commands := hashServer(t, "exit 127", "exit 127")
	o, body := objectOf("object", 1000)
	h := open(t, s.URL("d"), &Options{StallTimeout: 2 * time.Minute})
	h.execFrom = 0
	if r, err := h.Put(bounded(t), o, body); err != nil || r.Method != methodReadBack {
		t.Errorf("auto: receipt %+v, %v", r, err)
	}
	o, body = objectOf("other", 1000)
	_, err := open(t, s.URL("d")+"&verify=exec", &Options{StallTimeout: 2 * time.Minute}).Put(bounded(t), o, body)
	wantPermanent(t, err, "verify=readback")
	if got := commands(); !slices.Equal(got, []string{"sha256sum", "sha256sum"}) {
		t.Errorf("commands %q", got)
	}
}
