package s3d

import (
	"cmp"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Of "Amazon S3 multipart upload limits".
const (
	maxParts      = 10000
	maxPartNumber = 10000
	// maxComplete bounds the part list: 10,000 parts with all their checksums stay below.
	maxComplete = 8 << 20
)

// upload is a multipart upload that is neither completed nor aborted.
type upload struct {
	Bucket    string      `json:"bucket"`
	Key       string      `json:"key"`
	ID        string      `json:"id"`
	Initiated time.Time   `json:"initiated"`
	Algorithm algorithm   `json:"algorithm"` // of the object's checksum, empty when the client chose none
	Type      string      `json:"type"`
	Header    http.Header `json:"header"`
}

// part describes an uploaded part; its bytes are in the file beside it.
type part struct {
	Size int64  `json:"size"`
	ETag string `json:"etag"`
	// Sum is the part's checksum in the upload's algorithm, base64.
	Sum string `json:"sum"`
}

// uploadID matches the result of newID: an id from a client is checked before it becomes part of a path.
var uploadID = regexp.MustCompile(`^[a-z0-9]{26}$`)

func (u *upload) dir() string             { return path.Join(uploadsDir, u.ID) }
func (u *upload) partFile(n int) string   { return path.Join(u.dir(), fmt.Sprintf("%05d", n)) }
func (u *upload) partRecord(n int) string { return u.partFile(n) + ".json" }

// initiateResult tells the client its upload's id.
type initiateResult struct {
	XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ InitiateMultipartUploadResult"`
	Bucket   string   `xml:"Bucket"`
	Key      string   `xml:"Key"`
	UploadID string   `xml:"UploadId"`
}

// createUpload begins a multipart upload: CreateMultipartUpload. Which checksums can be of the full object and which only
// composite is from "Checking object integrity": CRC-64/NVME only full, SHA only composite, the other CRCs either.
func (s *Server) createUpload(w http.ResponseWriter, r *http.Request, c *call) error {
	u := &upload{
		Bucket: c.bucket, Key: c.key, ID: newID(), Initiated: time.Now().UTC(), Header: http.Header{},
		Algorithm: algorithm(strings.ToLower(r.Header.Get("x-amz-checksum-algorithm"))),
		Type:      r.Header.Get("x-amz-checksum-type"),
	}
	if u.Algorithm != "" && !u.Algorithm.known() {
		return fail(http.StatusBadRequest, "InvalidRequest", "Checksum algorithm provided is unsupported.")
	}
	sha := strings.HasPrefix(string(u.Algorithm), "sha")
	switch {
	case u.Algorithm == "" && u.Type != "":
		return fail(http.StatusBadRequest, "InvalidRequest", "The x-amz-checksum-type header can only be used with x-amz-checksum-algorithm.")
	case u.Algorithm == crc64nvme && u.Type == composite, sha && u.Type == fullObject:
		return fail(http.StatusBadRequest, "InvalidRequest", "The %s checksum type cannot be used with the %s algorithm.", u.Type, u.Algorithm)
	case u.Type == "" && (u.Algorithm == "" || u.Algorithm == crc64nvme):
		u.Type = fullObject
	case u.Type == "":
		u.Type = composite
	case u.Type != fullObject && u.Type != composite:
		return fail(http.StatusBadRequest, "InvalidRequest", "Value for x-amz-checksum-type header is invalid.")
	}
	// The headers of the object come with this request, long before the object exists.
	for name := range newMeta(r.Header, sums{}, "").Header {
		u.Header.Set(name, r.Header.Get(name))
	}
	if _, err := s.small(w, r, c.sig, 0); err != nil {
		return err
	}
	if err := s.store.writeJSON(path.Join(u.dir(), "upload.json"), u); err != nil {
		return err
	}
	if u.Algorithm != "" {
		w.Header().Set("x-amz-checksum-algorithm", strings.ToUpper(string(u.Algorithm)))
		w.Header().Set("x-amz-checksum-type", u.Type)
	}
	writeXML(w, http.StatusOK, initiateResult{Bucket: c.bucket, Key: c.key, UploadID: u.ID})
	return nil
}

// findUpload returns the upload with that id, if it is for that bucket and key.
func (s *Server) findUpload(c *call, id string) (*upload, error) {
	if !uploadID.MatchString(id) {
		return nil, errNoSuchUpload
	}
	u := &upload{}
	switch err := s.store.readJSON(path.Join(uploadsDir, id, "upload.json"), u); {
	case absent(err):
		return nil, errNoSuchUpload
	case err != nil:
		return nil, err
	case u.Bucket != c.bucket || u.Key != c.key:
		return nil, errNoSuchUpload
	}
	return u, nil
}

// uploadPart takes a part, verified as an object is; a number that is uploaded again replaces the part.
func (s *Server) uploadPart(w http.ResponseWriter, r *http.Request, c *call, id, number string) error {
	u, err := s.findUpload(c, id)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > maxPartNumber {
		return fail(http.StatusBadRequest, "InvalidArgument", "Part number must be an integer between 1 and %d, inclusive.", maxPartNumber)
	}
	a := cmp.Or(u.Algorithm, crc64nvme)
	tmp, p, err := s.take(w, r, c, a)
	if err != nil {
		return err
	}
	if p.declared != "" && u.Algorithm != "" && p.declared != u.Algorithm {
		return errors.Join(fail(http.StatusBadRequest, "InvalidRequest", "Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s.",
			u.Algorithm, p.declared), s.store.root.Remove(tmp))
	}
	rec := &part{Size: p.size, ETag: etag(p.sums), Sum: base64.StdEncoding.EncodeToString(p.sums[a])}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	// The upload may have been aborted meanwhile: then the rename fails, its directory being gone.
	if err := s.store.root.Rename(tmp, u.partFile(n)); err != nil {
		_ = s.store.root.Remove(tmp)
		if absent(err) {
			return errNoSuchUpload
		}
		return err
	}
	if err := s.store.writeJSON(u.partRecord(n), rec); err != nil {
		return err
	}
	w.Header().Set("ETag", rec.ETag)
	if p.declared != "" {
		w.Header().Set(p.declared.header(), base64.StdEncoding.EncodeToString(p.sums[p.declared]))
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// abortUpload removes an upload and its parts. A part that is still on its way finds no directory then.
func (s *Server) abortUpload(w http.ResponseWriter, _ *http.Request, c *call, id string) error {
	u, err := s.findUpload(c, id)
	if err != nil {
		return err
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if err := s.store.root.RemoveAll(u.dir()); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// assemble writes the parts one after the other into a temporary file, and returns the checksums of the whole.
func (s *Server) assemble(u *upload, parts []int) (tmp string, whole sums, err error) {
	f, tmp, err := s.store.temp()
	if err != nil {
		return "", nil, err
	}
	h := newHasher(crc64nvme, cmp.Or(u.Algorithm, crc64nvme))
	buf := make([]byte, 128<<10)
	for _, n := range parts {
		if err = s.appendPart(io.MultiWriter(f, h), u.partFile(n), buf); err != nil {
			break
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = s.store.root.Remove(tmp)
		if absent(err) { // aborted meanwhile
			err = errNoSuchUpload
		}
		return "", nil, err
	}
	return tmp, h.sums(), nil
}

// appendPart copies one part's file to w.
func (s *Server) appendPart(w io.Writer, name string, buf []byte) error {
	in, err := s.store.root.Open(name)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(w, struct{ io.Reader }{in}, buf)
	return errors.Join(err, in.Close())
}
