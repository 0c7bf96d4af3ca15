package s3ship

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// foreignError is an answer that does not come from the store, but from a proxy, a firewall, a maintenance page, or
// another service on this port. It is an outage, which passes, and says nothing about any object.
type foreignError struct {
	status string
	from   string // host, and the Server header
	said   string
	tls    bool // the port speaks TLS, and got a request without it
}

func (e *foreignError) Error() string {
	s := fmt.Sprintf("the answer %q is not a store's: something else answers at %s", e.status, e.from)
	if e.said != "" {
		s += fmt.Sprintf(", and says %q", e.said)
	}
	return s
}

func isForeign(err error) bool {
	_, ok := errors.AsType[*foreignError](err)
	return ok
}

// foreign returns an error, and closes the body, if an error response does not come from a store: those of stores are XML,
// or have a request id. A response without a body, as to a HEAD, is judged by its content type.
func foreign(req *http.Request, resp *http.Response) *foreignError {
	if resp.StatusCode < 300 || resp.Header.Get("x-amz-request-id") != "" || resp.Header.Get("x-amz-id-2") != "" {
		return nil
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	r := bufio.NewReaderSize(resp.Body, 1024)
	head, _ := r.Peek(1024)
	resp.Body = struct {
		io.Reader
		io.Closer
	}{r, resp.Body}
	text := bytes.TrimLeft(head, "\ufeff \t\r\n")
	isXML := bytes.HasPrefix(text, []byte("<?xml")) || bytes.HasPrefix(text, []byte("<Error"))
	if isXML || len(text) == 0 && kind != "text/html" {
		return nil
	}
	_ = resp.Body.Close()
	e := &foreignError{status: resp.Status, from: req.URL.Host, said: gist(text)}
	if s := resp.Header.Get("Server"); s != "" {
		e.from += " (" + printable(s) + ")"
	}
	e.tls = req.URL.Scheme == "http" && resp.StatusCode == http.StatusBadRequest && speaksTLS.Match(text)
	return e
}

// speaksTLS matches the answers of Go, nginx and Apache to a request without TLS on a TLS port.
var speaksTLS = regexp.MustCompile(`(?i)HTTP request[^<]* to an? (HTTPS|SSL)|HTTP request was sent to HTTPS|plain HTTP to an SSL`)

var title = regexp.MustCompile(`(?is)<title>(.*?)</title>`)

// gist is the title of a page, or the beginning of a text.
func gist(text []byte) string {
	if m := title.FindSubmatch(text); m != nil {
		text = m[1]
	}
	return printable(string(text))
}

// printable makes text from an unknown sender fit for a line of a log.
func printable(s string) string {
	s = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))), " ")
	if len(s) > 120 {
		s = strings.ToValidUTF8(s[:120], "") + "…"
	}
	return s
}

// proxyError is a proxy's refusal to connect to the store.
type proxyError struct {
	proxy  string
	status int
	text   string
}

func (e *proxyError) Error() string {
	return fmt.Sprintf("the proxy %s refuses to connect to the store: %s", e.proxy, e.text)
}

// proxyAnswer judges a proxy's answer to a CONNECT. Without it, the error of net/http would be the bare status text.
func proxyAnswer(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyError{proxy.Host, resp.StatusCode, printable(resp.Status)}
}

// strangerCure says what to do about answers that do not come from the store, "" if they may pass by themselves.
func strangerCure(err error) string {
	if e, ok := errors.AsType[*foreignError](err); ok && e.tls || errors.Is(err, errSpeaksTLS) {
		return "the endpoint speaks TLS on this port: write https:// or correct the port"
	}
	// A TLS alert, where an HTTP answer was expected.
	if strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`) {
		return "the endpoint speaks TLS on this port: write https:// or correct the port"
	}
	if e, ok := errors.AsType[*proxyError](err); ok && e.status < 500 {
		return "allow the store's host at the proxy, give the proxy's credentials in HTTPS_PROXY, or name the host in NO_PROXY"
	}
	return ""
}
