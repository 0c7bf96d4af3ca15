package sftpship

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/internal/test/sftpd"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testSpool is a spool id.
const testSpool = "00000000000000000000000000"

// open opens a destination and closes it with the test.
func open(t testing.TB, url string, o *Options) *Destination {
	t.Helper()
	if o == nil {
		o = &Options{StallTimeout: 10 * time.Second}
	}
	h, err := Open(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// inProcess starts the module's own server. The served directory is returned too.
func inProcess(t testing.TB, o *sftpd.Options) (*sftpd.Server, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := sftpd.Start(dir, t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, dir
}

// object makes an object of n random bytes.
func objectOf(key string, n int) (ship.Object, *io.SectionReader) {
	b := make([]byte, n)
	rand.Read(b)
	return ship.BytesObject(key, testSpool, b), io.NewSectionReader(bytes.NewReader(b), 0, int64(n))
}

// wantFile checks that a file holds exactly the object.
func wantFile(t *testing.T, file string, o ship.Object) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
		return
	}
	if got := ship.BytesObject(o.Key, o.Spool, b); got.SHA256 != o.SHA256 {
		t.Errorf("%s holds %d bytes that are not the %d sent", file, len(b), o.Size)
	}
}

// wantNoTemporary checks that nothing was left below _tmp.
func wantNoTemporary(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, tmpDir, "*", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files left: %v, %v", left, err)
	}
}

// TestConformance: against OpenSSH, by an account such as the package's documentation advises, that can do nothing but
// SFTP. TestReplacingRename is the same for the server in this process, made worse.
func TestConformance(t *testing.T) {
	t.Parallel()
	s := testserver.StartSSHD(t, "ForceCommand internal-sftp")
	shiptest.Run(t, func(t *testing.T) ship.Destination { return open(t, s.URL("d"), nil) })
	wantNoTemporary(t, filepath.Join(s.Dir, "d"))
}

// TestLinks: files that an operator has moved elsewhere and linked are found.
func TestLinks(t *testing.T) {
	t.Parallel()
	s := testserver.StartSSHD(t, "ForceCommand internal-sftp")
	shiptest.RunLinks(t, func(t *testing.T) (ship.Destination, string) {
		return open(t, s.URL("d"), nil), filepath.Join(s.Dir, "d")
	})
}

// TestReceipt: the receipt says how an object was verified and what the server could not do.
func TestReceipt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		config   []string
		param    string
		method   string
		degraded string
	}{
		{name: "shell", method: "remote-sha256sum"},
		{name: "shell, told to read back", param: "&verify=readback", method: "read-back"},
		{name: "no shell", config: []string{"ForceCommand internal-sftp"}, method: "read-back"},
		{name: "no fsync", config: []string{"ForceCommand internal-sftp -P fsync"}, method: "read-back", degraded: "no-fsync"},
		{name: "no posix-rename", config: []string{"ForceCommand internal-sftp -P posix-rename"}, method: "read-back"},
		{name: "no hardlink", config: []string{"ForceCommand internal-sftp -P hardlink"}, method: "read-back", degraded: "no-hardlink"},
		{
			name: "nothing beyond version 3", method: "read-back", degraded: "no-fsync no-hardlink",
			config: []string{"ForceCommand internal-sftp -P fsync,posix-rename,hardlink,statvfs,fstatvfs,limits,lsetstat"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := testserver.StartSSHD(t, c.config...)
			// Patient: the shell may be slow to start, and objects would then be read back.
			h := open(t, s.URL("d")+c.param, &Options{StallTimeout: 2 * time.Minute})
			h.execFrom = 0
			o, body := objectOf("a/b", 100_000)
			for n := range 2 {
				h.execNext.Store(0) // however slow the command was
				r, err := h.Put(t.Context(), o, body)
				if err != nil {
					t.Fatal(err)
				}
				want := c.degraded
				if n == 1 { // finds the object there: how it got its name does not matter any more
					want = strings.TrimSpace(strings.ReplaceAll(want, "no-hardlink", ""))
				}
				if got := strings.Join(r.Degraded, " "); r.Method != c.method || got != want {
					t.Errorf("receipt %d by %s, degraded %q, want %s, %q", n, r.Method, got, c.method, want)
				}
				wantFile(t, filepath.Join(s.Dir, "d", o.Key), o)
			}
			wantNoTemporary(t, filepath.Join(s.Dir, "d"))
		})
	}
}

// TestForcedCommand: the script that the package's documentation advises does what it says there.
func TestForcedCommand(t *testing.T) {
	t.Parallel()
	const server = "/usr/lib/openssh/sftp-server"
	if _, err := os.Stat(server); err != nil {
		t.Skip(err)
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, script, _ := strings.Cut(string(doc), "//\t#!/bin/sh\n")
	script, _, ok := strings.Cut(script, "//\n")
	if !ok {
		t.Fatal("no script in doc.go")
	}
	shell := filepath.Join(t.TempDir(), "shell")
	if err := os.WriteFile(shell, []byte("#!/bin/sh\n"+strings.ReplaceAll(script, "//\t", "")), 0o755); err != nil {
		t.Fatal(err)
	}
	testserver.Find(t, "sshd", "openssh-server")
	s, err := testserver.NewSSHD(testserver.PlainDir(t)) // the script knows no quotes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	keys := filepath.Join(filepath.Dir(s.KeyFile), "authorized_keys")
	line, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keys, append([]byte(`restrict,command="'`+shell+`'" `), line...), 0o600); err != nil {
		t.Fatal(err)
	}
	h := open(t, s.URL("d")+"&verify=exec", &Options{StallTimeout: 2 * time.Minute})
	o, body := objectOf("class=a/b-c_d.e", 1000)
	for range 2 {
		r, err := h.Put(bounded(t), o, body)
		if err != nil || r.Method != methodExec {
			t.Errorf("receipt %+v, %v, want one by %s", r, err, methodExec)
		}
	}
}

// A remote command that takes far longer than the upload, or does not work, is left alone for an hour: objects are read back.
func TestSlowCommand(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		command string
		methods []string
	}{
		{`sleep 2; eval "$SSH_ORIGINAL_COMMAND"`, []string{methodExec, methodReadBack, methodExec}},
		{`echo no`, []string{methodReadBack, methodReadBack, methodReadBack}},
	} {
		script := filepath.Join(t.TempDir(), "shell")
		text := "#!/bin/sh\ncase \"$SSH_ORIGINAL_COMMAND\" in sha256sum*) " + c.command + " ;; *) exec /usr/lib/openssh/sftp-server ;; esac\n"
		if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		s := testserver.StartSSHD(t, "ForceCommand '"+script+"'", "Subsystem sftp /usr/lib/openssh/sftp-server")
		h := open(t, s.URL("d"), &Options{StallTimeout: 2 * time.Minute})
		h.execFrom = 0
		for i, want := range c.methods {
			if i == 2 {
				h.execNext.Add(-int64(execAgain)) // an hour later
			}
			o, body := objectOf(fmt.Sprint("object", i), 1000)
			if r, err := h.Put(bounded(t), o, body); err != nil || r.Method != want {
				t.Errorf("%s: object %d: receipt %+v, %v, want one by %s", c.command, i, r, err, want)
			}
		}
	}
}
