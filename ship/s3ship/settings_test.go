package s3ship

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/s3d"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
)

// TestSettings: the options about objects reach the store, in one request or several.
func TestSettings(t *testing.T) {
	s := startStore(t)
	b := at(t, s.Endpoint(), "penstock", static{access, secret}, Options{
		KMSKeyID: "key", StorageClass: "STANDARD_IA", LockMode: "COMPLIANCE", LockFor: 24 * time.Hour, Tags: map[string]string{"a": "b c", "d": "e"},
	})
	for kind, size := range sizes {
		body := random(size)
		o := ship.BytesObject(kind, spoolID, body)
		o.ContentType, o.ContentEncoding = "application/x-ndjson", "zstd"
		if _, err := b.Put(t.Context(), o, section(body)); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(s.dir, ".s3d", "meta", "penstock", "p", kind))
		if err != nil {
			t.Fatal(err)
		}
		var meta struct {
			Header map[string]string
			Type   string
		}
		if err := json.Unmarshal(text, &meta); err != nil {
			t.Fatal(err)
		}
		until, err := time.Parse(time.RFC3339, meta.Header["X-Amz-Object-Lock-Retain-Until-Date"])
		if err != nil || time.Until(until) < 23*time.Hour || time.Until(until) > 24*time.Hour {
			t.Errorf("%s: locked until %v, %v", kind, until, err)
		}
		for name, want := range map[string]string{
			"Content-Type": "application/x-ndjson", "Content-Encoding": "zstd", "X-Amz-Storage-Class": "STANDARD_IA", "X-Amz-Object-Lock-Mode": "COMPLIANCE",
			"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "key", "X-Amz-Tagging": "a=b+c&d=e",
		} {
			if meta.Header[name] != want {
				t.Errorf("%s: %s = %q, want %q", kind, name, meta.Header[name], want)
			}
		}
		if meta.Type != "FULL_OBJECT" {
			t.Errorf("%s: checksum type %s", kind, meta.Type)
		}
	}
}

// recorder keeps the headers of all requests.
type recorder struct {
	http.Handler
	mu       sync.Mutex
	requests []*http.Request
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, req.Clone(req.Context()))
	r.mu.Unlock()
	r.Handler.ServeHTTP(w, req)
}

// record serves an s3d whose requests are kept, with or without TLS, and returns Options that reach it.
func record(t *testing.T, secure bool) (*recorder, string, Options) {
	t.Helper()
	h, err := s3d.New(t.TempDir(), &s3d.Options{AccessKey: access, SecretKey: secret})
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{Handler: h}
	srv := httptest.NewUnstartedServer(r)
	o := Options{}
	if secure {
		srv.StartTLS()
		o.CAFile = caFile(t, srv)
	} else {
		srv.Start()
	}
	t.Cleanup(func() { srv.Close(); h.Close() })
	return r, srv.URL, o
}

// TestEveryRequest: every request names the payer and the expected owner of the bucket.
func TestEveryRequest(t *testing.T) {
	r, endpoint, o := record(t, false)
	o.RequesterPays, o.BucketOwner = true, "123456789012"
	for name, call := range calls(at(t, endpoint, "penstock", static{access, secret}, o)) {
		if err := call(t.Context()); err != nil && !strings.Contains(err.Error(), "file does not exist") {
			t.Errorf("%s: %v", name, err)
		}
	}
	seen := map[string]bool{}
	for _, req := range r.requests {
		seen[opOf(req)] = true
		if req.Header.Get("x-amz-request-payer") != "requester" || req.Header.Get("x-amz-expected-bucket-owner") != "123456789012" {
			t.Errorf("%s %s: %v", req.Method, req.URL, req.Header)
		}
	}
	for _, op := range []string{"Head", "Get", "Put", "Create", "UploadPart", "Complete", "Abort", "List", "ListUploads"} {
		if !seen[op] {
			t.Errorf("no %s among the requests", op)
		}
	}
}

// TestCheckSendsWhatUploadsSend: if a store refuses a part of a multipart upload, Check already fails.
func TestCheckSendsWhatUploadsSend(t *testing.T) {
	for _, compat := range []bool{false, true} {
		r, endpoint, o := record(t, compat)
		b := at(t, endpoint, "penstock", static{access, secret}, o)
		sent := func(do func() error) map[string]string {
			r.requests = nil
			if err := do(); err != nil {
				t.Fatal(err)
			}
			headers := map[string]string{}
			for _, req := range r.requests {
				req.Header.Del("Expect") // of large bodies
				names := slices.Sorted(maps.Keys(req.Header))
				headers[opOf(req)] = fmt.Sprint(names, req.Header["X-Amz-Checksum-Algorithm"], req.Header["X-Amz-Checksum-Type"], req.Header["If-None-Match"])
			}
			return headers
		}
		check := sent(func() error { return b.Check(t.Context()) })
		upload := sent(func() error {
			body := random(sizes["multipart"])
			o := ship.BytesObject("k", spoolID, body)
			o.ContentType = "application/zstd"
			_, err := b.Put(t.Context(), o, section(body))
			return err
		})
		for _, op := range []string{"Create", "UploadPart", "Complete"} {
			if check[op] != upload[op] || check[op] == "" {
				t.Errorf("compat %v, %s: Check sends\n%s\nan upload\n%s", compat, op, check[op], upload[op])
			}
		}
	}
}

// TestRewrittenAcceptEncoding: front ends (Google's, many a CDN) rewrite this header before the store sees the signature.
func TestRewrittenAcceptEncoding(t *testing.T) {
	r, endpoint, o := record(t, false)
	store := r.Handler
	r.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Accept-Encoding") != "identity" { // or a front end would compress what we verify
			t.Errorf("%s %s: Accept-Encoding %q", req.Method, req.URL, req.Header["Accept-Encoding"])
		}
		req.Header.Set("Accept-Encoding", "identity, gzip(gfe)")
		store.ServeHTTP(w, req)
	})
	b := at(t, endpoint, "penstock", static{access, secret}, o)
	if err := b.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestCompatSendsNothingNew: an older store sees no field that it may not know.
func TestCompatSendsNothingNew(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, compat := range []bool{true, false} {
			r, endpoint, o := record(t, secure)
			o.Compat = compat
			b := at(t, endpoint, "penstock", static{access, secret}, o)
			if err := b.Check(t.Context()); err != nil {
				t.Error(err)
			}
			for kind, size := range sizes {
				if r, err := put(t, b, kind, random(size)); err != nil || r.Method != map[bool]string{true: "read-back", false: "head"}[compat] {
					t.Errorf("%s: %+v, %v", kind, r, err)
				}
			}
			var found []string
			for _, req := range r.requests {
				for name, v := range req.Header {
					n := strings.ToLower(name)
					if strings.HasPrefix(n, "x-amz-checksum") || n == "x-amz-trailer" || n == "x-amz-sdk-checksum-algorithm" || n == "if-none-match" ||
						n == "x-amz-mp-object-size" || strings.HasPrefix(v[0], "STREAMING-") || strings.Contains(v[0], "aws-chunked") {
						found = append(found, fmt.Sprintf("%s %s: %s: %s", req.Method, req.URL.Path, name, v[0]))
					}
				}
			}
			if compat != (len(found) == 0) {
				t.Errorf("TLS %v, compat %v:\n%s", secure, compat, strings.Join(found, "\n"))
			}
		}
	}
}

// TestNoSecrets: whatever happens, no log, error or location contains a key.
func TestNoSecrets(t *testing.T) {
	s := startStore(t)
	var log testserver.Log
	for _, code := range []string{"", "AccessDenied", "SignatureDoesNotMatch", "InternalError"} {
		s.plan(func(op string, _ int) s3d.Fault {
			if code == "" && op != "ListUploads" { // which is logged
				return s3d.Fault{}
			}
			return s3d.Fault{Status: 403, Code: code}
		})
		b := at(t, s.Endpoint(), "penstock", static{access, secret}, Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug - 10}))})
		for _, call := range calls(b) {
			if err := call(t.Context()); err != nil {
				fmt.Fprintln(&log, err)
			}
		}
		fmt.Fprintln(&log, b.Location())
	}
	if text := log.String(); strings.Contains(text, secret) || strings.Contains(text, "Signature=") {
		t.Error(text)
	}
	if !slices.ContainsFunc(strings.Split(log.String(), "\n"), func(l string) bool { return strings.Contains(l, "level=") }) {
		t.Error("nothing was logged: the test shows nothing")
	}
}
