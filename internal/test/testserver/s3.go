package testserver

import (
	"crypto/rand"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Bucket exists at the server that S3 starts.
const Bucket = "penstock"

// versitygw is looked for in $VERSITYGW, in PATH, and where `go install` puts it.
func versitygw() (string, error) {
	if p := os.Getenv("VERSITYGW"); p != "" {
		return p, nil
	}
	if p, err := exec.LookPath("versitygw"); err == nil {
		return p, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	p := filepath.Join(home, "go", "bin", "versitygw")
	_, err = os.Stat(p)
	return p, err
}

// S3 starts versitygw, a real S3 server, on loopback and returns its endpoint and the keys of its one account; [Bucket]
// exists. It ends with the test. Without the program the test is skipped, or fails in CI, where it must be there.
func S3(t testing.TB) (endpoint, access, secret string) {
	t.Helper()
	s := StartS3(t)
	return s.Endpoint, s.Access, s.Secret
}

// S3Server is a running versitygw.
type S3Server struct {
	Endpoint, Access, Secret string
	// Dir holds the buckets as directories and the objects as files.
	Dir string
}

// StartS3 is S3 for tests that also look at the server's disk.
func StartS3(t testing.TB) *S3Server {
	t.Helper()
	program, err := versitygw()
	if err != nil {
		missing(t, "versitygw is missing (go install github.com/versity/versitygw/cmd/versitygw@v1.8.0, or name it in $VERSITYGW): %v", err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, Bucket), 0o755); err != nil { // a directory is a bucket
		t.Fatal(err)
	}
	access, secret := "penstocktest", rand.Text()
	addr := FreeAddr(t)
	out := &Log{}
	cmd := exec.Command(program, "--access", access, "--secret", secret, "--port", addr, "--quiet", "--keep-alive", "--health", "/health", "posix", dir)
	// Not the caller's settings, which may name other servers.
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir}
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-gone
	})
	endpoint := "http://" + addr
	await(t, gone, out, func() error { return healthy(endpoint + "/health") })
	return &S3Server{Endpoint: endpoint, Access: access, Secret: secret, Dir: dir}
}

// await polls until ready returns nil: another process has no channel to tell us on.
func await(t testing.TB, gone chan error, out *Log, ready func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for {
		err := ready()
		if err == nil {
			return
		}
		select {
		case exit := <-gone:
			gone <- exit // for the cleanup
			t.Fatalf("the server ended at once: %v\n%s", exit, out)
		case <-limit:
			t.Fatalf("the server is not ready: %v\n%s", err, out)
		case <-tick.C:
		}
	}
}

func healthy(url string) error {
	c := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}
