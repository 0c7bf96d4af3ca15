package faultproxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/internal/test/s3d"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	return l.Addr().String()
}

// TestTCP: each fault does what it says, and nothing without it.
func TestTCP(t *testing.T) {
	p, err := ListenTCP(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	say := func(c net.Conn, text string) (string, error) {
		t.Helper()
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(c, text); err != nil {
			return "", err
		}
		b := make([]byte, len(text))
		_, err := io.ReadFull(c, b)
		return string(b), err
	}
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	c := dial()
	if got, err := say(c, "hello"); got != "hello" || err != nil || p.Sent() != 5 {
		t.Fatalf("%q, %v, %d sent", got, err, p.Sent())
	}
	p.FlipAfter(2)
	if got, err := say(c, "hello"); got != "hemlo" || err != nil {
		t.Errorf("flip: %q, %v", got, err)
	}
	p.SetDelay(50 * time.Millisecond)
	begin := time.Now()
	if _, err := say(c, "x"); err != nil || time.Since(begin) < 100*time.Millisecond {
		t.Errorf("a round trip of %v, %v", time.Since(begin), err)
	}
	p.SetDelay(0)
	p.Dig()
	if _, err := io.WriteString(c, "late"); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("from a black hole come %d bytes, %v", n, err)
	}
	p.Fill()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if b := make([]byte, 4); true {
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "late" {
			t.Errorf("after the black hole: %q, %v", b, err)
		}
	}
	p.CutAfter(3)
	if _, err := say(c, "hello"); err == nil {
		t.Error("the connection stands")
	}
	if got, err := say(dial(), "hello"); got != "hello" || err != nil {
		t.Errorf("a new connection: %q, %v", got, err)
	}
	if _, most := p.Count(); most < 1 {
		t.Errorf("%d connections at most", most)
	}
}

// TestCutAfter: the server gets exactly so many bytes before the reset.
func TestCutAfter(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := ListenTCP(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, n := range []int{0, 3, 10} {
		before := p.Sent()
		p.CutAfter(int64(n))
		client, err := net.Dial("tcp", p.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		_ = errors.Join(client.SetDeadline(time.Now().Add(time.Minute)), server.SetDeadline(time.Now().Add(time.Minute)))
		if _, err := io.WriteString(client, "0123456789"); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(server)
		if string(got) != "0123456789"[:n] || err == nil {
			t.Errorf("cut after %d bytes: the server has %q, %v", n, got, err)
		}
		if sent := p.Sent() - before; sent != int64(n) {
			t.Errorf("cut after %d bytes: %d were sent", n, sent)
		}
		if _, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("cut after %d bytes: the client's connection is not reset: %v", n, err)
		}
	}
}

// TestS3: faults are answered by the proxy, everything else by the server behind it.
func TestS3(t *testing.T) {
	var bodies []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies = append(bodies, r.Method+" "+r.Host+" "+string(b))
		_, _ = io.WriteString(w, "the server's")
	}))
	defer srv.Close()
	p, err := ListenS3(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	put := func() (int, string, error) {
		req, err := http.NewRequest(http.MethodPut, p.Endpoint+"/b/k", strings.NewReader("0123456789"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b), err
	}
	host := strings.TrimPrefix(p.Endpoint, "http://")
	for _, c := range []struct {
		fault  s3d.Fault
		status int
		answer string
		stored string // "": the server sees nothing
	}{
		{s3d.Fault{}, 200, "the server's", "PUT " + host + " 0123456789"},
		{s3d.Fault{Status: 503, Code: "SlowDown"}, 503, "SlowDown", ""},
		{s3d.Fault{ErrorBody: true}, 200, "InternalError", ""},
		{s3d.Fault{Drop: true}, 0, "", ""},
		{s3d.Fault{Lose: true}, 0, "", "PUT " + host + " 0123456789"},
		{s3d.Fault{Lose: true, ErrorBody: true}, 200, "InternalError", "PUT " + host + " 0123456789"},
		{s3d.Fault{Flip: true}, 200, "the server's", "PUT " + host + " 0123446789"},
	} {
		bodies = nil
		p.SetPlan(func(string, int, *http.Request) s3d.Fault { return c.fault })
		status, answer, err := put()
		if status != c.status || !strings.Contains(answer, c.answer) || (err != nil) != (c.status == 0) {
			t.Errorf("%+v: %d %q, %v", c.fault, status, answer, err)
		}
		if got := strings.Join(bodies, ";"); got != c.stored {
			t.Errorf("%+v: the server saw %q, want %q", c.fault, got, c.stored)
		}
		if p.Seen("Put") != 1 {
			t.Errorf("%+v: %d Puts seen", c.fault, p.Seen("Put"))
		}
	}
	p.SetPlan(nil)
	if _, answer, err := put(); err != nil || answer != "the server's" {
		t.Errorf("without a plan: %q, %v", answer, err)
	}
}

func TestOp(t *testing.T) {
	for want, request := range map[string]string{
		"Head": "HEAD /b/k", "HeadBucket": "HEAD /b", "Get": "GET /b/k", "Put": "PUT /b/a/k?x-id=PutObject", "Create": "POST /b/k?uploads",
		"UploadPart": "PUT /b/k?partNumber=1&uploadId=x", "Complete": "POST /b/k?uploadId=x", "Abort": "DELETE /b/k?uploadId=x",
		"List": "GET /b?list-type=2", "ListUploads": "GET /b?uploads", "Delete": "DELETE /b/k",
	} {
		method, path, _ := strings.Cut(request, " ")
		if got := Op(httptest.NewRequest(method, path, bytes.NewReader(nil))); got != want {
			t.Errorf("%s is %q, want %q", request, got, want)
		}
	}
}
