//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/internal/test/testserver"
)

// binaries builds the programs once for the whole test run.
var binaries = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "penstock-e2e-*")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir+"/", "../../../examples/...").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	if mode := os.Getenv("PENSTOCK_APPENDER"); mode != "" {
		if err := appender(mode); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if dir, err := binaries(); err == nil {
			os.RemoveAll(dir)
		}
		os.Exit(code)
	}))
}

func binary(t *testing.T, name string) string {
	t.Helper()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// servers are the two real destinations.
type servers struct {
	ssh  *testserver.SSHD
	s3   string   // s3:// URL
	sftp string   // sftp:// URL
	env  []string // credentials
}

func startServers(t *testing.T) *servers {
	t.Helper()
	sshd := testserver.StartSSHD(t)
	endpoint, access, secret := testserver.S3(t)
	return &servers{
		ssh:  sshd,
		s3:   fmt.Sprintf("s3://%s/e2e?endpoint=%s&region=us-east-1&path_style=true", testserver.Bucket, endpoint),
		sftp: sshd.URL("e2e"),
		env:  []string{"AWS_ACCESS_KEY_ID=" + access, "AWS_SECRET_ACCESS_KEY=" + secret},
	}
}

// collector is a running collector process.
type collector struct {
	t    *testing.T
	cmd  *exec.Cmd
	dir  string
	http string
	log  *testserver.Log
	done chan error
}

// startCollector runs the collector on dir and waits until it takes records, or has ended.
func startCollector(t *testing.T, dir string, env []string, args ...string) *collector {
	t.Helper()
	return startCollectorTo(t, nil, dir, env, args...)
}

// startCollectorTo is startCollector with another standard error than c.log, unless that is nil.
func startCollectorTo(t *testing.T, stderr *os.File, dir string, env []string, args ...string) *collector {
	t.Helper()
	return startCollectorUnder(t, nil, stderr, dir, env, args...)
}

// startCollectorUnder is startCollectorTo by way of another program, which runs the command that follows its own
// arguments in its place.
func startCollectorUnder(t *testing.T, under []string, stderr *os.File, dir string, env []string, args ...string) *collector {
	t.Helper()
	c := &collector{t: t, dir: dir, http: testserver.FreeAddr(t), log: &testserver.Log{}, done: make(chan error, 1)}
	argv := append(append(slices.Clone(under), binary(t, "collector"), "-spool", dir, "-http", c.http), args...)
	c.cmd = exec.Command(argv[0], argv[1:]...)
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stderr = c.log
	if stderr != nil {
		c.cmd.Stderr = stderr
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.done <- c.cmd.Wait() }()
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil {
			c.cmd.Process.Kill()
			<-c.done
		}
		if t.Failed() || testing.Verbose() {
			t.Logf("collector's log:\n%s", tail(c.log.String(), 60))
		}
	})
	return c
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// ready waits until /readyz says 200.
func (c *collector) ready() *collector {
	c.t.Helper()
	c.until("readiness", 20*time.Second, func() bool {
		resp, err := http.Get("http://" + c.http + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode == http.StatusOK
	})
	return c
}

// until polls a condition of another process; nothing in this one can signal it.
func (c *collector) until(what string, within time.Duration, ok func() bool) {
	c.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(within)
	for !ok() {
		select {
		case <-tick.C:
		case err := <-c.done:
			c.done <- err
			c.t.Fatalf("waiting for %s: the collector ended: %v\n%s", what, err, tail(c.log.String(), 40))
		case <-timeout:
			c.t.Fatalf("waited %v for %s\n%s", within, what, tail(c.log.String(), 40))
		}
	}
}

// end sends a signal and returns the exit code.
func (c *collector) end(sig os.Signal, within time.Duration) int {
	c.t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		c.t.Fatal(err)
	}
	return c.wait(within)
}

func (c *collector) wait(within time.Duration) int {
	c.t.Helper()
	select {
	case err := <-c.done:
		c.done <- err
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			c.t.Fatal(err)
		}
		return c.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		c.t.Fatalf("the collector did not end within %v\n%s", within, tail(c.log.String(), 40))
		return -1
	}
}

func (c *collector) report() drain.Report {
	c.t.Helper()
	var r drain.Report
	b, err := os.ReadFile(filepath.Join(c.dir, "report.json"))
	if err != nil {
		c.t.Fatal(err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		c.t.Fatal(err)
	}
	return r
}

type sendResult struct {
	Run     string
	Sent    uint64
	Bytes   uint64
	Seconds float64
}

func loadgenSend(t *testing.T, args ...string) sendResult {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(binary(t, "loadgen"), append([]string{"send"}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("loadgen send: %v\n%s", err, stderr.String())
	}
	var r sendResult
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("loadgen send printed %q: %v", out, err)
	}
	return r
}

// loadgenCheck fails the test unless every line is at every place once, as it was sent.
func loadgenCheck(t *testing.T, env []string, run string, sent uint64, at ...string) {
	t.Helper()
	args := []string{"check", "-run", run, "-sent", fmt.Sprint(sent)}
	for _, u := range at {
		args = append(args, "-at", u)
	}
	cmd := exec.Command(binary(t, "loadgen"), args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("loadgen check: %v\n%s", err, out)
	}
}
