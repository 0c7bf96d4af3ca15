package s3d

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var text = bytes.Repeat([]byte("0123456789abcdef\n"), 200)

// TestPutChecks: each thing a client can say about a body is held against it, before anything is published.
func TestPutChecks(t *testing.T) {
	c := start(t, nil)
	other := append([]byte{'x'}, text[1:]...)
	chunked := func(h headers) headers {
		h["x-amz-content-sha256"] = streamingUnsignedTrailer
		h["x-amz-decoded-content-length"] = fmt.Sprint(len(text))
		h["Content-Encoding"] = "aws-chunked"
		return h
	}
	crc32c := "x-amz-checksum-crc32c"
	for name, r := range map[string]struct {
		status int
		code   string
		h      headers
		body   []byte
	}{
		"sha256 of the payload":     {400, "XAmzContentSHA256Mismatch", headers{"x-amz-content-sha256": sumHex(other)}, text},
		"no sha256":                 {400, "InvalidRequest", headers{"x-amz-content-sha256": ""}, text},
		"strange sha256":            {400, "InvalidArgument", headers{"x-amz-content-sha256": "abc"}, text},
		"md5":                       {400, "BadDigest", headers{"Content-MD5": sum64(md5sum, other)}, text},
		"md5 malformed":             {400, "InvalidDigest", headers{"Content-MD5": "abc"}, text},
		"crc32":                     {400, "BadDigest", headers{"x-amz-checksum-crc32": sum64("crc32", other)}, text},
		"crc32c":                    {400, "BadDigest", headers{crc32c: sum64("crc32c", other)}, text},
		"crc64nvme":                 {400, "BadDigest", headers{"x-amz-checksum-crc64nvme": sum64(crc64nvme, other)}, text},
		"sha1":                      {400, "BadDigest", headers{"x-amz-checksum-sha1": sum64("sha1", other)}, text},
		"sha256":                    {400, "BadDigest", headers{"x-amz-checksum-sha256": sum64(sha256sum, other)}, text},
		"malformed":                 {400, "InvalidRequest", headers{crc32c: "AAAA"}, text},
		"two":                       {400, "InvalidRequest", headers{crc32c: sum64("crc32c", text), "x-amz-checksum-crc32": sum64("crc32", text)}, text},
		"trailer":                   {400, "BadDigest", chunked(headers{"x-amz-trailer": crc32c}), unsignedChunks(text, crc32c+":"+sum64("crc32c", other))},
		"trailer, other bytes":      {400, "BadDigest", chunked(headers{"x-amz-trailer": crc32c}), unsignedChunks(other, crc32c+":"+sum64("crc32c", text))},
		"trailer missing":           {400, "MalformedTrailerError", chunked(headers{"x-amz-trailer": crc32c}), unsignedChunks(text, "")},
		"trailer malformed":         {400, "InvalidRequest", chunked(headers{"x-amz-trailer": crc32c}), unsignedChunks(text, crc32c+":!")},
		"trailer unknown":           {400, "InvalidRequest", chunked(headers{"x-amz-trailer": "x-amz-checksum-rot13"}), unsignedChunks(text, "")},
		"chunks shorter than said":  {400, "IncompleteBody", chunked(headers{}), unsignedChunks(text[1:], "")},
		"chunks longer than said":   {400, "InvalidRequest", chunked(headers{}), unsignedChunks(append([]byte("x"), text...), "")},
		"chunks cut off":            {400, "IncompleteBody", chunked(headers{}), unsignedChunks(text, "")[:500]},
		"chunks without end":        {400, "IncompleteBody", chunked(headers{}), unsignedChunks(text, "")[:len(text)+20]},
		"no chunks":                 {400, "InvalidRequest", chunked(headers{}), text},
		"decoded length missing":    {411, "MissingContentLength", headers{"x-amz-content-sha256": streamingUnsignedTrailer}, unsignedChunks(text, "")},
		"unknown condition":         {501, "NotImplemented", headers{"If-None-Match": "abc"}, text},
		"If-Match":                  {501, "NotImplemented", headers{"If-Match": "*"}, text},
		"a copy":                    {501, "NotImplemented", headers{"x-amz-copy-source": "/penstock/x"}, text},
		"signed chunks not signed":  {400, "InvalidRequest", headers{"x-amz-content-sha256": streamingSigned, "x-amz-decoded-content-length": fmt.Sprint(len(text))}, unsignedChunks(text, "")},
		"forged chunk signature":    {403, "SignatureDoesNotMatch", headers{"x-amz-content-sha256": streamingSigned, "x-amz-decoded-content-length": "3"}, []byte("3;chunk-signature=00\r\nabc\r\n0;chunk-signature=00\r\n\r\n")},
		"longer than the limit":     {400, "EntityTooLarge", headers{"x-amz-content-sha256": streamingUnsignedTrailer, "x-amz-decoded-content-length": "99999999999"}, unsignedChunks(text, "")},
		"one chunk beyond measure":  {400, "InvalidRequest", chunked(headers{}), []byte("7fffffffffffffff\r\nx")},
		"negative length in chunks": {400, "InvalidRequest", chunked(headers{}), []byte("-1\r\nx\r\n0\r\n\r\n")},
	} {
		key := "/penstock/" + url.PathEscape(strings.ReplaceAll(name, " ", "_"))
		a := c.do("PUT", key, r.h, r.body)
		if a.status != r.status || a.code != r.code {
			t.Errorf("%s: %d %q, want %d %q", name, a.status, a.code, r.status, r.code)
		}
		c.want(404, "", "HEAD", key, nil, nil)
	}
	if left, err := filepath.Glob(filepath.Join(c.s.store.root.Name(), tmpDir, "*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for name, r := range map[string]struct {
		h    headers
		body []byte
	}{
		"crc32c":    {headers{crc32c: sum64("crc32c", text)}, text},
		"sha256":    {headers{"x-amz-checksum-sha256": sum64(sha256sum, text), "Content-MD5": sum64(md5sum, text)}, text},
		"crc64nvme": {headers{"x-amz-content-sha256": unsignedPayload}, text}, // computed unasked
		"crc32":     {chunked(headers{"x-amz-trailer": "x-amz-checksum-crc32"}), unsignedChunks(text, "x-amz-checksum-crc32:"+sum64("crc32", text))},
	} {
		key := "/penstock/good/" + name
		r.h["x-amz-meta-who"] = "me"
		c.want(200, "", "PUT", key, r.h, r.body)
		a := c.want(200, "", "GET", key, headers{"x-amz-checksum-mode": "ENABLED"}, nil)
		if a.body != string(text) || a.header.Get("x-amz-checksum-"+name) != sum64(algorithm(name), text) || a.header.Get("x-amz-checksum-type") != fullObject {
			t.Errorf("%s: %d bytes, %v", name, len(a.body), a.header)
		}
		if a.header.Get("x-amz-meta-who") != "me" || a.header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %v", name, a.header)
		}
		if a := c.do("HEAD", key, nil, nil); a.header.Get("x-amz-checksum-"+name) != "" || a.header.Get("Content-Length") != fmt.Sprint(len(text)) {
			t.Errorf("%s: HEAD without the mode: %v", name, a.header)
		}
	}
}

func TestObjects(t *testing.T) {
	c := start(t, nil)
	c.want(200, "", "PUT", "/penstock/a/b%20c+d", headers{"Content-Type": "text/x", "Content-Encoding": "zstd,aws-chunked"}, text)
	a := c.want(206, "", "GET", "/penstock/a/b%20c+d", headers{"Range": "bytes=10-19"}, nil)
	if a.body != string(text[10:20]) || a.header.Get("Content-Type") != "text/x" || a.header.Get("Content-Encoding") != "zstd" {
		t.Errorf("range: %q, %v", a.body, a.header)
	}
	if a := c.want(200, "", "HEAD", "/penstock/a/b%20c+d", nil, nil); a.header.Get("Content-Length") != fmt.Sprint(len(text)) {
		t.Errorf("HEAD of an encoded object: %v", a.header)
	}
	c.want(412, "PreconditionFailed", "PUT", "/penstock/a/b%20c+d", headers{"If-None-Match": "*"}, []byte("other"))
	c.want(200, "", "PUT", "/penstock/a/b%20c+d", nil, []byte("other")) // without a condition it is replaced
	if a := c.do("GET", "/penstock/a/b%20c+d", nil, nil); a.body != "other" {
		t.Errorf("%q", a.body)
	}
	c.want(204, "", "DELETE", "/penstock/a/b%20c+d", nil, nil)
	c.want(204, "", "DELETE", "/penstock/a/b%20c+d", nil, nil)
	c.want(404, "NoSuchKey", "GET", "/penstock/a/b%20c+d", nil, nil)
	if _, err := os.Stat(filepath.Join(c.s.store.root.Name(), "penstock", "a")); !os.IsNotExist(err) {
		t.Errorf("an empty directory is left: %v", err)
	}
	c.want(404, "NoSuchBucket", "GET", "/other/a", nil, nil)
	c.want(404, "NoSuchBucket", "GET", "/.s3d/meta/penstock/a", nil, nil)
	c.want(200, "", "HEAD", "/penstock", nil, nil)
	c.want(501, "NotImplemented", "PUT", "/penstock/a?acl", nil, nil)
	c.want(501, "NotImplemented", "GET", "/penstock?policy", nil, nil)
	c.want(501, "NotImplemented", "DELETE", "/penstock", nil, nil)
	for _, key := range []string{"/penstock/..%2f..%2fx", "/penstock/a//b", "/penstock/a/", "/penstock/%2e%2e/x", "/penstock/a%00"} {
		if a, err := c.send("PUT", key, nil, text); err == nil && a.status/100 != 4 && a.status/100 != 3 {
			t.Errorf("PUT %s: %d", key, a.status)
		}
	}
	c.want(400, "KeyTooLongError", "PUT", "/penstock/"+strings.Repeat("k/", 600)+"k", nil, text)
	// An object cannot be below an object, since it is a file.
	c.want(200, "", "PUT", "/penstock/file", nil, text)
	c.want(400, "InvalidArgument", "PUT", "/penstock/file/below", nil, text)
	c.want(404, "NoSuchKey", "GET", "/penstock/file/below", nil, nil)
	c.want(200, "", "PUT", "/penstock/dir/x", nil, text)
	c.want(400, "InvalidArgument", "PUT", "/penstock/dir", nil, text)
	c.want(404, "NoSuchKey", "GET", "/penstock/dir", nil, nil)
	c.secret = "wrong"
	c.want(403, "SignatureDoesNotMatch", "GET", "/penstock/file", nil, nil)
}

// TestOneWins: of many that put a new key at once, exactly one does.
func TestOneWins(t *testing.T) {
	c := start(t, nil)
	var wg sync.WaitGroup
	answers := make([]answer, 16)
	for i := range answers {
		wg.Go(func() {
			answers[i] = c.do("PUT", "/penstock/k", headers{"If-None-Match": "*"}, fmt.Appendf(nil, "from %d", i))
		})
	}
	wg.Wait()
	winner := ""
	for i, a := range answers {
		if a.status == 200 && winner == "" {
			winner = fmt.Sprintf("from %d", i)
		} else if a.status != 412 {
			t.Errorf("%d: %d %s", i, a.status, a.code)
		}
	}
	if a := c.do("GET", "/penstock/k", nil, nil); winner == "" || a.body != winner {
		t.Errorf("%q won, %q is there", winner, a.body)
	}
}

func TestList(t *testing.T) {
	c := start(t, nil)
	for _, key := range []string{"a-b", "a/1", "a/2", "a/b/1", "a0", "b"} {
		c.want(200, "", "PUT", "/penstock/"+key, nil, []byte(key))
	}
	for query, want := range map[string]string{
		"":                            "a-b a/1 a/2 a/b/1 a0 b",
		"&prefix=a/":                  "a/1 a/2 a/b/1",
		"&prefix=a/b":                 "a/b/1",
		"&prefix=none/x":              "",
		"&prefix=../":                 "",
		"&start-after=a/2":            "a/b/1 a0 b",
		"&delimiter=/":                "a-b a0 b [a/]",
		"&prefix=a/&delimiter=/":      "a/1 a/2 [a/b/]",
		"&max-keys=0":                 "",
		"&encoding-type=url&prefix=a": "a-b a%2F1 a%2F2 a%2Fb%2F1 a0",
	} {
		for _, size := range []string{"", "&max-keys=2", "&max-keys=1"} {
			if strings.Contains(query, "max-keys") {
				size = ""
			}
			if got := c.list(query + size); got != want {
				t.Errorf("list %s%s = %q, want %q", query, size, got, want)
			}
		}
	}
	c.want(400, "InvalidArgument", "GET", "/penstock?list-type=2&max-keys=x", nil, nil)
	c.want(400, "InvalidArgument", "GET", "/penstock?list-type=2&continuation-token=!", nil, nil)
}

// list follows the pages of a listing.
func (c *client) list(query string) string {
	c.t.Helper()
	var keys, groups []string
	for token := ""; ; {
		a := c.want(200, "", "GET", "/penstock?list-type=2"+query+token, nil, nil)
		var l listResult
		if err := xml.Unmarshal([]byte(a.body), &l); err != nil {
			c.t.Fatal(err)
		}
		for _, o := range l.Contents {
			keys = append(keys, o.Key)
		}
		for _, p := range l.CommonPrefixes {
			groups = append(groups, "["+p.Prefix+"]")
		}
		if !l.IsTruncated {
			return strings.Join(append(keys, groups...), " ")
		}
		token = "&continuation-token=" + url.QueryEscape(l.NextToken)
	}
}

// TestRestart: what was stored is there after the server was closed in mid-life, also when a person has changed it.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	c := startIn(t, dir, nil)
	addr := strings.TrimPrefix(c.s.Endpoint(), "http://")
	c.want(200, "", "PUT", "/penstock/kept", headers{"x-amz-checksum-crc32": sum64("crc32", text)}, text)
	c.want(200, "", "PUT", "/penstock/changed", nil, text)
	if err := c.s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "penstock", "changed"), text[1:], 0o600); err != nil {
		t.Fatal(err)
	}
	c = startIn(t, dir, &Options{Addr: addr})
	mode := headers{"x-amz-checksum-mode": "ENABLED"}
	if a := c.do("HEAD", "/penstock/kept", mode, nil); a.header.Get("x-amz-checksum-crc32") != sum64("crc32", text) {
		t.Errorf("kept: %v", a.header)
	}
	if a := c.do("HEAD", "/penstock/changed", mode, nil); a.header.Get("x-amz-checksum-crc64nvme") != sum64(crc64nvme, text[1:]) {
		t.Errorf("changed: %v", a.header)
	}
}

// TestIdle: a client that stands still in mid-body does not hold a connection indefinitely, whether the request is good or not.
func TestIdle(t *testing.T) {
	c := start(t, &Options{IdleTimeout: 50 * time.Millisecond})
	addr := strings.TrimPrefix(c.s.Endpoint(), "http://")
	for _, signed := range []bool{true, false} {
		auth := ""
		if signed {
			r := c.sign("PUT", "/penstock/k", headers{"x-amz-content-sha256": unsignedPayload}, nil)
			for k := range r.Header {
				auth += k + ": " + r.Header.Get(k) + "\r\n"
			}
		}
		head := fmt.Sprintf("PUT /penstock/k HTTP/1.1\r\nHost: %s\r\nContent-Length: 100\r\n%s\r\nabc", addr, auth)
		want := map[bool]string{true: "RequestTimeout", false: "AccessDenied"}[signed]
		for begin := time.Now(); ; {
			got, err := exchange(t, addr, head)
			if err == nil && strings.Contains(got, want) {
				break
			}
			// A machine that is too slow to send the head within IdleTimeout is cut off earlier, so it tries again.
			if time.Since(begin) > time.Minute {
				t.Fatalf("signed %v: %v, want %s:\n%s", signed, err, want, got)
			}
		}
	}
}

// exchange sends text on a connection of its own and returns what comes until the server closes that.
func exchange(t *testing.T, addr, text string) (string, error) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, werr := io.WriteString(conn, text)
	got, err := io.ReadAll(conn)
	return string(got), errors.Join(werr, err)
}

func TestOptions(t *testing.T) {
	_, err := Start(t.TempDir(), &Options{Buckets: []string{"A"}, AccessKey: "k", Addr: "0.0.0.0:0", MinPartBytes: -1})
	for _, want := range []string{`bucket name "A"`, "go together", "loopback", "negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Start: %v, want %q", err, want)
		}
	}
}
