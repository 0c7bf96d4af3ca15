package s3d

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// example is the account and the moment of the examples in the Amazon S3 API reference, "Authenticating Requests".
func example(t *testing.T) *Server {
	t.Helper()
	s, err := New(t.TempDir(), &Options{AccessKey: "AKIAIOSFODNN7EXAMPLE", SecretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.now = func() time.Time { return time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC) }
	return s
}

const (
	emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	scope       = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
)

func exampleRequest(method, target, host, signed, signature string, header map[string]string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Host = host
	r.Header.Set("x-amz-date", "20130524T000000Z")
	r.Header.Set("x-amz-content-sha256", emptySHA256)
	for k, v := range header {
		r.Header.Set(k, v)
	}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+scope+",SignedHeaders="+signed+",Signature="+signature)
	return r
}

// TestSignatureExamples: the published signatures are accepted, and each changed part of the request is not.
func TestSignatureExamples(t *testing.T) {
	s := example(t)
	const host = "examplebucket.s3.amazonaws.com"
	for name, r := range map[string]func() *http.Request{
		"get": func() *http.Request {
			return exampleRequest("GET", "/test.txt", host, "host;range;x-amz-content-sha256;x-amz-date",
				"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", map[string]string{"Range": "bytes=0-9"})
		},
		"put": func() *http.Request {
			return exampleRequest("PUT", "/test%24file.text", host, "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
				"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd", map[string]string{
					"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY",
					"x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
				})
		},
		"lifecycle": func() *http.Request {
			return exampleRequest("GET", "/?lifecycle", host, "host;x-amz-content-sha256;x-amz-date",
				"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543", nil)
		},
		"list": func() *http.Request {
			return exampleRequest("GET", "/?max-keys=2&prefix=J", host, "host;x-amz-content-sha256;x-amz-date",
				"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7", nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.authenticate(r()); err != nil {
				t.Fatal(err)
			}
			for what, change := range map[string]func(*http.Request){
				"SignatureDoesNotMatch: method": func(r *http.Request) { r.Method = "DELETE" },
				"SignatureDoesNotMatch: path":   func(r *http.Request) { r.URL.Path += "x" },
				"SignatureDoesNotMatch: query":  func(r *http.Request) { r.URL.RawQuery += "&x=1" },
				"SignatureDoesNotMatch: host":   func(r *http.Request) { r.Host = "other" },
				"SignatureDoesNotMatch: body":   func(r *http.Request) { r.Header.Set("x-amz-content-sha256", unsignedPayload) },
				"InvalidAccessKeyId": func(r *http.Request) {
					r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "AKIA", "AKIB", 1))
				},
				"AccessDenied: unsigned header": func(r *http.Request) { r.Header.Set("x-amz-acl", "public-read") },
				"AccessDenied: anonymous":       func(r *http.Request) { r.Header.Del("Authorization") },
				"AccessDenied: no date":         func(r *http.Request) { r.Header.Del("x-amz-date") },
				"AuthorizationHeaderMalformed: region": func(r *http.Request) {
					r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "us-east-1", "eu-west-1", 1))
				},
			} {
				r := r()
				change(r)
				_, err := s.authenticate(r)
				code, _, _ := strings.Cut(what, ":")
				if e, ok := errors.AsType[*apiError](err); !ok || e.Code != code {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
	s.now = func() time.Time { return time.Date(2013, 5, 24, 0, 15, 1, 0, time.UTC) }
	_, err := s.authenticate(exampleRequest("GET", "/?lifecycle", host, "host;x-amz-content-sha256;x-amz-date",
		"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543", nil))
	if e, ok := errors.AsType[*apiError](err); !ok || e.Code != "RequestTimeTooSkewed" {
		t.Errorf("a quarter of an hour late: %v", err)
	}
}

// The chunked upload of the same reference: 65 KiB of "a" in chunks of 64 KiB, without and with a trailer.
var chunkExamples = map[string]struct {
	kind, seed string
	signed     string
	header     map[string]string
	chunks     []string // signatures of 65536, 1024 and 0 bytes
	trailer    string
}{
	"signed": {
		kind: streamingSigned, seed: "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
		signed: "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
		chunks: []string{
			"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
			"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
			"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
		},
	},
	"signed with trailer": {
		kind: streamingSignedTrailer, seed: "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
		signed: "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
		header: map[string]string{"x-amz-trailer": "x-amz-checksum-crc32c"},
		chunks: []string{
			"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
			"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
			"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
		},
		trailer: "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n",
	},
}

func TestChunkExamples(t *testing.T) {
	s := example(t)
	for name, c := range chunkExamples {
		t.Run(name, func(t *testing.T) {
			header := map[string]string{
				"Content-Encoding": "aws-chunked", "x-amz-content-sha256": c.kind, "x-amz-decoded-content-length": "66560",
				"x-amz-storage-class": "REDUCED_REDUNDANCY",
			}
			for k, v := range c.header {
				header[k] = v
			}
			r := exampleRequest("PUT", "/examplebucket/chunkObject.txt", "s3.amazonaws.com", c.signed, c.seed, header)
			r.ContentLength = 66824
			sig, err := s.authenticate(r)
			if err != nil {
				t.Fatal(err)
			}
			body := "10000;chunk-signature=" + c.chunks[0] + "\r\n" + strings.Repeat("a", 65536) + "\r\n" +
				"400;chunk-signature=" + c.chunks[1] + "\r\n" + strings.Repeat("a", 1024) + "\r\n" +
				"0;chunk-signature=" + c.chunks[2] + "\r\n" + c.trailer + "\r\n"
			got, err := io.ReadAll(newChunks(strings.NewReader(body), c.kind, sig))
			if err != nil || len(got) != 66560 {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			for what, changed := range map[string]string{
				"data of the first chunk":  strings.Replace(body, "aaa", "aab", 1),
				"data of the second chunk": strings.Replace(body, "aa\r\n0;", "ab\r\n0;", 1),
				"order":                    strings.Replace(body, c.chunks[0], c.chunks[1], 1),
				"last signature":           strings.Replace(body, c.chunks[2], c.chunks[0], 1),
				"no signature":             strings.Replace(body, ";chunk-signature="+c.chunks[1], "", 1),
				"trailer":                  strings.Replace(body, "sOO8", "sOO9", 1),
				"unsigned trailer":         strings.Replace(body, "x-amz-trailer-signature", "x-amz-other", 1),
				"cut":                      body[:len(body)-len(c.trailer)-50],
			} {
				if changed == body {
					continue
				}
				if n, err := io.Copy(io.Discard, newChunks(strings.NewReader(changed), c.kind, sig)); err == nil {
					t.Errorf("changed %s: %d bytes and no error", what, n)
				}
			}
		})
	}
}

// TestSums holds the algorithms to their published check values.
func TestSums(t *testing.T) {
	h := newHasher(append(checksumHeaders, md5sum)...)
	_, _ = io.WriteString(h, "123456789")
	for a, want := range map[algorithm]string{
		"crc32": "y/Q5Jg==", "crc32c": "4waSgw==", crc64nvme: "rosUhgp5mIg=", md5sum: "JfnnlDI7RTiF9RgfG2JNCw==",
	} {
		if got := base64.StdEncoding.EncodeToString(h.sums()[a]); got != want {
			t.Errorf("%s = %s, want %s", a, got, want)
		}
	}
}

// FuzzChunks: a body of a stranger is an error or a payload that fits into it, and ends in any case.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"), uint8(0))
	f.Add([]byte("3;chunk-signature=00\r\nabc\r\n0;chunk-signature=00\r\n\r\n"), uint8(1))
	f.Add([]byte("ffffffffffffffff\r\n"), uint8(2))
	kinds := []string{streamingUnsignedTrailer, streamingSigned, streamingSignedTrailer}
	f.Fuzz(func(t *testing.T, body []byte, kind uint8) {
		c := newChunks(strings.NewReader(string(body)), kinds[int(kind)%len(kinds)], &signature{key: []byte("k")})
		n, err := io.Copy(io.Discard, c)
		if n > int64(len(body)) {
			t.Errorf("%d bytes out of %d", n, len(body))
		}
		if err == nil && kinds[int(kind)%len(kinds)] != streamingUnsignedTrailer {
			t.Error("an unsigned body passes for a signed one")
		}
	})
}
