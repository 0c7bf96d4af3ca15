package s3ship

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/penstock-go/penstock/internal/test/s3d"
	"github.com/penstock-go/penstock/ship"
)

// calls are all the calls that can return an error.
func calls(b *Destination) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Put": func(ctx context.Context) error {
			_, err := b.Put(ctx, ship.BytesObject("k", spoolID, []byte("x")), section([]byte("x")))
			return err
		},
		"Put multipart": func(ctx context.Context) error {
			body := random(6 << 20)
			_, err := b.Put(ctx, ship.BytesObject("m", spoolID, body), section(body))
			return err
		},
		"Stat": func(ctx context.Context) error { _, err := b.Stat(ctx, "k"); return err },
		"Open": func(ctx context.Context) error {
			r, err := b.Open(ctx, "k")
			if err == nil {
				err = r.Close()
			}
			return err
		},
		"List": func(ctx context.Context) error {
			for _, err := range b.List(ctx, "") {
				return err
			}
			return nil
		},
		"Check": b.Check,
		"Sweep": func(ctx context.Context) error { _, err := b.Sweep(ctx); return err },
	}
}

// wantPermanent runs every call and looks for the cure in its error.
func wantPermanent(t *testing.T, b *Destination, cure string) {
	t.Helper()
	for name, call := range calls(b) {
		err := call(t.Context())
		switch {
		case err == nil || !ship.IsPermanent(err):
			t.Errorf("%s: %v, want a permanent error", name, err)
		case errors.Is(err, fs.ErrNotExist):
			t.Errorf("%s: %v is taken for an absent object", name, err)
		case !strings.Contains(err.Error(), cure):
			t.Errorf("%s: %v does not say %q", name, err, cure)
		case strings.Contains(err.Error(), secret):
			t.Errorf("%s: the error holds the secret", name)
		case !strings.HasPrefix(err.Error(), "s3ship: "):
			t.Errorf("%s: %v does not say where it is from", name, err)
		}
	}
}

// at returns a Destination at an endpoint with the given keys.
func at(t *testing.T, endpoint, bucket string, who aws.CredentialsProvider, o Options) *Destination {
	t.Helper()
	o.Endpoint, o.PathStyle, o.PartSize, o.maxBackoff = endpoint, true, 5<<20, 1
	b, err := New(aws.Config{Credentials: who}, bucket, "p", &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestWrongCredentials(t *testing.T) {
	s := startStore(t)
	wantPermanent(t, at(t, s.Endpoint(), "penstock", static{"AKIDOTHER", secret}, Options{}), "the access key is not known there")
	wantPermanent(t, at(t, s.Endpoint(), "penstock", static{access, "wrong"}, Options{}), "the secret key does not belong to the access key")
	none := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, errors.New("nothing found") })
	wantPermanent(t, at(t, s.Endpoint(), "penstock", none, Options{}), "give credentials by environment")
}

// TestCredentialsCorrected: an operator corrects the file, and the running process goes on.
func TestCredentialsCorrected(t *testing.T) {
	s := newStore(t)
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(secret string) {
		t.Helper()
		text := "[default]\naws_access_key_id = " + access + "\naws_secret_access_key = " + secret + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("outdated")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	b := open(t, s.Endpoint(), "p", "")
	if err := b.Check(t.Context()); !ship.IsPermanent(err) {
		t.Fatalf("Check with an outdated key: %v", err)
	}
	write(secret)
	if err := b.Check(t.Context()); err != nil {
		t.Errorf("Check after the key was corrected: %v", err)
	}
}

func TestUnknownBucket(t *testing.T) {
	s := startStore(t)
	wantPermanent(t, at(t, s.Endpoint(), "nobodys", static{access, secret}, Options{}), "create the bucket")
}

func TestWrongRegion(t *testing.T) {
	s := startStore(t)
	wantPermanent(t, at(t, s.Endpoint(), "penstock", static{access, secret}, Options{Region: "eu-central-1"}), "region=")
}

// TestHint: a host name that does not exist may exist in a minute, so it is not permanent; the error still helps.
func TestHint(t *testing.T) {
	b := &Destination{o: (&Options{Endpoint: "http://h"}).withDefaults(), bucket: "penstock", credentials: &credentials{}}
	err := b.fail("put", "k", &net.DNSError{Err: "no such host", Name: "penstock.h", IsNotFound: true})
	if ship.IsPermanent(err) || !strings.Contains(err.Error(), "path_style=true") {
		t.Error(err)
	}
}

// TestCredentialsGiven: a process that was started without credentials uses them once they are there.
func TestCredentialsGiven(t *testing.T) {
	s := newStore(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	b := open(t, s.Endpoint(), "p", "")
	if err := b.Check(t.Context()); !ship.IsPermanent(err) || !strings.Contains(err.Error(), "give credentials") {
		t.Fatalf("Check without credentials: %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	if err := b.Check(t.Context()); err != nil {
		t.Errorf("Check with credentials: %v", err)
	}
}

// TestCredentialsAfterSilence: if no machine provides credentials, the last request of the chain goes to an address that
// does not answer. After that timeout, the whole chain must be asked again.
func TestCredentialsAfterSilence(t *testing.T) {
	s := startStore(t)
	silent := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, fmt.Errorf("no EC2 IMDS role found: %w", context.DeadlineExceeded)
	})
	b := at(t, s.Endpoint(), "penstock", silent, Options{})
	b.credentials.reload = func(context.Context) (aws.CredentialsProvider, error) { return static{access, secret}, nil }
	if _, err := put(t, b, "k", []byte("x")); err == nil || ship.IsPermanent(err) {
		t.Fatalf("Put without credentials: %v", err)
	}
	if _, err := put(t, b, "k", []byte("x")); err != nil {
		t.Errorf("Put with credentials: %v", err)
	}
}

// TestAnswers: single answers, and the errors that they become.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		status    int
		code      string
		permanent bool
		cure      string
	}{
		{403, "AccessDenied", true, "allow s3:PutObject, s3:PutObjectTagging, s3:PutObjectRetention, and kms:GenerateDataKey and kms:Decrypt on the key on arn:aws:s3:::penstock/p/*; or the bucket does not belong to account 123456789012"},
		{403, "ExpiredToken", true, "have expired"},
		{403, "RequestTimeTooSkewed", true, "clock"},
		{301, "PermanentRedirect", true, "region="},
		{400, "KMS.DisabledException", true, "KMS key"},
		{403, "QuotaExceeded", true, "quota"},
		{400, "EntityTooLarge", true, "part_size"},
		{403, "InvalidObjectState", true, "restore"},
		{400, "InvalidRequest", true, "compat=true"},
		{501, "NotImplemented", true, "compat=true"},
		{500, "InternalError", false, ""},
		{503, "SlowDown", false, ""},
		{409, "ConditionalRequestConflict", false, ""},
		{404, "NoSuchUpload", false, ""},
		{507, "InsufficientStorage", false, ""},
		{400, "RequestTimeout", false, ""},
	} {
		s := startStore(t)
		b := at(t, s.Endpoint(), "penstock", static{access, secret}, Options{
			Tags: map[string]string{"a": "b"}, LockMode: "GOVERNANCE", LockFor: 1, Encryption: "aws:kms", BucketOwner: "123456789012",
		})
		s.plan(func(op string, _ int) s3d.Fault {
			if op == "Put" {
				return s3d.Fault{Status: c.status, Code: c.code}
			}
			return s3d.Fault{}
		})
		_, err := put(t, b, "k", []byte("x"))
		if err == nil || ship.IsPermanent(err) != c.permanent || !strings.Contains(err.Error(), c.cure) {
			t.Errorf("%d %s: %v", c.status, c.code, err)
		}
	}
}

// TestTLS uses HTTPS, where a body is not signed and parts carry their checksums after them.
func TestTLS(t *testing.T) {
	s := &store{dir: t.TempDir(), calls: map[string]int{}}
	h, err := s3d.New(s.dir, &s3d.Options{AccessKey: access, SecretKey: secret, Fault: s.decide})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	srv.StartTLS()
	defer srv.Close()

	ca := caFile(t, srv)
	b := at(t, srv.URL, "penstock", static{access, secret}, Options{CAFile: ca})
	for kind, size := range sizes {
		body := random(size)
		op := map[string]string{"single": "Put", "multipart": "UploadPart"}[kind]
		s.plan(only(op, 1, s3d.Fault{Flip: true}))
		if _, err := put(t, b, kind, body); !errors.Is(err, ship.ErrVerify) {
			t.Errorf("%s with a flipped bit: %v, want ErrVerify", kind, err)
		}
		s.stored(t, "p/"+kind, nil)
		if r, err := put(t, b, kind, body); err != nil || r.Method != "head" {
			t.Errorf("%s: %+v, %v", kind, r, err)
		}
		s.stored(t, "p/"+kind, body)
	}
	wantPermanent(t, at(t, srv.URL, "penstock", static{access, secret}, Options{}), "ca_file=")
	wantPermanent(t, at(t, strings.Replace(srv.URL, "127.0.0.1", "localhost", 1), "penstock", static{access, secret}, Options{CAFile: ca}), "certificate is not valid")
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	wantPermanent(t, at(t, strings.Replace(plain.URL, "http:", "https:", 1), "penstock", static{access, secret}, Options{}), "does not speak TLS")
}

// caFile writes the certificate of a test server, to be trusted.
func caFile(t *testing.T, srv *httptest.Server) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, name, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))
	return name
}

// TestAbortedLater: the parts of an upload that could not be aborted are removed once the store answers again, with the next
// object of any size. A store that refuses the abort costs one request for each object.
func TestAbortedLater(t *testing.T) {
	s := startStore(t)
	b := s.open(t, "p", "")
	if err := b.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		gone := s3d.Fault{Status: 404, Code: "NoSuchBucket"}
		s.plan(func(op string, _ int) s3d.Fault {
			if op == "Complete" || op == "Abort" {
				return gone
			}
			return s3d.Fault{}
		})
		if err := b.Check(t.Context()); err == nil {
			t.Fatal("Check said nothing")
		}
	}
	var aborts int
	s.plan(func(op string, _ int) s3d.Fault {
		if op == "Abort" {
			aborts++
			return s3d.Fault{Status: 403, Code: "AccessDenied"}
		}
		return s3d.Fault{}
	})
	small := func(key string) {
		t.Helper()
		if _, err := b.Put(t.Context(), ship.BytesObject(key, "", probe), section(probe)); err != nil {
			t.Fatal(err)
		}
	}
	small("one")
	if aborts != 1 {
		t.Errorf("%d aborts were tried while the store refused them, want 1", aborts)
	}
	s.calm()
	small("two")
	if up := s.uploads(t); len(up) != 0 {
		t.Errorf("left behind: %v", up)
	}
}

// TestCheckNoConditions: a store that would overwrite objects is detected before anything is delivered to it.
func TestCheckNoConditions(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("ETag", `"x"`) }))
	defer srv.Close()
	err := at(t, srv.URL, "penstock", static{access, secret}, Options{}).Check(t.Context())
	if !ship.IsPermanent(err) || !strings.Contains(err.Error(), "compat=true") {
		t.Errorf("Check: %v", err)
	}
}

func TestCheck(t *testing.T) {
	s := startStore(t)
	b := s.open(t, "p", "")
	for range 2 { // the second meets the first one's object
		if err := b.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if up := s.uploads(t); len(up) != 0 {
		t.Errorf("left behind: %v", up)
	}
	for e := range b.List(t.Context(), "") {
		t.Errorf("List shows %s", e.Key)
	}
	for op, permission := range map[string]string{
		"Put": "s3:PutObject", "Head": "s3:GetObject", "Create": "s3:PutObject", "UploadPart": "s3:PutObject", "Complete": "s3:PutObject", "Abort": "s3:AbortMultipartUpload",
	} {
		s.plan(only(op, 9, s3d.Fault{Status: 403, Code: "AccessDenied"}))
		if err := b.Check(t.Context()); !ship.IsPermanent(err) || !strings.Contains(err.Error(), "allow "+permission+" on arn:aws:s3:::penstock/p/*") {
			t.Errorf("Check without %s: %v", permission, err)
		}
	}
	// Check succeeds without the permission to sweep.
	s.plan(only("ListUploads", 9, s3d.Fault{Status: 403, Code: "AccessDenied"}))
	if err := b.Check(t.Context()); err != nil {
		t.Errorf("Check without s3:ListBucketMultipartUploads: %v", err)
	}
	// What could not be aborted meanwhile was aborted by the next Check.
	if up := s.uploads(t); len(up) != 0 {
		t.Errorf("left behind: %v", up)
	}
}
