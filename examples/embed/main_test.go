package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/internal/test/s3d"
	"github.com/penstock-go/penstock/internal/test/sftpd"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestService runs the service against servers in this process: a record sent to each of its listeners reaches every
// destination of its class, and the process ends as delivered.
func TestService(t *testing.T) {
	c := testConfig(t)
	s, err := newService(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	type result struct {
		report *drain.Report
		err    error
	}
	ran := make(chan result, 1)
	go func() { r, err := s.run(ctx); ran <- result{r, err} }()

	addr := func(name string) string { return s.listeners[name].Addr().String() }
	udp, err := net.Dial("udp", addr("udp"))
	write(t, udp, err, "over udp")
	secure, err := tls.Dial("tcp", addr("tls"), &tls.Config{InsecureSkipVerify: true})
	write(t, secure, err, "over tls\n")
	proxied, err := net.Dial("tcp", addr("proxied"))
	write(t, proxied, err, "PROXY TCP4 192.0.2.7 192.0.2.1 4000 514\r\nbehind the load balancer\n")
	acked, err := net.Dial("tcp", addr("relp"))
	write(t, acked, err, "1 open 30 relp_version=0\ncommands=syslog\n2 syslog 9 over relp\n3 close 0\n")
	if answers, err := io.ReadAll(acked); err != nil || !strings.Contains(string(answers), "2 rsp 6 200 OK") {
		t.Errorf("%q, %v", answers, err)
	}
	resp, err := http.Post("http://"+s.http.Addr().String()+"/events", "text/plain", strings.NewReader("over http"))
	if err != nil || resp.StatusCode != http.StatusNoContent {
		t.Fatalf("%v, %v", resp, err)
	}
	_ = resp.Body.Close()
	for _, c := range []net.Conn{udp, secure, proxied, acked} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	stop()
	r := <-ran
	if r.err != nil || r.report.Outcome != drain.Delivered || r.report.ExitCode() != 0 {
		t.Fatalf("%v: %s", r.err, r.report.JSON())
	}

	for url, want := range map[string]map[string][]string{
		c.s3: {
			"security": {"over relp", "over tls"},
			"other":    {"behind the load balancer from 192.0.2.7:4000", "over http", "over udp"},
		},
		c.sftp: {"security": {"over relp", "over tls"}, "other": nil},
	} {
		d, err := open.Destination(t.Context(), url, nil)
		if err != nil {
			t.Fatal(err)
		}
		for class, records := range want {
			var have []string
			err := open.Records(t.Context(), d, &open.RecordsOptions{Class: class}, func(_ uint64, r segment.Record) error {
				text := strings.TrimSpace(string(r.Data))
				if strings.HasPrefix(text, "behind") {
					text += " from " + r.Src.String()
				}
				have = append(have, text)
				return nil
			})
			if slices.Sort(have); err != nil || !slices.Equal(have, records) {
				t.Errorf("%s: %s: %q, want %q (%v)", url, class, have, records, err)
			}
		}
		if c, ok := d.(io.Closer); ok {
			_ = c.Close()
		}
	}
}

func write(t *testing.T, c net.Conn, err error, text string) {
	t.Helper()
	if err == nil {
		_, err = c.Write([]byte(text))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// testConfig starts the destinations' servers.
func testConfig(t *testing.T) *config {
	t.Helper()
	dir := t.TempDir()
	store, err := s3d.Start(filepath.Join(dir, "s3"), &s3d.Options{Buckets: []string{"logs"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if err := os.MkdirAll(filepath.Join(dir, "idc", "logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	idc, err := sftpd.Start(filepath.Join(dir, "idc"), filepath.Join(dir, "keys"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = idc.Close() })
	t.Setenv("AWS_ACCESS_KEY_ID", "penstock")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "penstock-secret")
	t.Setenv("AWS_SESSION_TOKEN", "")
	c := &config{
		dir: filepath.Join(dir, "spool"), sftp: idc.URL("logs"),
		s3:  fmt.Sprintf("s3://logs/here?endpoint=%s&region=us-east-1&path_style=true", store.Endpoint()),
		udp: "127.0.0.1:0", tls: "127.0.0.1:0", relp: "127.0.0.1:0", proxied: "127.0.0.1:0", http: "127.0.0.1:0",
		cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"),
		lb: netip.MustParsePrefix("127.0.0.0/8"), logger: slog.New(slog.DiscardHandler),
	}
	makeCertificate(t, c)
	return c
}

func makeCertificate(t *testing.T, c *config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{c.cert: {Type: "CERTIFICATE", Bytes: cert}, c.key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// body is a request body that does not end before its test allows it.
type body struct {
	read chan<- struct{}
	end  <-chan struct{}
}

func (b body) Read([]byte) (int, error) {
	b.read <- struct{}{}
	<-b.end
	return 0, io.EOF
}

// TestTooManyEvents: the number of requests in memory is limited, and refused requests may be sent again.
func TestTooManyEvents(t *testing.T) {
	sp, err := spool.Open(t.TempDir(), &spool.Options{Class: "other", Destinations: []string{"s3"}, MaxBytes: 64 << 20, SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	e := newEvents(sp)
	post := func(b io.Reader) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/events", b))
		return w
	}
	read, end, answers := make(chan struct{}), make(chan struct{}), make(chan int, maxEvents)
	for range maxEvents {
		go func() { answers <- post(body{read, end}).Code }()
		<-read
	}
	if w := post(strings.NewReader("one too many")); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	close(end)
	for range maxEvents {
		if code := <-answers; code != http.StatusNoContent {
			t.Errorf("one that was read: %d", code)
		}
	}
	if w := post(strings.NewReader("sent again")); w.Code != http.StatusNoContent || sp.Ledger().Received.Records != maxEvents+1 {
		t.Errorf("%d, received %d", w.Code, sp.Ledger().Received.Records)
	}
}
