package s3d

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// unsignedPayload says that the signature does not cover the body: TLS, or a checksum, does.
const unsignedPayload = "UNSIGNED-PAYLOAD"

// payload is a received body that matches its declared length, checksums and signature.
type payload struct {
	size int64
	sums sums // CRC-64/NVME, and whatever the client declared
	// declared is the checksum the client chose, empty if it gave none.
	declared algorithm
}

// receive copies the body of r to dst and verifies its length, its checksums and its signature. The written data may be trusted
// only if it returns nil. want lists additional algorithms to compute.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, sig *signature, f Fault, dst io.Writer, want ...algorithm) (*payload, error) {
	kind := r.Header.Get("x-amz-content-sha256")
	// Everything that is said ahead of the body is looked at ahead of it.
	size, streaming, err := s.announced(r, kind)
	if err != nil {
		return nil, err
	}
	claims, err := claimed(r, kind)
	if err != nil {
		return nil, err
	}
	algorithms := append([]algorithm{crc64nvme}, want...)
	for a := range claims {
		algorithms = append(algorithms, a)
	}
	trailer := algorithm(strings.TrimPrefix(strings.ToLower(r.Header.Get("x-amz-trailer")), "x-amz-checksum-"))
	if trailer != "" {
		if !trailer.known() || !streaming {
			return nil, fail(http.StatusBadRequest, "InvalidRequest", "The value specified in the x-amz-trailer header is not supported.")
		}
		algorithms = append(algorithms, trailer)
	}

	var body io.Reader = &progress{r: r.Body, rc: http.NewResponseController(w), idle: s.o.IdleTimeout}
	var decoded *chunks
	if streaming {
		decoded = newChunks(body, kind, sig)
		body = decoded
	}
	if f.Flip {
		body = &flip{Reader: body}
	}
	h := newHasher(algorithms...)
	// One byte more than announced is asked for, so that a longer body is noticed and not cut to size.
	n, err := io.CopyBuffer(struct{ io.Writer }{dst}, io.TeeReader(io.LimitReader(body, size+1), h), make([]byte, 128<<10))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fail(http.StatusBadRequest, "RequestTimeout", "The connection was idle for too long.")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errIncomplete
	case err != nil:
		return nil, err
	case n < size:
		return nil, errIncomplete
	case n > size:
		return nil, fail(http.StatusBadRequest, "InvalidRequest", "The body is longer than announced.")
	}

	p := &payload{size: n, sums: h.sums()}
	// Trailers follow the body: only now can their checksums be compared with it.
	if decoded != nil {
		late, err := declared(decoded.trailer)
		if err != nil {
			return nil, err
		}
		if trailer != "" && late[trailer] == nil {
			return nil, fail(http.StatusBadRequest, "MalformedTrailerError", "The trailer that x-amz-trailer announces did not come.")
		}
		for a, v := range late {
			claims[a] = v
		}
	}
	for a := range claims {
		if a.known() && r.Header.Get(a.header())+decoded.value(a) != "" {
			p.declared = a
		}
	}
	return p, p.check(claims, kind)
}

// value of a trailer; "" for a body without.
func (c *chunks) value(a algorithm) string {
	if c == nil {
		return ""
	}
	return c.trailer.Get(a.header())
}

// announced is the length of the payload, and whether it comes in chunks.
func (s *Server) announced(r *http.Request, kind string) (size int64, streaming bool, err error) {
	size = r.ContentLength
	switch {
	case kind == streamingUnsignedTrailer, kind == streamingSigned, kind == streamingSignedTrailer:
		streaming = true
		size, err = strconv.ParseInt(r.Header.Get("x-amz-decoded-content-length"), 10, 64)
		if err != nil || size < 0 {
			return 0, true, fail(http.StatusLengthRequired, "MissingContentLength", "You must provide the x-amz-decoded-content-length header.")
		}
	case kind == "":
		return 0, false, fail(http.StatusBadRequest, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256.")
	case kind != unsignedPayload && len(kind) != 64:
		return 0, false, fail(http.StatusBadRequest, "InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING- value, or 64 hex digits.")
	case size < 0:
		return 0, false, fail(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	if size > s.o.MaxBodyBytes {
		return 0, streaming, fail(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size of %d bytes.", s.o.MaxBodyBytes)
	}
	return size, streaming, nil
}

// claimed returns the checksums that the request's headers declare for the body.
func claimed(r *http.Request, kind string) (sums, error) {
	claims, err := declared(r.Header)
	if err != nil {
		return nil, err
	}
	if v := r.Header.Get("Content-MD5"); v != "" {
		b, err := base64.StdEncoding.DecodeString(v)
		if err != nil || len(b) != 16 {
			return nil, fail(http.StatusBadRequest, "InvalidDigest", "The Content-MD5 you specified was invalid.")
		}
		claims[md5sum] = b
	}
	if len(kind) == 64 && claims[sha256sum] == nil {
		b, err := hex.DecodeString(kind)
		if err != nil {
			return nil, fail(http.StatusBadRequest, "InvalidArgument", "x-amz-content-sha256 is not hexadecimal.")
		}
		claims[sha256sum] = b
	}
	return claims, nil
}

// check compares the declared checksums with those of the body. A mismatch of a signed SHA-256 has its own error.
func (p *payload) check(claims sums, kind string) error {
	if len(kind) == 64 && kind != hex.EncodeToString(p.sums[sha256sum]) {
		return fail(http.StatusBadRequest, "XAmzContentSHA256Mismatch", "The provided x-amz-content-sha256 header does not match what was computed.")
	}
	return p.sums.verify(claims)
}

// small reads a body that must fit in memory, such as an XML document.
func (s *Server) small(w http.ResponseWriter, r *http.Request, sig *signature, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, fail(http.StatusBadRequest, "MaxMessageLengthExceeded", "Your request was too big.")
	}
	var b limited
	b.left = limit
	// The checksum headers of CompleteMultipartUpload speak of the object, not of this body.
	plain := *r
	plain.Header = r.Header.Clone()
	for _, a := range checksumHeaders {
		plain.Header.Del(a.header())
	}
	if _, err := s.receive(w, &plain, sig, Fault{}, &b); err != nil {
		return nil, err
	}
	return b.b, nil
}

// limited is a buffer with an end.
type limited struct {
	b    []byte
	left int64
}

// Write refuses data beyond the limit, so that a client cannot make it grow without bound.
func (l *limited) Write(b []byte) (int, error) {
	if int64(len(b)) > l.left {
		return 0, fail(http.StatusBadRequest, "MaxMessageLengthExceeded", "Your request was too big.")
	}
	l.b, l.left = append(l.b, b...), l.left-int64(len(b))
	return len(b), nil
}

// progress moves the connection's read deadline on with each read: a body may take as long as it likes, but not stand still.
type progress struct {
	r    io.Reader
	rc   *http.ResponseController
	idle time.Duration
}

func (p *progress) Read(b []byte) (int, error) {
	// A recorder in a test has no deadlines; then there is nothing to stand still.
	if err := p.rc.SetReadDeadline(time.Now().Add(p.idle)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, fmt.Errorf("s3d: %w", err)
	}
	return p.r.Read(b)
}
