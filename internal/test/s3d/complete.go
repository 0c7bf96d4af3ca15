package s3d

import (
	"cmp"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

// completeRequest is the client's list of parts, and completePart one of them.
type completeRequest struct {
	Parts []completePart `xml:"Part"`
}

type completePart struct {
	PartNumber        int    `xml:"PartNumber"`
	ETag              string `xml:"ETag"`
	ChecksumCRC32     string `xml:"ChecksumCRC32"`
	ChecksumCRC32C    string `xml:"ChecksumCRC32C"`
	ChecksumCRC64NVME string `xml:"ChecksumCRC64NVME"`
	ChecksumSHA1      string `xml:"ChecksumSHA1"`
	ChecksumSHA256    string `xml:"ChecksumSHA256"`
}

// sum is the part's checksum of that algorithm, as the client repeats it; "" if it does not.
func (p *completePart) sum(a algorithm) string {
	return map[algorithm]string{
		"crc32": p.ChecksumCRC32, "crc32c": p.ChecksumCRC32C, crc64nvme: p.ChecksumCRC64NVME,
		"sha1": p.ChecksumSHA1, sha256sum: p.ChecksumSHA256,
	}[a]
}

// completeResult tells the client what it has made.
type completeResult struct {
	XMLName           xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUploadResult"`
	Location          string   `xml:"Location"`
	Bucket            string   `xml:"Bucket"`
	Key               string   `xml:"Key"`
	ETag              string   `xml:"ETag"`
	ChecksumCRC32     string   `xml:"ChecksumCRC32,omitempty"`
	ChecksumCRC32C    string   `xml:"ChecksumCRC32C,omitempty"`
	ChecksumCRC64NVME string   `xml:"ChecksumCRC64NVME,omitempty"`
	ChecksumSHA1      string   `xml:"ChecksumSHA1,omitempty"`
	ChecksumSHA256    string   `xml:"ChecksumSHA256,omitempty"`
	ChecksumType      string   `xml:"ChecksumType,omitempty"`
}

// completeUpload makes an object of the parts, if everything that was said about them and about the whole holds. When it
// refuses, the upload stays as it was: the client aborts it, or tries again.
func (s *Server) completeUpload(w http.ResponseWriter, r *http.Request, c *call, id string) error {
	u, err := s.findUpload(c, id)
	if err != nil {
		return err
	}
	onlyIfAbsent, err := condition(r)
	if err != nil {
		return err
	}
	claims, err := declared(r.Header)
	if err != nil {
		return err
	}
	if t := r.Header.Get("x-amz-checksum-type"); t != "" && t != u.Type {
		return fail(http.StatusBadRequest, "InvalidRequest", "The upload was created using the %s checksum mode; the complete request must use the same.", u.Type)
	}
	body, err := s.small(w, r, c.sig, maxComplete)
	if err != nil {
		return err
	}
	numbers, size, partSums, err := s.checkParts(u, body)
	if err != nil {
		return err
	}
	if v := r.Header.Get("x-amz-mp-object-size"); v != "" && v != strconv.FormatInt(size, 10) {
		return fail(http.StatusBadRequest, "InvalidRequest", "The provided x-amz-mp-object-size header does not match what was computed.")
	}
	// Assemble first and verify then, so that the checksum is that of the bytes that will be published.
	tmp, whole, err := s.assemble(u, numbers)
	if err != nil {
		return err
	}
	m, err := u.meta(claims, whole, partSums)
	if err == nil {
		err = s.store.publish(c.bucket, c.key, tmp, m, onlyIfAbsent)
	}
	if err != nil {
		return errors.Join(err, s.store.root.Remove(tmp))
	}
	// The object is there. If this fails, the upload stays listed, and a second Complete would meet the condition.
	s.store.mu.Lock()
	err = s.store.root.RemoveAll(u.dir())
	s.store.mu.Unlock()
	if err != nil {
		return err
	}
	writeXML(w, http.StatusOK, completeResult{
		Location: r.URL.Path, Bucket: c.bucket, Key: c.key, ETag: m.ETag,
		ChecksumCRC32: m.Sums["crc32"], ChecksumCRC32C: m.Sums["crc32c"], ChecksumCRC64NVME: m.Sums[crc64nvme],
		ChecksumSHA1: m.Sums["sha1"], ChecksumSHA256: m.Sums[sha256sum], ChecksumType: m.Type,
	})
	return nil
}

// checkParts reads the client's list and compares it with what was uploaded.
func (s *Server) checkParts(u *upload, body []byte) (numbers []int, size int64, partSums [][]byte, err error) {
	var req completeRequest
	if xml.Unmarshal(body, &req) != nil || len(req.Parts) == 0 || len(req.Parts) > maxParts {
		return nil, 0, nil, fail(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate.")
	}
	for i, p := range req.Parts[1:] {
		if p.PartNumber <= req.Parts[i].PartNumber {
			return nil, 0, nil, fail(http.StatusBadRequest, "InvalidPartOrder", "The list of parts was not in ascending order.")
		}
	}
	a := cmp.Or(u.Algorithm, crc64nvme)
	for i, p := range req.Parts {
		var rec part
		err := s.store.readJSON(u.partRecord(p.PartNumber), &rec)
		if err != nil && !absent(err) {
			return nil, 0, nil, err
		}
		given := p.sum(a)
		if err != nil || strings.Trim(p.ETag, `"`) != strings.Trim(rec.ETag, `"`) || given != "" && given != rec.Sum {
			return nil, 0, nil, fail(http.StatusBadRequest, "InvalidPart", "Part %d was not found, or its entity tag or checksum did not match.", p.PartNumber)
		}
		if given == "" && u.Type == composite {
			return nil, 0, nil, fail(http.StatusBadRequest, "InvalidRequest", "The upload was created using a %s checksum. The complete request must include the checksum for each part.", u.Algorithm)
		}
		if rec.Size < s.o.MinPartBytes && i < len(req.Parts)-1 {
			return nil, 0, nil, fail(http.StatusBadRequest, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.")
		}
		raw, err := base64.StdEncoding.DecodeString(rec.Sum)
		if err != nil {
			return nil, 0, nil, err
		}
		numbers, size, partSums = append(numbers, p.PartNumber), size+rec.Size, append(partSums, raw)
	}
	return numbers, size, partSums, nil
}

// meta describes the finished object, and checks the client's sum of the whole.
func (u *upload) meta(claims, whole sums, partSums [][]byte) (*meta, error) {
	m := newMeta(u.Header, whole, u.Algorithm)
	m.ETag = strings.TrimSuffix(m.ETag, `"`) + "-" + strconv.Itoa(len(partSums)) + `"`
	if u.Type == composite {
		m.Type, m.Sums = composite, map[algorithm]string{u.Algorithm: compositeSum(u.Algorithm, partSums)}
		if len(claims) > 0 { // declared takes a plain base64 only, which no composite sum is
			return nil, fail(http.StatusBadRequest, "BadDigest", "A full-object checksum was given for a composite one.")
		}
		return m, nil
	}
	for a := range claims {
		if a != cmp.Or(u.Algorithm, crc64nvme) {
			return nil, fail(http.StatusBadRequest, "InvalidRequest", "The upload was not created with the algorithm %s.", a)
		}
	}
	return m, whole.verify(claims)
}

// uploadsResult is a page of unfinished uploads; the next page begins after its markers.
type uploadsResult struct {
	XMLName      xml.Name     `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListMultipartUploadsResult"`
	Bucket       string       `xml:"Bucket"`
	Prefix       string       `xml:"Prefix"`
	KeyMarker    string       `xml:"KeyMarker"`
	IDMarker     string       `xml:"UploadIdMarker"`
	NextKey      string       `xml:"NextKeyMarker,omitempty"`
	NextID       string       `xml:"NextUploadIdMarker,omitempty"`
	MaxUploads   int          `xml:"MaxUploads"`
	IsTruncated  bool         `xml:"IsTruncated"`
	Uploads      []listUpload `xml:"Upload"`
	EncodingType string       `xml:"EncodingType,omitempty"`
}

type listUpload struct {
	Key          string `xml:"Key"`
	UploadID     string `xml:"UploadId"`
	Initiated    string `xml:"Initiated"`
	StorageClass string `xml:"StorageClass"`
}

// listUploads is ListMultipartUploads, in order of key and id.
func (s *Server) listUploads(w http.ResponseWriter, r *http.Request, c *call) error {
	q := r.URL.Query()
	limit, err := pageSize(q.Get("max-uploads"))
	if err != nil {
		return err
	}
	if q.Get("delimiter") != "" || q.Get("encoding-type") != "" {
		return errUnsupported
	}
	uploads, err := s.uploads(c.bucket, q.Get("prefix"))
	if err != nil {
		return err
	}
	res := uploadsResult{
		Bucket: c.bucket, Prefix: q.Get("prefix"), MaxUploads: limit,
		KeyMarker: q.Get("key-marker"), IDMarker: q.Get("upload-id-marker"),
	}
	for _, u := range uploads {
		if order := strings.Compare(u.Key, res.KeyMarker); res.KeyMarker != "" &&
			(order < 0 || order == 0 && (res.IDMarker == "" || u.ID <= res.IDMarker)) {
			continue
		}
		if limit == 0 {
			break
		}
		if len(res.Uploads) == limit {
			last := res.Uploads[limit-1]
			res.IsTruncated, res.NextKey, res.NextID = true, last.Key, last.UploadID
			break
		}
		res.Uploads = append(res.Uploads, listUpload{u.Key, u.ID, u.Initiated.Format(timeFormat), "STANDARD"})
	}
	writeXML(w, http.StatusOK, res)
	return nil
}

// uploads reads all unfinished ones of a bucket from the disk.
func (s *Server) uploads(bucket, prefix string) ([]upload, error) {
	dirs, err := fs.ReadDir(s.store.root.FS(), uploadsDir)
	if err != nil {
		return nil, err
	}
	var out []upload
	for _, d := range dirs {
		var u upload
		switch err := s.store.readJSON(path.Join(uploadsDir, d.Name(), "upload.json"), &u); {
		case absent(err): // being created, or just aborted
		case err != nil:
			return nil, err
		case u.Bucket == bucket && strings.HasPrefix(u.Key, prefix):
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b upload) int {
		return cmp.Or(strings.Compare(a.Key, b.Key), strings.Compare(a.ID, b.ID))
	})
	return out, nil
}
