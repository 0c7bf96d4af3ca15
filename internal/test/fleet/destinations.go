//go:build linux

package fleet

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// destination is a real server on a machine of its own.
type destination struct {
	ns  *Namespace
	url string
	env []string // the credentials
	cmd *exec.Cmd
	log *testserver.Log
}

// stop kills the server and its children.
func (d *destination) stop() {
	if d != nil && d.cmd != nil && d.cmd.Process != nil {
		_ = d.cmd.Process.Kill()
		_ = d.cmd.Wait()
	}
}

// newBucket starts versitygw, which stores in dir.
func newBucket(ns *Namespace, addr netip.Addr, dir string) (*destination, error) {
	program, err := versitygw()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "penstock"), 0o755); err != nil { // a directory is a bucket
		return nil, err
	}
	access, secret := "penstockfleet", rand.Text()
	in := netip.AddrPortFrom(addr, 7070).String()
	d := &destination{
		ns: ns, log: &testserver.Log{}, url: "s3://penstock/fleet?endpoint=http://" + in + "&region=us-east-1&path_style=true",
		env: []string{"AWS_ACCESS_KEY_ID=" + access, "AWS_SECRET_ACCESS_KEY=" + secret, "AWS_REGION=us-east-1"},
	}
	d.cmd = exec.Command(program, "--access", access, "--secret", secret, "--port", in, "--quiet", "--keep-alive", "posix", dir)
	d.cmd.Env, d.cmd.Dir = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir}, dir
	return d, d.start(in)
}

// newIDC starts OpenSSH's server, which stores in dir/data.
func newIDC(ns *Namespace, addr netip.Addr, dir string) (*destination, error) {
	program, err := find("sshd")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	host, err1 := testserver.WriteKey(file("host_key"))
	user, err2 := testserver.WriteKey(file("user_key"))
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	in := netip.AddrPortFrom(addr, 22).String()
	config := fmt.Sprintf("ListenAddress %v\nPort 22\nHostKey %s\nAuthorizedKeysFile %s\nPidFile none\nStrictModes no\nUsePAM no\nUseDNS no\n"+
		"PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 200:30:400\nLogLevel INFO\n"+
		"SetEnv HOME=/nonexistent\nSubsystem sftp internal-sftp\n", addr, file("host_key"), file("authorized_keys"))
	if err := errors.Join(
		os.WriteFile(file("sshd_config"), []byte(config), 0o600),
		os.WriteFile(file("authorized_keys"), ssh.MarshalAuthorizedKey(user), 0o600),
		os.WriteFile(file("known_hosts"), []byte(knownhosts.Line([]string{in}, host)+"\n"), 0o600),
	); err != nil {
		return nil, err
	}
	u := url.URL{
		Scheme: "sftp", User: url.User("root"), Host: in, Path: data,
		RawQuery: url.Values{"key": {file("user_key")}, "known_hosts": {file("known_hosts")}}.Encode(),
	}
	d := &destination{ns: ns, log: &testserver.Log{}, url: u.String()}
	d.cmd = exec.Command(program, "-D", "-e", "-f", file("sshd_config"))
	return d, d.start(in)
}

// start starts the server and waits until it accepts connections.
func (d *destination) start(addr string) error {
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	// Sessions whose client has vanished outlive a killed sshd, and hold its output open.
	d.cmd.WaitDelay = time.Second
	if err := d.ns.Start(d.cmd); err != nil {
		return err
	}
	return until(20*time.Second, func() error {
		return d.ns.Do(func() error {
			c, err := net.DialTimeout("tcp", addr, time.Second)
			if err != nil {
				return fmt.Errorf("%w\n%s", err, d.log)
			}
			return c.Close()
		})
	})
}

// until polls ok, because the event is in another process or in the kernel, which cannot notify this process.
func until(within time.Duration, ok func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(within)
	for {
		err := ok()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-limit:
			return fmt.Errorf("after %v: %w", within, err)
		}
	}
}
