package s3d

import (
	"crypto/md5"  // Content-MD5 is part of the protocol
	"crypto/sha1" // so is this checksum
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// algorithm is a checksum of the S3 protocol by the name it has in headers: x-amz-checksum-<algorithm>.
type algorithm string

// The algorithms that are named in the code, and the two kinds of a multipart object's checksum.
const (
	crc64nvme algorithm = "crc64nvme"
	md5sum    algorithm = "md5" // Content-MD5 only, not an x-amz-checksum
	sha256sum algorithm = "sha256"

	fullObject = "FULL_OBJECT"
	composite  = "COMPOSITE"
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	// nvme is the table of CRC-64/NVME: the polynomial 0xad93d23594c93659, reflected.
	nvme = crc64.MakeTable(0x9a6c9329ac4bc9b5)

	hashes = map[algorithm]func() hash.Hash{
		"crc32":   func() hash.Hash { return crc32.NewIEEE() },
		"crc32c":  func() hash.Hash { return crc32.New(castagnoli) },
		crc64nvme: func() hash.Hash { return crc64.New(nvme) },
		"sha1":    sha1.New,
		sha256sum: sha256.New,
		md5sum:    md5.New,
	}
	checksumHeaders = []algorithm{"crc32", "crc32c", crc64nvme, "sha1", sha256sum}
)

func (a algorithm) header() string { return "x-amz-checksum-" + string(a) }

// known tells whether a is an x-amz-checksum.
func (a algorithm) known() bool { return slices.Contains(checksumHeaders, a) }

// sums are checksums by algorithm, raw.
type sums map[algorithm][]byte

// hasher computes several checksums in one pass.
type hasher map[algorithm]hash.Hash

// newHasher computes the named algorithms; one that is named twice is computed once.
func newHasher(algorithms ...algorithm) hasher {
	h := hasher{}
	for _, a := range algorithms {
		h[a] = hashes[a]()
	}
	return h
}

func (h hasher) Write(b []byte) (int, error) {
	for _, x := range h {
		_, _ = x.Write(b) // a hash.Hash never fails
	}
	return len(b), nil
}

func (h hasher) sums() sums {
	s := sums{}
	for a, x := range h {
		s[a] = x.Sum(nil)
	}
	return s
}

// declared reads the x-amz-checksum-* headers of h. One that is no base64 of the right length is refused, and so are two
// at once, as S3 does.
func declared(h http.Header) (sums, error) {
	s := sums{}
	for _, a := range checksumHeaders {
		v := h.Get(a.header())
		if v == "" {
			continue
		}
		b, err := base64.StdEncoding.DecodeString(v)
		if err != nil || len(b) != hashes[a]().Size() {
			return nil, fail(http.StatusBadRequest, "InvalidRequest", "Value for %s header is invalid.", a.header())
		}
		s[a] = b
	}
	if len(s) > 1 {
		return nil, fail(http.StatusBadRequest, "InvalidRequest", "Expecting a single x-amz-checksum- header; there are %d.", len(s))
	}
	return s, nil
}

// verify compares declared checksums with computed ones.
func (s sums) verify(want sums) error {
	for _, a := range slices.Sorted(maps.Keys(want)) {
		if string(s[a]) != string(want[a]) {
			return fail(http.StatusBadRequest, "BadDigest", "The %s you specified did not match the calculated checksum.", strings.ToUpper(string(a)))
		}
	}
	return nil
}

// compositeSum is the checksum of a multipart object that is made from its parts' checksums: base64, hyphen, their number.
func compositeSum(a algorithm, parts [][]byte) string {
	h := hashes[a]()
	for _, p := range parts {
		_, _ = h.Write(p)
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil)) + "-" + strconv.Itoa(len(parts))
}
