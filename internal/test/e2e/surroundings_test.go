//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
	"github.com/penstock-go/penstock/internal/test/s3d"
	"github.com/penstock-go/penstock/internal/test/testserver"
)

// TestSurroundings tests the whole way, from the socket to the audit, under conditions that each have stopped a service like
// this one: as PID 1 of a PID namespace, under an account that is not root, with a standard error that nobody reads, with 1,024
// descriptors while other clients hold connections to a class and to the status page, and with a proxy in the environment that
// cannot reach this host's metadata service. A scale-in ends it, and nothing is lost.
func TestSurroundings(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a PID namespace and another account need root")
	}
	for _, p := range []string{"unshare", "setpriv", "prlimit"} {
		testserver.Find(t, p, "util-linux")
	}
	if out, err := exec.Command("unshare", "--fork", "--pid", "--mount-proc", "true").CombinedOutput(); err != nil {
		t.Skipf("a PID namespace is refused here: %v: %s", err, out)
	}
	world := newOutside(t)
	root := reachable(t)
	dir, dest, bin := ownedDir(t, root, "spool"), ownedDir(t, root, "dest"), copyOf(t, root, binary(t, "collector"))
	udp, tcp := testserver.FreeAddr(t), testserver.FreeAddr(t)
	stderr := fullPipe(t)
	status := testserver.FreeAddr(t)
	args := []string{
		"unshare", "--fork", "--pid", "--mount-proc", "prlimit", "--nofile=1024:1024",
		"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
		bin, "-spool", dir, "-http", status, "-listen", "vpn=udp://" + udp, "-listen", "web=tcp://" + tcp,
		"-dest", "local=file://" + dest, "-dest", "s3=" + world.s3URL,
		"-lifecycle", "asg", "-quiesce", "1s", "-segment-bytes", "1MiB", "-segment-age", "1s", "-drain-timeout", "60s",
	}
	c := &collector{t: t, dir: dir, http: status, log: &testserver.Log{}, done: make(chan error, 1), cmd: exec.Command(args[0], args[1:]...)}
	c.cmd.Stderr = stderr
	c.cmd.Env = world.env
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.done <- c.cmd.Wait() }()
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil {
			_ = syscall.Kill(child(c.cmd.Process.Pid), syscall.SIGKILL)
			<-c.done
		}
	})
	c.ready()
	inNamespace(t, child(c.cmd.Process.Pid))

	release := flood(t, tcp, status)
	sent := loadgenSend(t, "-to", "udp://"+udp, "-rate", "8000", "-count", "16000", "-run", "surrounded")
	c.until("the records to arrive while strangers hold connections", 30*time.Second, func() bool {
		objects, _ := filepath.Glob(filepath.Join(dest, "class=vpn/dt=*/hour=*/*"))
		return len(objects) >= 2
	})
	c.ready() // the status page answers too
	release()
	web := loadgenSend(t, "-to", "tcp://"+tcp, "-count", "2000", "-run", "again")

	world.instance.Terminate()
	if code := c.wait(60 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if answer, _ := world.instance.Answered(); answer != asg.Continue {
		t.Errorf("the hook was answered %q", answer)
	}
	r := c.report()
	if k := r.Classes["vpn"].Kept.Records; k != sent.Sent {
		t.Errorf("%d records kept, %d sent; lost %+v", k, sent.Sent, r.Classes["vpn"].Lost)
	}
	loadgenCheck(t, world.direct, "surrounded", sent.Sent, "file://"+dest, world.s3URL)
	loadgenCheck(t, world.direct, "again", web.Sent, "file://"+dest, world.s3URL)
	audit := exec.Command(binary(t, "audit"), "-deep", "-at", "file://"+dest, "-at", world.s3URL)
	audit.Env = append(os.Environ(), world.direct...)
	if out, err := audit.CombinedOutput(); err != nil {
		t.Errorf("audit: %v\n%s", err, out)
	}
	world.judge(t)
}

// outside is what the collector finds on the network: a bucket and the API of a group behind a proxy, and the instance's
// metadata service, to which the proxy must not be used. All have an address that is not loopback, where package net/http
// would use no proxy anyway.
type outside struct {
	instance         *draintest.Instance
	s3URL            string
	env, direct      []string // for the collector; for programs that use no proxy
	s3, api, imds    string   // hosts
	mu               sync.Mutex
	proxied, refused map[string]int // requests by host
}

func newOutside(t *testing.T) *outside {
	w := &outside{proxied: map[string]int{}, refused: map[string]int{}}
	host := ""
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			host = p.Addr().String()
		}
	}
	if host == "" {
		t.Skip("this host has no address but loopback, for which no proxy would be used anyway")
	}
	serve := func(h http.Handler) string {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
		s.Start()
		t.Cleanup(s.Close)
		return l.Addr().String()
	}
	bucket, err := s3d.New(t.TempDir(), &s3d.Options{Region: "eu-central-1"})
	if err != nil {
		t.Fatal(err)
	}
	g := draintest.NewGroup(&draintest.GroupOptions{Region: "eu-west-1"})
	w.instance = g.Launch()
	w.s3, w.api, w.imds = serve(bucket), serve(g), serve(http.HandlerFunc(w.metadata))
	proxy := serve(http.HandlerFunc(w.proxy))
	w.s3URL = "s3://penstock/e2e?endpoint=http://" + w.s3 + "&region=eu-central-1&path_style=true"
	w.direct = []string{"AWS_ACCESS_KEY_ID=penstock", "AWS_SECRET_ACCESS_KEY=penstock-secret"}
	w.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "TMPDIR=" + os.TempDir(),
		"HTTP_PROXY=http://" + proxy, "HTTPS_PROXY=http://" + proxy, "http_proxy=http://" + proxy, "https_proxy=http://" + proxy,
		"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://" + w.imds, "AWS_ENDPOINT_URL_AUTO_SCALING=http://" + w.api,
		"AWS_REGION=eu-central-1", // the bucket's, not the group's
	}
	return w
}

// metadata is the instance's, with the credentials of its role: the collector is given no others.
func (w *outside) metadata(rw http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Aws-Ec2-Metadata-Token") != "" {
		switch r.URL.Path {
		case "/latest/meta-data/iam/security-credentials/":
			_, _ = io.WriteString(rw, "role")
			return
		case "/latest/meta-data/iam/security-credentials/role":
			_ = json.NewEncoder(rw).Encode(map[string]string{
				"Code": "Success", "AccessKeyId": "penstock", "SecretAccessKey": "penstock-secret", "Token": "token",
				"Expiration": time.Now().Add(6 * time.Hour).UTC().Format(time.RFC3339),
			})
			return
		}
	}
	w.instance.ServeHTTP(rw, r)
}

// proxy passes requests on to the bucket and the API, and to nobody else.
func (w *outside) proxy(rw http.ResponseWriter, r *http.Request) {
	known := r.URL.Host == w.s3 || r.URL.Host == w.api
	w.mu.Lock()
	if known {
		w.proxied[r.URL.Host]++
	} else {
		w.refused[r.URL.Host]++
	}
	w.mu.Unlock()
	if !known {
		http.Error(rw, "the proxy does not reach "+r.URL.Host, http.StatusBadGateway)
		return
	}
	(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.Out.Host = p.In.Host }}).ServeHTTP(rw, r)
}

func (w *outside) judge(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.refused) > 0 {
		t.Errorf("requests that no proxy should get: %v (the metadata service is %s)", w.refused, w.imds)
	}
	if w.proxied[w.s3] == 0 || w.proxied[w.api] == 0 {
		t.Errorf("the proxy was not used: %v", w.proxied)
	}
}

// reachable returns a directory that every account may enter, as that of t.TempDir is not.
func reachable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "surroundings-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ownedDir returns a directory of the account that the collector runs under.
func ownedDir(t *testing.T, root, name string) string {
	t.Helper()
	dir := filepath.Join(root, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	return dir
}

// copyOf returns a copy of a program that every account may run.
func copyOf(t *testing.T, root, program string) string {
	t.Helper()
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, filepath.Base(program))
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// fullPipe returns the writing end of a pipe that is full and that nobody reads.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	r, w := pipe(t)
	t.Cleanup(func() { r.Close() })
	fill(t, w)
	return w
}

// child returns the only child of a process.
func child(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}

// inNamespace fails the test unless a process is PID 1 in a namespace and runs under another account, with 1,024 descriptors.
func inNamespace(t *testing.T, pid int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status) + string(limits)) {
		f := strings.Fields(line)
		switch {
		case len(f) > 1 && f[0] == "NSpid:" && f[len(f)-1] != "1",
			len(f) > 1 && f[0] == "Uid:" && f[1] != "65534",
			strings.HasPrefix(line, "Max open files") && f[3] != "1024":
			t.Errorf("the surroundings are not what they should be: %s", line)
		}
	}
}

// flood opens more connections than the process may have descriptors, and holds them.
func flood(t *testing.T, tcp, status string) (release func()) {
	t.Helper()
	var held []net.Conn
	open := func(addr string, n int, say string) {
		for range n {
			c, err := net.DialTimeout("tcp", addr, 5*time.Second)
			if err != nil {
				continue // refused, or the queue is full
			}
			_, _ = io.WriteString(c, say)
			held = append(held, c)
		}
	}
	open(tcp, 1100, "")
	open(status, 200, "GET /livez HTTP/1.1\r\nX: ")
	return func() {
		for _, c := range held {
			_ = c.Close()
		}
	}
}
