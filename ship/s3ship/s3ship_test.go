package s3ship

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/internal/test/s3d"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keys sets the environment's credentials, and keeps the machine's own configuration out.
func keys(t testing.TB, access, secret string) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	for _, name := range []string{"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_CA_BUNDLE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

// store is an s3d whose faults a test can change, and which counts requests by what they do.
type store struct {
	*s3d.Server
	dir string

	mu    sync.Mutex
	fault func(op string, n int) s3d.Fault
	calls map[string]int
}

const (
	access = "AKIDTEST"
	secret = "a-secret-that-must-not-leak"
)

// newStore also sets the environment's credentials.
func newStore(t testing.TB) *store {
	t.Helper()
	keys(t, access, secret)
	return startStore(t)
}

// startStore is for parallel tests, which have no environment of their own.
func startStore(t testing.TB) *store {
	t.Helper()
	s := &store{dir: t.TempDir(), calls: map[string]int{}}
	var err error
	s.Server, err = s3d.Start(s.dir, &s3d.Options{AccessKey: access, SecretKey: secret, Fault: s.decide})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// open returns a Destination whose credentials are given, not looked for.
func (s *store) open(t testing.TB, prefix, params string) *Destination {
	t.Helper()
	_, _, o, err := parse("s3://penstock/?path_style=true&part_size=5MiB&endpoint="+url.QueryEscape(s.Endpoint())+params, &Options{maxBackoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(aws.Config{Region: "us-east-1", Credentials: static{access, secret}}, "penstock", prefix, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// static are fixed credentials.
type static struct{ access, secret string }

func (s static) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: s.access, SecretAccessKey: s.secret}, nil
}

// begin starts a multipart upload under a full key, as a process that is then killed.
func begin(t testing.TB, b *Destination, full string) {
	t.Helper()
	if _, err := b.client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &b.bucket, Key: &full}); err != nil {
		t.Fatal(err)
	}
}

// decide names the operation as the S3 API does and counts it from 1.
func (s *store) decide(r *http.Request) s3d.Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	op := opOf(r)
	s.calls[op]++
	if s.fault == nil {
		return s3d.Fault{}
	}
	return s.fault(op, s.calls[op])
}

func opOf(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodHead:
		return "Head"
	case r.Method == http.MethodGet && q.Has("uploads"):
		return "ListUploads"
	case r.Method == http.MethodGet && q.Has("list-type"):
		return "List"
	case r.Method == http.MethodGet:
		return "Get"
	case r.Method == http.MethodPut && q.Has("uploadId"):
		return "UploadPart"
	case r.Method == http.MethodPut:
		return "Put"
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "Create"
	case r.Method == http.MethodPost:
		return "Complete"
	case q.Has("uploadId"):
		return "Abort"
	}
	return r.Method
}

func (s *store) count(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

// plan sets the faults and counts again.
func (s *store) plan(f func(op string, n int) s3d.Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.calls = f, map[string]int{}
}

// calm ends the faults and keeps the counts.
func (s *store) calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = func(string, int) s3d.Fault { return s3d.Fault{} }
}

// open returns a Destination at an endpoint; params are added to the URL.
func open(t testing.TB, endpoint, prefix, params string) *Destination {
	t.Helper()
	b, err := Open(t.Context(), "s3://penstock/"+prefix+"?path_style=true&part_size=5MiB&endpoint="+url.QueryEscape(endpoint)+params, &Options{maxBackoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	_, _ = r.Read(b)
	return b
}

func section(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

const spoolID = "00000000000000000000000abc"

func put(t testing.TB, b *Destination, key string, body []byte) (ship.Receipt, error) {
	t.Helper()
	return b.Put(t.Context(), ship.BytesObject(key, spoolID, body), section(body))
}

func TestConformance(t *testing.T) {
	s := newStore(t)
	for name, params := range map[string]string{"default": "", "compat": "&compat=true"} {
		t.Run(name, func(t *testing.T) {
			shiptest.Run(t, func(t *testing.T) ship.Destination { return open(t, s.Endpoint(), "some/prefix-"+name, params) })
		})
	}
}

func TestConformanceVersitygw(t *testing.T) {
	endpoint, access, secret := testserver.S3(t)
	keys(t, access, secret)
	t.Run("default", func(t *testing.T) {
		shiptest.Run(t, func(t *testing.T) ship.Destination { return open(t, endpoint, "", "") })
	})
	b := open(t, endpoint, "compat", "&compat=true")
	for kind, size := range sizes {
		body := random(size)
		for range 2 {
			r, err := put(t, b, kind, body)
			if err != nil || r.Method != "read-back" || len(r.Degraded) != 1 {
				t.Errorf("compat, %s: %+v, %v", kind, r, err)
			}
		}
		if _, err := put(t, b, kind, body[1:]); !errors.Is(err, ship.ErrConflict) {
			t.Errorf("compat, %s: %v, want ErrConflict", kind, err)
		}
	}
}

// TestNew is the embedder's way: an aws.Config made by hand, at its zero values.
func TestNew(t *testing.T) {
	s := newStore(t)
	b, err := New(aws.Config{Credentials: static{access, secret}}, "penstock", "", &Options{Endpoint: s.Endpoint(), PathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r, err := put(t, b, "k", []byte("x"))
	if err != nil || r.Method != "head" {
		t.Fatal(r, err)
	}
}

// TestNewBesideOtherTransport: New works in a process that wraps http.DefaultTransport, as many do
// for traces or metrics.
func TestNewBesideOtherTransport(t *testing.T) {
	before := http.DefaultTransport
	http.DefaultTransport = struct{ http.RoundTripper }{before}
	t.Cleanup(func() { http.DefaultTransport = before })
	b, err := New(aws.Config{Region: "eu-west-1"}, "penstock", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
}

func writeFile(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
