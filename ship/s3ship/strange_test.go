package s3ship

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/penstock-go/penstock/internal/test/s3d"
	"github.com/penstock-go/penstock/ship"
)

// answering starts a server instead of a store, with TLS if asked.
func answering(t *testing.T, withTLS bool, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	if withTLS {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return srv
}

// TestNoTrailers: rgw and other stores do not know an aws-chunked body followed by a checksum, which the SDK sends over TLS
// by default.
func TestNoTrailers(t *testing.T) {
	s := startStore(t)
	srv := answering(t, true, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") || r.Header.Get("X-Amz-Trailer") != "" {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `<?xml version="1.0"?><Error><Code>XAmzContentSHA256Mismatch</Code></Error>`)
			return
		}
		s.ServeHTTP(w, r)
	})
	for _, compat := range []bool{false, true} {
		b := at(t, srv.URL, "penstock", static{access, secret}, Options{CAFile: caFile(t, srv), Compat: compat})
		if err := b.Check(t.Context()); err != nil {
			t.Error(err)
		}
		for kind, size := range sizes {
			if _, err := put(t, b, fmt.Sprint(kind, compat), random(size)); err != nil {
				t.Errorf("compat %v, %s: %v", compat, kind, err)
			}
		}
	}
}

// TestLockWantsChecksum: the S3 API takes no object with a retention period without Content-MD5 or another checksum, also if
// the period is the bucket's default.
func TestLockWantsChecksum(t *testing.T) {
	s := startStore(t)
	var seen atomic.Int64
	srv := answering(t, false, func(w http.ResponseWriter, r *http.Request) {
		op := opOf(r)
		locked := op == "Put" || op == "UploadPart"
		if locked && r.Header.Get("X-Amz-Checksum-Crc64nvme") == "" {
			body, err := io.ReadAll(r.Body)
			sum := md5.Sum(body)
			if err != nil || r.Header.Get("Content-Md5") != base64.StdEncoding.EncodeToString(sum[:]) {
				w.Header().Set("Content-Type", "application/xml")
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(w, `<?xml version="1.0"?><Error><Code>InvalidRequest</Code><Message>Content-MD5 OR x-amz-checksum- HTTP header is required</Message></Error>`)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		if locked {
			seen.Add(1)
		}
		s.ServeHTTP(w, r)
	})
	for i, o := range []Options{{}, {Compat: true}, {LockMode: "GOVERNANCE", LockFor: time.Hour}, {Compat: true, LockMode: "GOVERNANCE", LockFor: time.Hour}} {
		b := at(t, srv.URL, "penstock", static{access, secret}, o)
		if err := b.Check(t.Context()); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
		for kind, size := range sizes {
			if _, err := put(t, b, fmt.Sprint(kind, i), random(size)); err != nil {
				t.Errorf("%+v, %s: %v", o, kind, err)
			}
		}
	}
	if seen.Load() < 12 {
		t.Errorf("%d requests with a lock: the test is void", seen.Load())
	}
}

// TestHostWideEndpoints: a host's settings for Amazon's endpoints do not break another store's.
func TestHostWideEndpoints(t *testing.T) {
	s := newStore(t)
	for _, name := range []string{"AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"} {
		t.Setenv(name, "true")
		if err := open(t, s.Endpoint(), "p", "").Check(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		t.Setenv("AWS_ENDPOINT_URL_S3", s.Endpoint())
		b, err := Open(t.Context(), "s3://penstock/p?path_style=true", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(b.Check(t.Context()), b.Close()); err != nil {
			t.Errorf("%s and AWS_ENDPOINT_URL_S3: %v", name, err)
		}
		t.Setenv("AWS_ENDPOINT_URL_S3", "")
		// Amazon's own endpoints keep it.
		if b, err = Open(t.Context(), "s3://penstock/p?region=us-east-1", nil); err != nil {
			t.Fatal(err)
		}
		if e := b.client.Options().EndpointOptions; e.UseFIPSEndpoint != aws.FIPSEndpointStateEnabled && e.UseDualStackEndpoint != aws.DualStackEndpointStateEnabled {
			t.Errorf("%s is without effect at Amazon: %+v", name, e)
		}
		t.Setenv(name, "")
	}
	// Mistakes that can be found without the network are reported at the start.
	for _, u := range []string{"s3://penstock/p?region=eu+central+1", "s3://penstock--use1-az4--x-s3/p?region=us-east-1"} {
		if b, err := Open(t.Context(), u, nil); err == nil {
			t.Errorf("%s is accepted", u)
			b.Close()
		}
	}
}

// listing answers a ListObjectsV2 with keys in the order given, and leaves the rest to a store.
func listing(s *store, keys ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if opOf(r) != "List" {
			s.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/xml")
		fmt.Fprint(w, `<?xml version="1.0"?><ListBucketResult><Name>penstock</Name>`)
		for _, k := range keys {
			fmt.Fprintf(w, `<Contents><Key>%s</Key><Size>1</Size></Contents>`, k)
		}
		fmt.Fprint(w, `</ListBucketResult>`)
	}
}

// TestUnsortedListing: the cause is named when the place is checked, not when somebody audits it.
func TestUnsortedListing(t *testing.T) {
	s := startStore(t)
	srv := answering(t, false, listing(s, "p/a", "p/c", "p/b"))
	var text bytes.Buffer
	b := at(t, srv.URL, "penstock", static{access, secret}, Options{Logger: slog.New(slog.NewTextHandler(&text, nil))})
	if err := b.Check(t.Context()); err != nil {
		t.Fatal(err) // it takes deliveries
	}
	if !strings.Contains(text.String(), "cannot be audited") || !strings.Contains(text.String(), "directory buckets") {
		t.Errorf("Check says %s", &text)
	}
	var err error
	for _, err = range b.List(t.Context(), "") {
		if err != nil {
			break
		}
	}
	if !ship.IsPermanent(err) || !strings.Contains(err.Error(), "does not list keys in byte order") {
		t.Errorf("List: %v", err)
	}
}

// TestCheckSums: a store that repeats the checksum that it is given has verified nothing.
func TestCheckSums(t *testing.T) {
	s := startStore(t)
	srv := answering(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/penstock/p/"+wrongKey {
			w.Header().Set("ETag", `"x"`)
			w.Header().Set("Content-Length", "0")
			w.Header().Set("X-Amz-Checksum-Crc64nvme", r.Header.Get("X-Amz-Checksum-Crc64nvme"))
			return
		}
		s.ServeHTTP(w, r)
	})
	for range 2 {
		err := at(t, srv.URL, "penstock", static{access, secret}, Options{}).Check(t.Context())
		if !ship.IsPermanent(err) || !strings.Contains(err.Error(), "accepts a wrong checksum") || !strings.Contains(err.Error(), "compat=true") || !strings.Contains(err.Error(), "remove p/"+wrongKey) {
			t.Errorf("Check: %v", err)
		}
	}
	if err := at(t, srv.URL, "penstock", static{access, secret}, Options{Compat: true}).Check(t.Context()); err != nil {
		t.Errorf("with compat: %v", err)
	}
}

// TestPartsOverwritten: Ceph's rgw honours If-None-Match in PutObject, and ignores it when an upload in parts is completed.
func TestPartsOverwritten(t *testing.T) {
	s := startStore(t)
	srv := answering(t, false, func(w http.ResponseWriter, r *http.Request) {
		if opOf(r) == "Complete" && r.Header.Get("If-None-Match") != "" {
			_ = os.Remove(filepath.Join(s.dir, filepath.FromSlash(r.URL.Path)))
		}
		s.ServeHTTP(w, r)
	})
	var text bytes.Buffer
	b := at(t, srv.URL, "penstock", static{access, secret}, Options{Logger: slog.New(slog.NewTextHandler(&text, nil))})
	for range 2 {
		if err := b.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(text.String(), "ignores If-None-Match when it completes"); n != 1 {
		t.Errorf("said %d times:\n%s", n, &text)
	}
	for kind, size := range sizes {
		r, err := put(t, b, kind, random(size))
		if err != nil || fmt.Sprint(r.Degraded) != map[string]string{"single": "[]", "multipart": "[no-condition]"}[kind] {
			t.Errorf("%s: %+v, %v", kind, r, err)
		}
	}
}

// TestForeignAnswers: an answer from a proxy, a firewall or another service is not mistaken for the store's, and the error
// says so.
func TestForeignAnswers(t *testing.T) {
	page := `<!DOCTYPE html><html><head><title>Blocked by policy</title></head><body>No.</body></html>`
	for _, c := range []struct {
		status     int
		kind, body string
		permanent  bool
		says       string
	}{
		{503, "text/html", page, false, `"503 Service Unavailable" is not a store's: something else answers at 127.0.0.1`},
		{403, "text/html", page, false, `and says "Blocked by policy"`},
		{404, "text/html", page, false, `"404 Not Found" is not a store's`},
		{502, "text/plain", "upstream connect error", false, `502`},
		{302, "text/html", page, false, `"302 Found" is not a store's`},
		{400, "text/plain", "Client sent an HTTP request to an HTTPS server.\n", true, "write https://"},
		{400, "text/html", "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>", true, "write https://"},
	} {
		srv := answering(t, false, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.kind)
			w.Header().Set("Server", "squid/6")
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.body)
		})
		for name, call := range calls(at(t, srv.URL, "penstock", static{access, secret}, Options{Attempts: 1})) {
			err := call(t.Context())
			if err == nil || ship.IsPermanent(err) != c.permanent || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%d %s, %s: %v", c.status, c.kind, name, err)
			}
		}
	}
	// Servers that close such connections, or say it in TLS, as rgw and versitygw do.
	mute := answering(t, true, func(http.ResponseWriter, *http.Request) {})
	l := &deaf{mute.Listener.Addr().String()}
	front, err := l.listen(t)
	if err != nil {
		t.Fatal(err)
	}
	wantPermanent(t, at(t, "http://"+front, "penstock", static{access, secret}, Options{Attempts: 1}), "write https://")
	alert := answering(t, false, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_, _ = c.Write([]byte{0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x16})
			_ = c.Close()
		}
	})
	wantPermanent(t, at(t, alert.URL, "penstock", static{access, secret}, Options{Attempts: 1}), "write https://")
}

// deaf passes TLS handshakes on to a server and closes every other connection once it has read something.
type deaf struct{ to string }

func (d *deaf) listen(t *testing.T) (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { d.serve(c) })
		}
	})
	return l.Addr().String(), nil
}

func (d *deaf) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	if first, err := r.Peek(1); err != nil || first[0] != 0x16 { // a handshake record
		_, _ = io.CopyN(io.Discard, r, int64(r.Buffered()))
		return
	}
	s, err := net.Dial("tcp", d.to)
	if err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(s, r); s.Close() })
	both.Go(func() { _, _ = io.Copy(c, s); c.Close() })
	both.Wait()
}

// TestProxyRefuses: a proxy's refusal to connect names the proxy.
func TestProxyRefuses(t *testing.T) {
	for status, permanent := range map[int]bool{403: true, 407: true, 502: false} {
		proxy := answering(t, false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		b := at(t, "https://store.example", "penstock", static{access, secret}, Options{Attempts: 1})
		u, err := url.Parse(proxy.URL)
		if err != nil {
			t.Fatal(err)
		}
		b.http.next.(roundTripper).Proxy = http.ProxyURL(u)
		_, err = b.Stat(t.Context(), "k")
		if err == nil || ship.IsPermanent(err) != permanent || !strings.Contains(err.Error(), "the proxy "+u.Host+" refuses") || permanent && !strings.Contains(err.Error(), "NO_PROXY") {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// TestPartitions: advice and places name the cloud that they are of.
func TestPartitions(t *testing.T) {
	for region, want := range map[string]string{
		"eu-central-1": "arn:aws:s3:::penstock/p/*", "cn-north-1": "arn:aws-cn:s3:::penstock/p/*", "us-gov-west-1": "arn:aws-us-gov:s3:::penstock/p/*",
		"eusc-de-east-1": "arn:aws-eusc:s3:::penstock/p/*", "us-isob-east-1": "arn:aws-iso-b:s3:::penstock/p/*",
	} {
		b, err := New(aws.Config{Region: region}, "penstock", "p", nil)
		if err != nil {
			t.Fatal(err)
		}
		if s := b.permissionCure(errors.New("refused")); !strings.Contains(s, " on "+want) {
			t.Errorf("%s: %s", region, s)
		}
	}
	for endpoint, own := range map[string]bool{
		"https://s3.cn-north-1.amazonaws.com.cn": true, "https://s3.eusc-de-east-1.amazonaws.eu": true, "https://s3.us-gov-west-1.amazonaws.com": true,
		"https://minio.example": false, "https://amazonaws.com.example": false,
	} {
		b, err := New(aws.Config{}, "penstock", "p", &Options{Endpoint: endpoint})
		if err != nil {
			t.Fatal(err)
		}
		if got := !strings.Contains(b.Location(), " at "); got != own {
			t.Errorf("%s: %s", endpoint, b.Location())
		}
	}
}

// TestAnyRefusalReadsCredentials: stores have many words for credentials that they do not accept.
func TestAnyRefusalReadsCredentials(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
	}{{404, "XAdminUserNotFound"}, {403, "AccessDenied"}, {401, "Unauthorized"}, {400, "NoSuchUser"}} {
		s := startStore(t)
		b := at(t, s.Endpoint(), "penstock", static{"AKIDOLD", "old"}, Options{Attempts: 1})
		reloads := 0
		b.credentials.reload = func(context.Context) (aws.CredentialsProvider, error) {
			reloads++
			return static{access, secret}, nil
		}
		s.plan(func(string, int) s3d.Fault {
			if reloads == 0 {
				return s3d.Fault{Status: c.status, Code: c.code}
			}
			return s3d.Fault{}
		})
		if _, err := put(t, b, "k", []byte("x")); err == nil {
			t.Fatalf("%d %s: no error", c.status, c.code)
		}
		if _, err := put(t, b, "k", []byte("x")); err != nil {
			t.Errorf("%d %s: the corrected credentials are not used: %v", c.status, c.code, err)
		}
	}
}

// TestSuspicionIsBounded: while a permission is missing, credentials are read at most once a minute, and a reading that
// fails does not discard credentials that the store has not called bad.
func TestSuspicionIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reloads := 0
		var fail error
		c := &credentials{provider: static{access, secret}}
		c.reload = func(context.Context) (aws.CredentialsProvider, error) {
			reloads++
			return static{access, secret}, fail
		}
		ask := func() error { _, err := c.Retrieve(t.Context()); return err }
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		for range 300 {
			c.doubt(suspected)
			if err := ask(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if reloads != 5 {
			t.Errorf("read %d times in five minutes", reloads)
		}
		time.Sleep(suspicion)
		fail = errors.New("the metadata service is away")
		c.doubt(suspected)
		if err := ask(); err != nil {
			t.Errorf("on a suspicion: %v", err)
		}
		c.doubt(certain)
		if err := ask(); !errors.Is(err, fail) {
			t.Errorf("for certain: %v", err)
		}
		fail = nil
		if err := ask(); err != nil {
			t.Error(err)
		}
	})
}

// TestNewKey: a new key needs no HeadObject before the upload, once the store has shown that it does not overwrite.
func TestNewKey(t *testing.T) {
	s := startStore(t)
	b := s.open(t, "p", "")
	send := func(key string, body []byte, isNew bool) (ship.Receipt, error) {
		o := ship.BytesObject(key, spoolID, body)
		o.New = isNew
		return b.Put(t.Context(), o, section(body))
	}
	count := func(what string, wantHeads, wantPuts int, wantErr error, send func() error) {
		t.Helper()
		s.plan(nil)
		if err := send(); !errors.Is(err, wantErr) {
			t.Errorf("%s: %v", what, err)
		}
		if h, p := s.count("Head"), s.count("Put"); h != wantHeads || p != wantPuts {
			t.Errorf("%s: %d HEAD and %d PUT, want %d and %d", what, h, p, wantHeads, wantPuts)
		}
	}
	one := func(key string, body string, isNew bool) func() error {
		return func() error { _, err := send(key, []byte(body), isNew); return err }
	}
	count("before the store has shown anything", 2, 1, nil, one("a", "1", true))
	for range 2 {
		if err := b.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	count("new", 1, 1, nil, one("b", "1", true))
	count("not new", 2, 1, nil, one("c", "1", false))
	count("there already", 1, 0, nil, one("c", "1", false))
	count("new, and there after all", 1, 1, nil, one("c", "1", true))
	count("new, and taken after all", 1, 1, ship.ErrConflict, one("c", "2", true))
	s.stored(t, "p/c", []byte("1"))
	count("new, in parts", 2, 0, nil, one("m", string(random(sizes["multipart"])), true))
}

// TestEndlessAnswers: an answer that is no object is read up to a bound, and not into memory without end.
func TestEndlessAnswers(t *testing.T) {
	const page = `<?xml version="1.0"?><ListBucketResult><Name>penstock</Name><IsTruncated>true</IsTruncated>`
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request) error{
		"a page of keys": func(w http.ResponseWriter, _ *http.Request) (err error) {
			_, err = io.WriteString(w, page)
			for n := 0; err == nil; n++ {
				_, err = fmt.Fprintf(w, "<Contents><Key>p/%0900d</Key><Size>1</Size></Contents>", n)
			}
			return err
		},
		"one key": func(w http.ResponseWriter, _ *http.Request) (err error) {
			_, err = io.WriteString(w, page+"<Contents><Key>")
			for zeros := strings.Repeat("0", 1<<16); err == nil; {
				_, err = io.WriteString(w, zeros)
			}
			return err
		},
		"an error": func(w http.ResponseWriter, _ *http.Request) (err error) {
			w.WriteHeader(http.StatusForbidden)
			for zeros := strings.Repeat("0", 1<<16); err == nil; {
				_, err = io.WriteString(w, zeros)
			}
			return err
		},
		"pages without keys": func(w http.ResponseWriter, r *http.Request) error {
			_, err := fmt.Fprintf(w, page+"<NextContinuationToken>%s0</NextContinuationToken></ListBucketResult>", r.URL.Query().Get("continuation-token"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sent atomic.Int64
			srv := answering(t, false, func(w http.ResponseWriter, r *http.Request) {
				if sent.Load() > 1<<30 {
					return // it would have gone on
				}
				_ = answer(&counting{w, &sent}, r)
			})
			b := at(t, srv.URL, "penstock", static{access, secret}, Options{Attempts: 1})
			var err error
			for _, err = range b.List(t.Context(), "") {
				if err != nil {
					break
				}
			}
			// What answers with an error and a page of its own may be an outage on the way.
			if err == nil || name != "an error" && !ship.IsPermanent(err) || sent.Load() > 4*maxAnswer {
				t.Errorf("%v after %d bytes", err, sent.Load())
			}
		})
	}
}

// counting counts what a server has sent.
type counting struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	if c.n.Add(int64(n)) > 1<<30 {
		err = errors.New("a gigabyte was read")
	}
	return n, err
}
