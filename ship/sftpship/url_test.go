package sftpship

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

// files are a key and a known_hosts file that can be read.
func files(t testing.TB) (key, knownHosts string) {
	t.Helper()
	key, knownHosts = filepath.Join(t.TempDir(), "key"), filepath.Join(t.TempDir(), "known_hosts")
	if _, err := testserver.WriteKey(key); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(knownHosts, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return key, knownHosts
}

// TestOpenMistakes: every mistake is found without a network, all are in one error, and none shows a secret.
func TestOpenMistakes(t *testing.T) {
	t.Setenv(agentSocket, "")
	key, known := files(t)
	good := "?key=" + key + "&known_hosts=" + known
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("no key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, says := range map[string][]string{
		"sftp://u@h/d":                                                       {"known_hosts=FILE", "ssh-keyscan h", "key=FILE"},
		"sftp://u@h:2222/d?key=" + key:                                       {"ssh-keyscan -p 2222 h"},
		"ftp://h" + good:                                                     {`scheme "ftp"`, "no user", "no directory"},
		"sftp:u@h/d" + good:                                                  {"scheme"},
		"sftp://u:secret@h/d" + good:                                         {"password in the URL"},
		"sftp://u:secret@h:port/d" + good:                                    {"not a URL"},
		"sftp://u@h:0/d" + good:                                              {`port "0"`},
		"sftp://u@/d" + good:                                                 {"no host"},
		"sftp://u@h/d" + good + "#x":                                         {"fragment"},
		"sftp://u@h/d" + good + "&colour=red&workers=0x":                     {`"colour"`, "workers="},
		"sftp://u@h/d" + good + "&workers=999&verify=no":                     {"workers=999", `verify="no"`},
		"sftp://u@h/d" + good + "&stall_timeout=soon":                        {"stall_timeout="},
		"sftp://u@h/d" + good + "&key=" + key:                                {"key is given 2 times"},
		"sftp://u@h/d?key=/no/key&known_hosts=/no/hosts":                     {"/no/key", "/no/hosts"},
		"sftp://u@h/d?known_hosts=" + garbage + "&key=" + garbage:            {"known_hosts: ", "key: "},
		"sftp://u@h/d?known_hosts=" + known + "&cert=" + garbage:             {"cert", "key=FILE"},
		"sftp://u@h/d" + good + "&cert=" + garbage:                           {"cert: "},
		"sftp://u@h/d" + good + "&cert=/no/cert&verify=&stall_timeout=-5s&x": {"/no/cert", "stall_timeout=-5s", `"x"`},
	} {
		h, err := Open(t.Context(), url, nil)
		if err == nil {
			h.Close()
			t.Errorf("Open(%s) succeeds", url)
			continue
		}
		for _, s := range append(says, "sftpship: ") {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("Open(%s): %v\ndoes not say %q", url, err, s)
			}
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%s) shows the password: %v", url, err)
		}
	}
}

// TestLocation: one place has one name, however it is written.
func TestLocation(t *testing.T) {
	key, known := files(t)
	for _, c := range []struct{ url, want string }{
		{"sftp://u@h/d", "sftp://u@h:22/d"},
		{"sftp://u@H:22/d/", "sftp://u@h:22/d"},
		{"sftp://u@h//a/../d/./", "sftp://u@h:22/d"},
		{"sftp://u@h/", "sftp://u@h:22/"},
		{"sftp://u@h/~", "sftp://u@h:22/~/"},
		{"sftp://u@h/~/", "sftp://u@h:22/~/"},
		{"sftp://u@h/~/../d", "sftp://u@h:22/~/d"},
		{"sftp://u@[::1]:2222/d%20e", "sftp://u@[::1]:2222/d%20e"},
	} {
		h := open(t, c.url+"?key="+key+"&known_hosts="+known, nil)
		via := open(t, c.url+"?jump=u@b&key="+key+"&known_hosts="+known, nil)
		if got := via.Location(); got != c.want+" via b:22" {
			t.Errorf("Location of %s behind a bastion = %s", c.url, got)
		}
		if got := h.Location(); got != c.want {
			t.Errorf("Location of %s = %s, want %s", c.url, got, c.want)
		}
	}
}

// TestHome: /~/DIR is below the account's start directory.
func TestHome(t *testing.T) {
	t.Parallel()
	dir := testserver.PlainDir(t) // internal-sftp cuts its arguments at white space
	s := testserver.StartSSHD(t, "ForceCommand internal-sftp -d "+dir)
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	h := open(t, strings.Replace(s.URL(""), (&url.URL{Path: s.Dir}).EscapedPath(), "/~/in", 1), nil)
	o, body := objectOf("a/b", 100)
	if _, err := h.Put(bounded(t), o, body); err != nil {
		t.Fatal(err)
	}
	wantFile(t, filepath.Join(dir, "in/a/b"), o)
	n := 0
	for e, err := range h.List(bounded(t), "") {
		if n++; err != nil || e.Key != "a/b" || e.Size != 100 {
			t.Errorf("List: %+v, %v", e, err)
		}
	}
	if n != 1 {
		t.Errorf("List yields %d entries", n)
	}
}

// FuzzOpen: no URL makes Open panic, and what it accepts has a Location without a password that means the same place.
func FuzzOpen(f *testing.F) {
	f.Add("sftp://u@h:22/d?key=k&known_hosts=h")
	f.Add("sftp://u:p@[::1]/~/d/../..?workers=1#")
	f.Fuzz(func(t *testing.T, raw string) {
		var o Options
		p, err := parse(raw, &o)
		if err != nil {
			return
		}
		again, err := parse(p.location()+"?known_hosts=x", &o)
		if err != nil {
			t.Fatalf("Location %q of %q: %v", p.location(), raw, err)
		}
		if again.hop != p.hop || again.dir != p.dir {
			t.Errorf("Location %q of %q means %+v, not %+v", p.location(), raw, again, p)
		}
	})
}
