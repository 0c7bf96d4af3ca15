//go:build linux

package e2e

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

// secrets are planted in the settings of programs. Nothing that the programs print or write may contain one.
type secrets struct {
	t     *testing.T
	tmp   string            // with the settings; the only place where secrets may be
	out   string            // everything else
	all   map[string]string // by what it is
	env   []string
	files int
}

func newSecrets(t *testing.T) *secrets {
	x := &secrets{t: t, tmp: t.TempDir(), out: t.TempDir(), all: map[string]string{}}
	for _, dir := range []string{"tmp", "home", "a", "pages"} {
		if err := os.Mkdir(filepath.Join(x.out, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	x.env = []string{"TMPDIR=" + filepath.Join(x.out, "tmp"), "HOME=" + filepath.Join(x.out, "home"), "PATH=" + os.Getenv("PATH"), "SSH_AUTH_SOCK="}
	return x
}

// plant returns a new secret.
func (x *secrets) plant(what string) string {
	x.all[what] = "Planted" + rand.Text()
	return x.all[what]
}

// plantOdd is plant for a place that takes any character: programs escape some of these where they show a text.
func (x *secrets) plantOdd(what string) string {
	x.all[what] = x.plant(what) + ` "<&/+é\%`
	return x.all[what]
}

// plantFile remembers the key in a PEM file as a secret: one line of its middle.
func (x *secrets) plantFile(what, file string) {
	x.t.Helper()
	b, err := os.ReadFile(file)
	lines := strings.Split(string(b), "\n")
	if err != nil || len(lines) < 3 {
		x.t.Fatalf("%s: %v", file, err)
	}
	line := lines[(len(lines)-1)/2]
	x.all[what] = line[len(line)/2:] // the beginning is the same in all keys
}

// write writes settings.
func (x *secrets) write(name, text string) (path string) {
	x.t.Helper()
	path = filepath.Join(x.tmp, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		x.t.Fatal(err)
	}
	return path
}

// keep keeps what a program has printed, to be searched.
func (x *secrets) keep(text []byte) {
	x.t.Helper()
	x.files++
	if err := os.WriteFile(filepath.Join(x.out, "pages", fmt.Sprint(x.files)), text, 0o600); err != nil {
		x.t.Fatal(err)
	}
}

// run runs a program to its end and returns what it has printed.
func (x *secrets) run(name string, env []string, args ...string) string {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(x.t, name), args...)
	cmd.Env = append(append([]string(nil), x.env...), env...)
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		x.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	x.keep(fmt.Appendf(nil, "%s: %v\n%s", name, err, out))
	return string(out)
}

// fetch keeps what a program serves.
func (x *secrets) fetch(addr string, paths ...string) {
	x.t.Helper()
	for _, path := range paths {
		resp, err := http.Get("http://" + addr + path)
		if err != nil {
			x.t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode >= 500 && !strings.HasPrefix(path, "/readyz") {
			x.t.Fatalf("%s: %s, %v", path, resp.Status, err)
		}
		x.keep(b)
	}
}

// found names the secrets that a text contains, in any of the forms in which programs write a text.
func (x *secrets) found(text []byte) (whose []string) {
	for what, secret := range x.all {
		quoted, _ := json.Marshal(secret)
		for _, form := range []string{
			secret, url.QueryEscape(secret), url.PathEscape(secret), string(quoted[1 : len(quoted)-1]), inQuotes(secret),
			base64.StdEncoding.EncodeToString([]byte(secret)), base64.URLEncoding.EncodeToString([]byte(secret)), fmt.Sprintf("%x", secret),
		} {
			if bytes.Contains(text, []byte(form)) {
				whose = append(whose, what)
				break
			}
		}
	}
	return whose
}

// search searches everything below a directory, and returns how many files it has read.
func (x *secrets) search(dir string) (files int) {
	x.t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, what := range x.found(append(b, path...)) {
			x.t.Errorf("%s is in %s", what, path)
		}
		return nil
	})
	if err != nil {
		x.t.Error(err)
	}
	return files
}

// passphraseKey makes a key with a passphrase that may log in.
func passphraseKey(t *testing.T, sshd *testserver.SSHD, file, passphrase string) {
	t.Helper()
	authorize(t, sshd, file)
	plain, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParseRawPrivateKey(plain)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(*key.(*ed25519.PrivateKey), "", []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
}

// telltale starts an SSH server that refuses each password, and sends it back in a banner. It returns its host and port, and its line
// of known_hosts.
func telltale(t *testing.T) (addr, known string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	host, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		return nil, &ssh.BannerError{Err: errors.New("no"), Message: "no such password: " + string(password)}
	}}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _, _, _ = ssh.NewServerConn(conn, config) // it lets nobody in
			}()
		}
	}()
	return l.Addr().String(), knownhosts.Line([]string{l.Addr().String()}, host)
}

// signingKey writes a key to sign manifests with.
func signingKey(t *testing.T, file string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSecrets runs the programs with secrets in every setting that can have one, through a start, failures of destinations, reloads,
// a drain, a dump of the process, audits and refused settings, and searches everything that they print, serve, write and deliver.
func TestSecrets(t *testing.T) {
	x := newSecrets(t)
	s3, sshd := testserver.StartS3(t), testserver.StartSSHD(t)
	x.all["the S3 key"] = s3.Secret
	x.env = append(x.env, "AWS_ACCESS_KEY_ID="+s3.Access, "AWS_SECRET_ACCESS_KEY="+s3.Secret, "DATABASE_PASSWORD="+x.plant("another program's variable"))
	x.env = append(x.env, "AWS_SHARED_CREDENTIALS_FILE="+x.write("credentials", "[wrong]\naws_access_key_id = AKIDWRONG\naws_secret_access_key = "+
		x.plant("the S3 key of a profile")+"\naws_session_token = "+x.plant("the session token")+"\n"), "AWS_EC2_METADATA_DISABLED=true")
	x.env = append(x.env, "HTTP_PROXY=http://ops:"+x.plant("the proxy's password")+"@127.0.0.1:1", "IDC_PASSPHRASE="+x.plant("the passphrase"))
	key, sign := filepath.Join(x.tmp, "idc_key"), filepath.Join(x.tmp, "sign.pem")
	passphraseKey(t, sshd, key, x.all["the passphrase"])
	x.plantFile("the SFTP key", key)
	testserver.WriteCert(t, x.tmp, "web")
	x.plantFile("the TLS key", filepath.Join(x.tmp, "web.key"))
	signingKey(t, sign)
	x.plantFile("the signing key", sign)
	addr, known := telltale(t)
	password := x.write("password", x.plantOdd("the SFTP password")+"\n")

	bucket := "s3://" + testserver.Bucket + "/%s?endpoint=%s&region=us-east-1&path_style=true"
	idc := strings.Split(sshd.URL("in"), "?")[0] + "?" + url.Values{"key": {key}, "passphrase_env": {"IDC_PASSPHRASE"}, "known_hosts": {sshd.KnownHosts}}.Encode()
	dests := map[string]string{
		"a": "file://" + filepath.Join(x.out, "a"), "s3": fmt.Sprintf(bucket, "good", s3.Endpoint), "idc": idc,
		"wrong": fmt.Sprintf(bucket, "wrong", s3.Endpoint) + "&profile=wrong", "proxied": fmt.Sprintf(bucket, "far", "http://s3.invalid:9"),
		"denied": "sftp://ops@" + addr + "/in?" + url.Values{"password_file": {password}, "known_hosts": {x.write("known", known+"\n")}}.Encode(),
	}
	tcp, web := testserver.FreeAddr(t), testserver.FreeAddr(t)
	settings := func(more string) string {
		var b strings.Builder
		fmt.Fprintf(&b, "lifecycle: none\non-term: drain\ndrain-timeout: 3s\nsegment-age: 300ms\nlog-level: debug\nsign: %s\n"+
			"classes:\n  vpn: {listen: 'tcp://%s'}\n  web: {listen: {url: 'tls://%s', cert: %s/web.pem, key: %s/web.key}}\n%sdest:\n", sign, tcp, web, x.tmp, x.tmp, more)
		for name, u := range dests {
			fmt.Fprintf(&b, "  %s: %s\n", name, u)
		}
		return x.write("collector.yaml", b.String())
	}
	file := settings("")
	c := startCollector(t, filepath.Join(x.out, "spool"), x.env, "-config", file).ready()
	loadgenSend(t, "-to", "tcp://"+tcp, "-count", "300", "-run", "secrets")
	says := func(what ...string) {
		t.Helper()
		c.until(strings.Join(what, ", "), 30*time.Second, func() bool {
			for _, w := range what {
				if !strings.Contains(c.log.String(), w) {
					return false
				}
			}
			return true
		})
	}
	objects := func(dir string) {
		t.Helper()
		c.until("objects in "+dir, 30*time.Second, func() bool {
			all, _ := filepath.Glob(filepath.Join(dir, "class=vpn", "*", "*", "*"))
			return len(all) > 0
		})
	}
	for _, dir := range []string{filepath.Join(x.out, "a"), filepath.Join(sshd.Dir, "in"), filepath.Join(s3.Dir, testserver.Bucket, "good")} {
		objects(dir)
	}
	says("destination=wrong", "destination=proxied", "destination=denied")
	x.fetch(c.http, "/", "/status.json", "/metrics", "/livez", "/readyz", "/adoptions", "/nothing")

	// What is wrong in the file is refused by name, and a destination that worked fails.
	hangup := func(want string) {
		t.Helper()
		if err := c.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		says(want)
	}
	dests["bad"] = "sftp://ops:" + x.plant("a password in the file") + "@host/dir"
	settings("passwort: " + x.plant("a value of a misspelled key") + "\n")
	hangup("passwort")
	delete(dests, "bad")
	dests["denied"] += "&workers=2"
	settings("")
	hangup("the settings are in effect")
	x.write("password", x.plantOdd("the next SFTP password")+"\n")
	x.write("idc_key", "-----BEGIN OPENSSH PRIVATE KEY-----\n"+x.plant("a key that is cut off")+"\n")
	x.fetch(c.http, "/", "/status.json", "/metrics")
	x.run("collector", nil, "status", "-http", c.http)
	x.run("collector", nil, "status", "-http", c.http, "-json")
	x.run("collector", nil, "check", "-config", file)
	passphraseKey(t, sshd, key, x.all["the passphrase"])
	loadgenSend(t, "-to", "tcp://"+tcp, "-count", "30", "-run", "more")
	if code := c.end(syscall.SIGTERM, time.Minute); code != 4 {
		t.Errorf("exit code %d: three destinations fail", code)
	}
	x.keep([]byte(c.log.String()))

	// A dump of the process.
	c = startCollector(t, filepath.Join(x.out, "spool"), append(x.env, "GOTRACEBACK=all"), "-config", file).ready()
	c.end(syscall.SIGABRT, time.Minute)
	x.keep([]byte(c.log.String()))

	for name, u := range dests {
		x.run("audit", nil, "-deep", "-at", u)
		if name == "a" || name == "idc" {
			x.run("audit", nil, "replay", "-from", dests["a"], "-to", u, "-class", "vpn", "-spool", "00000000000000000000000000")
		}
		if name != "proxied" && name != "denied" { // it tries for long
			x.run("loadgen", nil, "check", "-run", "secrets", "-sent", "300", "-at", u)
		}
	}
	for _, args := range [][]string{{"status"}, {"ls"}, {"du"}, {"verify"}, {"cat"}} {
		x.run("spoolctl", nil, append(args, filepath.Join(x.out, "spool", "vpn"))...)
	}
	x.refused(bucket)
	x.relay()
	for _, dir := range []string{x.out, sshd.Dir, s3.Dir} {
		if n := x.search(dir); n < 10 {
			t.Errorf("only %d files in %s", n, dir)
		}
	}
	x.findsPlanted()
}

// inQuotes is a text as %q and logs write it.
func inQuotes(s string) string { q := strconv.Quote(s); return q[1 : len(q)-1] }

// findsPlanted is the search's own test: it finds each secret where it was planted, and no other.
func (x *secrets) findsPlanted() {
	for what, secret := range x.all {
		quoted, _ := json.Marshal(map[string]string{"k": secret})
		for _, text := range []string{
			"a " + secret + " b", `{"k":"` + base64.StdEncoding.EncodeToString([]byte(secret)) + `"}`, "u=" + url.QueryEscape(secret), "/" + url.PathEscape(secret),
			string(quoted), fmt.Sprintf("k=%q", secret),
		} {
			if got := x.found([]byte(text)); !slices.Equal(got, []string{what}) {
				x.t.Errorf("%s is in %s, and the search finds %q", what, text, got)
			}
		}
	}
	if len(x.all) < 12 {
		x.t.Errorf("only %d secrets were planted", len(x.all))
	}
}

// refused gives each program settings that it refuses, with a secret in each place where somebody could put one. Messages show
// the names of parameters, and the values of those that are never secret, so that mistakes can be found.
func (x *secrets) refused(bucket string) {
	var urls []string
	for i, form := range []string{
		"s3://AKID:%s@bucket/p", "s3://AKID:%s/p", "s3://bucket/p?secret_access_key=%s", "s3://bucket/p#%s",
		"s3://bucket/p?endpoint=https://u:%s@host", "s3://bucket/p?endpoint=https://host?x=%s", "s3://u:%s@b ucket/p",
		"sftp://u:%s@host/dir", "sftp://u:%s@host:x/dir", "sftp://host:%s/dir", "sftp://u@h/d?password=%s", "sftp://u@h/d?jump=u:%s@h", "sftp://u@h/d?jump=sftp://u:%s@h", "sftp://u@h/d#%s",
		"file:///d?password=%s", "file://u:%s@/d", "ftp://u:%s@h/d", "//u:%s@h/d", "u:%s@h/d", "https://u:%s@h/d", "sftp//u:%s@h/d", "sftp:u:%s@h/d", "s3://u:%%zz%s@b/p",
	} {
		urls = append(urls, fmt.Sprintf(form, x.plant(fmt.Sprintf("the secret in %s (%d)", form, i))))
	}
	for _, u := range urls {
		x.run("collector", nil, "-spool", filepath.Join(x.out, "none"), "-listen", "vpn=udp://:0", "-dest", "d="+u, "-lifecycle", "none", "check", "-offline")
		x.run("collector", nil, "check", "-offline", "-spool", filepath.Join(x.out, "none"), "-listen", "vpn=udp://:0", "-dest", "d="+u)
		x.run("audit", nil, "-at", u)
	}
	for _, listen := range []string{"udp://u:%s@:1", "tcp://u:%s@:x", "unixgram://u:%s@/x", "u:%s@h", "http://u:%s@h:1"} {
		u := fmt.Sprintf(listen, x.plant("the secret in "+listen))
		x.run("collector", nil, "check", "-offline", "-spool", filepath.Join(x.out, "none"), "-listen", "vpn="+u, "-dest", "d=file:///nowhere")
		x.run("collector", []string{"PENSTOCK_LISTEN=vpn=" + u}, "check", "-offline", "-spool", filepath.Join(x.out, "none"), "-dest", "d=file:///nowhere")
		x.run("loadgen", nil, "send", "-count", "1", "-to", u)
	}
	u := fmt.Sprintf("sftp://u:%s@h/d", x.plant("a password in the environment"))
	x.run("collector", []string{"PENSTOCK_DEST=d=" + u, "PENSTOCK_DESTS=d=" + u, "PENSTOCK_PASSWORD=" + u}, "check", "-offline", "-spool", filepath.Join(x.out, "none"), "-listen", "vpn=udp://:0")
	x.run("audit", []string{"PENSTOCK_AT=" + u}, "serve", "-http", "127.0.0.1:0")
	x.run("audit", nil, "serve", "-config", x.write("audit.yaml", "at: "+u+"\npassword: "+x.plant("a key of the auditor's file")+"\n"))
	x.run("loadgen", nil, "check", "-run", "x", "-at", u)
	x.run("collector", nil, "-sign", x.write("half.pem", "-----BEGIN PRIVATE KEY-----\n"+x.plant("half a signing key")+"\n"), "-spool", filepath.Join(x.out, "none"))
	x.run("collector", nil, "-config", x.write("broken.yaml", "dest: [\n  "+x.plant("a secret in a broken file")+": {\n"))
	for _, check := range []string{"http://ops:%s@{host}:1/readyz", "http://{host}:1/readyz?token=%s", "ftp://{host}/%s", "http://ops:%s@h:x/", "%s"} {
		x.run("udprelay", nil, "-listen", "127.0.0.1:x", "-targets", "static:127.0.0.1:9", "-check", fmt.Sprintf(check, x.plant("the secret in the health check "+check)))
	}
	for _, page := range []string{"http://ops:%s@127.0.0.1:1", "http://127.0.0.1:1/?token=%s", "ftp://ops:%s@h", "ops:%s@h", "http://ops:%s@h:x/"} {
		x.run("collector", nil, "status", "-http", fmt.Sprintf(page, x.plant("the secret in the page "+page)))
	}
	x.run("udprelay", nil, "-listen", "127.0.0.1:0", "-targets", "u:"+x.plant("a password in the relay's targets' place")+"@h:1")
}

// relay runs the relay.
func (x *secrets) relay() {
	listen, status := testserver.FreeAddr(x.t), testserver.FreeAddr(x.t)
	var out testserver.Log
	cmd := exec.Command(binary(x.t, "udprelay"), "-listen", listen, "-targets", "static:127.0.0.1:9", "-engine", "user", "-http", status, "-log-level", "debug",
		"-check", "http://{host}:1/readyz?token="+x.plant("the token of the health check"))
	cmd.Env, cmd.Stdout, cmd.Stderr = x.env, &out, &out
	if err := cmd.Start(); err != nil {
		x.t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		x.keep([]byte(out.String()))
	}()
	timeout, tick := time.After(20*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("tcp", status); err == nil {
			conn.Close()
			break
		}
		select {
		case <-tick.C:
		case <-timeout:
			x.t.Fatalf("the relay does not answer:\n%s", out.String())
		}
	}
	x.fetch(status, "/status.json", "/metrics", "/readyz")
}
