package s3d

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
)

// begin starts a multipart upload and uploads the parts.
func (c *client) begin(target string, h headers, parts ...[]byte) (id string, list []completePart) {
	c.t.Helper()
	var res initiateResult
	if err := xml.Unmarshal([]byte(c.want(200, "", "POST", target+"?uploads", h, nil).body), &res); err != nil {
		c.t.Fatal(err)
	}
	for i, p := range parts {
		a := c.want(200, "", "PUT", fmt.Sprintf("%s?partNumber=%d&uploadId=%s", target, i+1, res.UploadID), nil, p)
		list = append(list, completePart{PartNumber: i + 1, ETag: a.header.Get("ETag")})
	}
	return res.UploadID, list
}

func (c *client) complete(status int, code, target, id string, h headers, list []completePart) answer {
	c.t.Helper()
	body, err := xml.Marshal(struct {
		XMLName xml.Name       `xml:"CompleteMultipartUpload"`
		Parts   []completePart `xml:"Part"`
	}{Parts: list})
	if err != nil {
		c.t.Fatal(err)
	}
	return c.want(status, code, "POST", target+"?uploadId="+id, h, body)
}

func TestMultipart(t *testing.T) {
	c := start(t, &Options{MinPartBytes: 1000})
	one, two := bytes.Repeat([]byte("1"), 1000), []byte("two")
	whole := append(bytes.Clone(one), two...)
	full := headers{"x-amz-checksum-algorithm": "CRC64NVME"}
	sum := headers{"x-amz-checksum-crc64nvme": sum64(crc64nvme, whole)}

	id, list := c.begin("/penstock/k", full, one, two)
	c.complete(400, "InvalidPartOrder", "/penstock/k", id, nil, []completePart{list[1], list[0]})
	c.complete(400, "InvalidPart", "/penstock/k", id, nil, []completePart{{PartNumber: 1, ETag: "x"}})
	c.complete(400, "InvalidPart", "/penstock/k", id, nil, []completePart{list[0], {PartNumber: 3, ETag: list[1].ETag}})
	c.complete(400, "InvalidPart", "/penstock/k", id, nil, []completePart{list[0], {PartNumber: 2, ETag: list[1].ETag, ChecksumCRC64NVME: "AAAAAAAAAAA="}})
	c.complete(400, "MalformedXML", "/penstock/k", id, nil, nil)
	c.complete(400, "BadDigest", "/penstock/k", id, headers{"x-amz-checksum-crc64nvme": sum64(crc64nvme, one)}, list)
	c.complete(400, "InvalidRequest", "/penstock/k", id, headers{"x-amz-checksum-crc32": sum64("crc32", whole)}, list)
	c.complete(400, "InvalidRequest", "/penstock/k", id, headers{"x-amz-mp-object-size": "5"}, list)
	c.complete(404, "NoSuchUpload", "/penstock/other", id, sum, list)
	c.want(404, "", "HEAD", "/penstock/k", nil, nil)
	c.complete(200, "", "/penstock/k", id, sum, list)
	c.complete(404, "NoSuchUpload", "/penstock/k", id, sum, list)
	a := c.want(200, "", "GET", "/penstock/k", headers{"x-amz-checksum-mode": "ENABLED"}, nil)
	if a.body != string(whole) || a.header.Get("x-amz-checksum-crc64nvme") != sum["x-amz-checksum-crc64nvme"] || a.header.Get("x-amz-checksum-type") != fullObject {
		t.Errorf("%d bytes, %v", len(a.body), a.header)
	}

	// Parts of another upload must not be taken, and the condition holds at the end.
	id, list = c.begin("/penstock/k", full, one, two)
	sum["If-None-Match"] = "*"
	c.complete(412, "PreconditionFailed", "/penstock/k", id, sum, list)
	c.want(204, "", "DELETE", "/penstock/k?uploadId="+id, nil, nil)
	c.want(404, "NoSuchUpload", "DELETE", "/penstock/k?uploadId="+id, nil, nil)
	c.want(404, "NoSuchUpload", "PUT", "/penstock/k?partNumber=1&uploadId="+id, nil, one)
	c.want(404, "NoSuchUpload", "PUT", "/penstock/k?partNumber=1&uploadId=../../penstock", nil, one)

	id, list = c.begin("/penstock/small", nil, two, one)
	c.complete(400, "EntityTooSmall", "/penstock/small", id, nil, list)
	c.want(400, "InvalidArgument", "PUT", "/penstock/small?partNumber=0&uploadId="+id, nil, one)
	c.want(400, "InvalidArgument", "PUT", "/penstock/small?partNumber=10001&uploadId="+id, nil, one)
	c.want(400, "BadDigest", "PUT", "/penstock/small?partNumber=1&uploadId="+id, headers{"x-amz-checksum-crc64nvme": sum64(crc64nvme, two)}, one)
}

// TestComposite: the sums of a composite upload are the sums of its parts' sums.
func TestComposite(t *testing.T) {
	c := start(t, &Options{MinPartBytes: 1})
	one, two := []byte("one"), []byte("two")
	for _, a := range []algorithm{"crc32", "crc32c", "sha1", sha256sum} {
		key := "/penstock/" + string(a)
		id, list := c.begin(key, headers{"x-amz-checksum-algorithm": strings.ToUpper(string(a))}, one, two)
		c.complete(400, "InvalidRequest", key, id, nil, list) // each part's sum must be given
		for i, b := range [][]byte{one, two} {
			list[i].ChecksumCRC32, list[i].ChecksumCRC32C = sum64("crc32", b), sum64("crc32c", b)
			list[i].ChecksumSHA1, list[i].ChecksumSHA256 = sum64("sha1", b), sum64(sha256sum, b)
		}
		c.complete(200, "", key, id, nil, list)
		h := newHasher(a)
		for _, b := range [][]byte{one, two} {
			p := newHasher(a)
			_, _ = p.Write(b)
			_, _ = h.Write(p.sums()[a])
		}
		got := c.do("HEAD", key, headers{"x-amz-checksum-mode": "ENABLED"}, nil).header
		if !strings.HasSuffix(got.Get(a.header()), "-2") || got.Get("x-amz-checksum-type") != composite {
			t.Errorf("%s: %v", a, got)
		}
	}
	for name, h := range map[string]headers{
		"unknown":              {"x-amz-checksum-algorithm": "ROT13"},
		"composite crc64nvme":  {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": composite},
		"full-object sha256":   {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-type": fullObject},
		"type without sum":     {"x-amz-checksum-type": fullObject},
		"type that is no type": {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "HALF"},
	} {
		if a := c.do("POST", "/penstock/k?uploads", h, nil); a.status != 400 || a.code != "InvalidRequest" {
			t.Errorf("%s: %d %s", name, a.status, a.code)
		}
	}
	id, list := c.begin("/penstock/full", headers{"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": fullObject}, one, two)
	c.complete(200, "", "/penstock/full", id, headers{"x-amz-checksum-crc32": sum64("crc32", []byte("onetwo"))}, list)
}

func TestListUploads(t *testing.T) {
	c := start(t, nil)
	var want []string
	for _, key := range []string{"a/1", "a/1", "a/2", "b"} {
		c.begin("/penstock/"+key, nil)
		want = append(want, key)
	}
	for _, size := range []int{1, 2, 3, 4, 1000} {
		var got []string
		for marker := ""; ; {
			var res uploadsResult
			a := c.want(200, "", "GET", fmt.Sprintf("/penstock?uploads&max-uploads=%d%s", size, marker), nil, nil)
			if err := xml.Unmarshal([]byte(a.body), &res); err != nil {
				t.Fatal(err)
			}
			for _, u := range res.Uploads {
				got = append(got, u.Key)
			}
			if !res.IsTruncated {
				break
			}
			marker = "&key-marker=" + res.NextKey + "&upload-id-marker=" + res.NextID
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("pages of %d: %v, want %v", size, got, want)
		}
	}
	if a := c.do("GET", "/penstock?uploads&prefix=a/", nil, nil); strings.Count(a.body, "<Upload>") != 3 {
		t.Errorf("prefix: %s", a.body)
	}
}
