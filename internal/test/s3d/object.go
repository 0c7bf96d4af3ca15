package s3d

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// kept are the headers of a Put that are returned on reading, in addition to x-amz-meta-*.
var kept = []string{
	"Content-Type", "Content-Encoding", "Content-Disposition", "Cache-Control",
	"X-Amz-Storage-Class", "X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id",
	"X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Retain-Until-Date", "X-Amz-Tagging",
}

// newMeta describes an object whose request had header h. Its checksum is the one that the client chose, otherwise the
// CRC-64/NVME that S3 computes by itself.
func newMeta(h http.Header, s sums, declared algorithm) *meta {
	if declared == "" {
		declared = crc64nvme
	}
	m := &meta{
		Type:   fullObject,
		Sums:   map[algorithm]string{declared: base64.StdEncoding.EncodeToString(s[declared])},
		ETag:   etag(s),
		Header: map[string]string{},
	}
	for name := range h {
		if strings.HasPrefix(name, "X-Amz-Meta-") {
			m.Header[name] = h.Get(name)
		}
	}
	for _, name := range kept {
		if v := h.Get(name); v != "" {
			m.Header[name] = v
		}
	}
	// aws-chunked describes the transfer, not the object.
	if enc, ok := m.Header["Content-Encoding"]; ok {
		enc = strings.Trim(strings.ReplaceAll(","+enc+",", ",aws-chunked,", ","), ", ")
		if m.Header["Content-Encoding"] = enc; enc == "" {
			delete(m.Header, "Content-Encoding")
		}
	}
	return m
}

// etag is opaque, like S3's under SSE-KMS: it must not be taken for an MD5.
func etag(s sums) string { return `"` + hex.EncodeToString(s[crc64nvme]) + `"` }

// newID is a random name for uploads, requests and temporary files.
func newID() string { return strings.ToLower(rand.Text()) }

// putObject is PutObject: received, verified, published, in this order.
func (s *Server) putObject(w http.ResponseWriter, r *http.Request, c *call) error {
	onlyIfAbsent, err := condition(r)
	if err != nil {
		return err
	}
	if onlyIfAbsent { // spare the client the body
		if f, _, err := s.store.get(c.bucket, c.key); err == nil {
			_ = f.Close()
			return errPrecondition
		}
	}
	tmp, p, err := s.take(w, r, c)
	if err != nil {
		return err
	}
	m := newMeta(r.Header, p.sums, p.declared)
	// The condition is decided here, under the lock; the look ahead only saves time.
	if err := s.store.publish(c.bucket, c.key, tmp, m, onlyIfAbsent); err != nil {
		return errors.Join(err, s.store.root.Remove(tmp))
	}
	w.Header().Set("ETag", m.ETag)
	m.setSums(w.Header())
	w.WriteHeader(http.StatusOK)
	return nil
}

// take receives a body into a temporary file, verified. The caller removes or publishes it.
func (s *Server) take(w http.ResponseWriter, r *http.Request, c *call, want ...algorithm) (name string, p *payload, err error) {
	f, name, err := s.store.temp()
	if err != nil {
		return "", nil, err
	}
	p, err = s.receive(w, r, c.sig, c.fault, f, want...)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", nil, errors.Join(err, s.store.root.Remove(name))
	}
	return name, p, nil
}

// condition reads If-None-Match, of which S3 knows only the star.
func condition(r *http.Request) (onlyIfAbsent bool, err error) {
	switch r.Header.Get("If-None-Match") {
	case "":
	case "*":
		onlyIfAbsent = true
	default:
		return false, errUnsupported
	}
	if r.Header.Get("If-Match") != "" {
		return false, errUnsupported
	}
	return onlyIfAbsent, nil
}

// getObject answers GET and HEAD; http.ServeContent knows ranges and conditions.
func (s *Server) getObject(w http.ResponseWriter, r *http.Request, c *call) error {
	f, m, err := s.store.get(c.bucket, c.key)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	h := w.Header()
	h.Set("Content-Type", "binary/octet-stream")
	for name, v := range m.Header {
		h.Set(name, v)
	}
	if tags := h.Get("X-Amz-Tagging"); tags != "" {
		h.Del("X-Amz-Tagging")
		h.Set("X-Amz-Tagging-Count", fmt.Sprint(strings.Count(tags, "&")+1))
	}
	h.Set("ETag", m.ETag)
	// The checksum is of the whole: S3 leaves it away with a range.
	if strings.EqualFold(r.Header.Get("x-amz-checksum-mode"), "ENABLED") && r.Header.Get("Range") == "" {
		m.setSums(h)
	}
	if r.Header.Get("Range") == "" { // ServeContent leaves it away when there is a Content-Encoding
		h.Set("Content-Length", strconv.FormatInt(m.Size, 10))
	}
	http.ServeContent(&moving{ResponseWriter: w, idle: s.o.IdleTimeout}, r, "", m.ModTime, struct{ *os.File }{f})
	return nil
}

// setSums tells the checksums in a response header.
func (m *meta) setSums(h http.Header) {
	for a, v := range m.Sums {
		h.Set(a.header(), v)
	}
	h.Set("x-amz-checksum-type", m.Type)
}

// deleteObject is DeleteObject, which knows no absence.
func (s *Server) deleteObject(w http.ResponseWriter, _ *http.Request, c *call) error {
	if err := s.store.remove(c.bucket, c.key); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// moving moves the connection's write deadline on with each write: a reader may be slow, but not stand still.
type moving struct {
	http.ResponseWriter
	idle time.Duration
}

func (m *moving) Write(b []byte) (int, error) {
	err := http.NewResponseController(m.ResponseWriter).SetWriteDeadline(time.Now().Add(m.idle))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return m.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (m *moving) Unwrap() http.ResponseWriter { return m.ResponseWriter }
