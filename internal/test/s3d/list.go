package s3d

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxKeys is the size of a page, as S3 has it.
const maxKeys = 1000

// timeFormat of the XML answers.
const timeFormat = "2006-01-02T15:04:05.000Z"

// listResult is a page of ListObjectsV2; listObject and listPrefix are its lines.
type listResult struct {
	XMLName        xml.Name     `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name           string       `xml:"Name"`
	Prefix         string       `xml:"Prefix"`
	Delimiter      string       `xml:"Delimiter,omitempty"`
	MaxKeys        int          `xml:"MaxKeys"`
	KeyCount       int          `xml:"KeyCount"`
	EncodingType   string       `xml:"EncodingType,omitempty"`
	IsTruncated    bool         `xml:"IsTruncated"`
	Token          string       `xml:"ContinuationToken,omitempty"`
	NextToken      string       `xml:"NextContinuationToken,omitempty"`
	Contents       []listObject `xml:"Contents"`
	CommonPrefixes []listPrefix `xml:"CommonPrefixes"`
}

type listObject struct {
	Key          string `xml:"Key"`
	LastModified string `xml:"LastModified"`
	ETag         string `xml:"ETag"`
	Size         int64  `xml:"Size"`
	StorageClass string `xml:"StorageClass"`
}

type listPrefix struct {
	Prefix string `xml:"Prefix"`
}

// listObjects is ListObjectsV2. A page's continuation token is the last key it covered.
func (s *Server) listObjects(w http.ResponseWriter, r *http.Request, c *call) error {
	q := r.URL.Query()
	limit, err := pageSize(q.Get("max-keys"))
	if err != nil {
		return err
	}
	after := q.Get("start-after")
	if t := q.Get("continuation-token"); t != "" {
		b, err := base64.RawURLEncoding.DecodeString(t)
		if err != nil {
			return fail(http.StatusBadRequest, "InvalidArgument", "The continuation token provided is incorrect.")
		}
		after = string(b)
	}
	res := listResult{
		Name: c.bucket, Prefix: q.Get("prefix"), Delimiter: q.Get("delimiter"), MaxKeys: limit,
		EncodingType: q.Get("encoding-type"), Token: q.Get("continuation-token"),
	}
	// List everything for each page: a directory has no position to resume from, and a demonstration has few objects.
	entries, err := s.store.list(c.bucket, res.Prefix)
	if err != nil {
		return err
	}
	name := func(s string) string { return s }
	if res.EncodingType == "url" {
		name = url.QueryEscape
	}
	last := ""
	for _, e := range entries {
		if e.key <= after {
			continue
		}
		group := commonPrefix(e.key, res.Prefix, res.Delimiter)
		if group != "" && (strings.HasPrefix(after, group) || strings.HasPrefix(last, group)) {
			last = e.key // told already
			continue
		}
		if res.KeyCount == limit {
			res.IsTruncated = limit > 0 // a page of none has no next one, in S3 too
			break
		}
		res.KeyCount++
		last = e.key
		if group != "" {
			res.CommonPrefixes = append(res.CommonPrefixes, listPrefix{name(group)})
			continue
		}
		o := listObject{Key: name(e.key), LastModified: e.fi.ModTime().UTC().Format(timeFormat), Size: e.fi.Size(), StorageClass: "STANDARD"}
		if f, m, err := s.store.get(c.bucket, e.key); err == nil {
			o.ETag = m.ETag
			_ = f.Close()
		}
		res.Contents = append(res.Contents, o)
	}
	if res.IsTruncated {
		res.NextToken = base64.RawURLEncoding.EncodeToString([]byte(last))
	}
	writeXML(w, http.StatusOK, res)
	return nil
}

// commonPrefix of a key that is folded into a group, "" for one that is listed itself.
func commonPrefix(key, prefix, delimiter string) string {
	if delimiter == "" {
		return ""
	}
	i := strings.Index(key[len(prefix):], delimiter)
	if i < 0 {
		return ""
	}
	return key[:len(prefix)+i+len(delimiter)]
}

// pageSize reads max-keys or max-uploads; more than a page is cut to one, as S3 does.
func pageSize(v string) (int, error) {
	if v == "" {
		return maxKeys, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return 0, fail(http.StatusBadRequest, "InvalidArgument", "max-keys and max-uploads are numbers from 0.")
	}
	return min(n, maxKeys), nil
}
