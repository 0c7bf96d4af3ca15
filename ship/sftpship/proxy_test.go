package sftpship

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/penstock-go/penstock/internal/test/faultproxy"
)

// startProxy starts a proxy in front of the server of url, and returns the proxy and the URL
// through it.
func startProxy(t testing.TB, raw string) (*faultproxy.TCP, string) {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	p, err := faultproxy.ListenTCP(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, at(t, raw, p.Addr)
}

// at is a URL with another address, under which the server's key is known too.
func at(t testing.TB, raw, addr string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	text, err := os.ReadFile(q.Get("known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, key, _, _, err := ssh.ParseKnownHosts(text)
	if err != nil {
		t.Fatal(err)
	}
	return with(t, strings.Replace(raw, u.Host, addr, 1), "known_hosts", knownhosts.Line([]string{addr}, key))
}

// knownHostsOf is the file that a URL names.
func knownHostsOf(t testing.TB, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get("known_hosts")
}

// with is a URL with the parameter set to a file that holds text.
func with(t testing.TB, raw, param, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), param)
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(param, file)
	u.RawQuery = q.Encode()
	return u.String()
}
