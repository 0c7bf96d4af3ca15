package s3d

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client signs requests and sends them. What it signs with is held to the published examples in auth_test.go.
type client struct {
	t      *testing.T
	s      *Server
	http   *http.Client
	secret string
}

func start(t *testing.T, o *Options) *client {
	t.Helper()
	return startIn(t, t.TempDir(), o)
}

func startIn(t *testing.T, dir string, o *Options) *client {
	t.Helper()
	s, err := Start(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &client{t, s, &http.Client{Transport: transport}, s.o.SecretKey}
}

// answer is a response, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
	code   string // of an error
}

// headers of a request; those of the payload are added unless they are given.
type headers map[string]string

// sign makes a signed request.
func (c *client) sign(method, target string, h headers, body []byte) *http.Request {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.s.Endpoint()+target, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("x-amz-date", time.Now().UTC().Format(amzTime))
	r.Header.Set("x-amz-content-sha256", sumHex(body))
	for k, v := range h {
		r.Header.Set(k, v)
	}
	names := []string{"host"}
	for k := range r.Header {
		names = append(names, strings.ToLower(k))
	}
	slices.Sort(names)
	r.Host = r.URL.Host
	canonical, err := canonicalRequest(r, names)
	if err != nil {
		c.t.Fatal(err)
	}
	date := r.Header.Get("x-amz-date")
	sig := &signature{time: date, scope: date[:8] + "/us-east-1/s3/aws4_request"}
	sig.key = signingKey(c.secret, sig.scope)
	r.Header.Set("Authorization", signingAlgorithm+" Credential="+c.s.o.AccessKey+"/"+sig.scope+", SignedHeaders="+strings.Join(names, ";")+
		", Signature="+sig.sign(signingAlgorithm, sumHex([]byte(canonical))))
	return r
}

// send returns the answer, or the error of the connection.
func (c *client) send(method, target string, h headers, body []byte) (answer, error) {
	c.t.Helper()
	resp, err := c.http.Do(c.sign(method, target, h, body))
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	a := answer{resp.StatusCode, resp.Header, string(b), ""}
	var e xmlError
	if xml.Unmarshal(b, &e) == nil {
		a.code = e.Code
	}
	return a, err
}

// do is send, without errors of the connection.
func (c *client) do(method, target string, h headers, body []byte) answer {
	c.t.Helper()
	a, err := c.send(method, target, h, body)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

// want sends a request and compares the answer's status and error code.
func (c *client) want(status int, code, method, target string, h headers, body []byte) answer {
	c.t.Helper()
	a := c.do(method, target, h, body)
	if a.status != status || a.code != code {
		c.t.Errorf("%s %s: %d %q, want %d %q\n%s", method, target, a.status, a.code, status, code, a.body)
	}
	return a
}

// sum64 is a checksum in the form of the protocol.
func sum64(a algorithm, b []byte) string {
	h := newHasher(a)
	_, _ = h.Write(b)
	return base64.StdEncoding.EncodeToString(h.sums()[a])
}

// unsignedChunks frames b as STREAMING-UNSIGNED-PAYLOAD-TRAILER with one trailer line.
func unsignedChunks(b []byte, trailer string) []byte {
	var out []byte
	for part := range slices.Chunk(b, 1000) {
		out = append(out, hex.EncodeToString([]byte{byte(len(part) >> 8), byte(len(part))})+"\r\n"...)
		out = append(append(out, part...), "\r\n"...)
	}
	out = append(out, "0\r\n"...)
	if trailer != "" {
		out = append(out, trailer+"\r\n"...)
	}
	return append(out, "\r\n"...)
}
