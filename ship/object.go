package ship

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/minio/crc64nvme"
)

// maxKey is the longest key in bytes that every destination can store (Amazon S3's limit).
const maxKey = 1024

// CheckKey returns an error unless key is a relative, clean, slash-separated path that means the same object at every
// destination. Drivers that map keys to file names rely on it: a key that passes cannot leave the destination's prefix.
func CheckKey(key string) error {
	switch {
	case key == "":
		return errors.New("ship: empty key")
	case len(key) > maxKey:
		return fmt.Errorf("ship: key of %d bytes, %d are allowed", len(key), maxKey)
	case !utf8.ValidString(key):
		return fmt.Errorf("ship: key %q is not UTF-8", key)
	case strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }):
		return fmt.Errorf("ship: key %q holds a control character or a backslash", key)
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("ship: key %q is not a clean relative path", key)
		}
	}
	// Names that the local system treats specially, such as NUL on Windows.
	if !filepath.IsLocal(filepath.FromSlash(key)) {
		return fmt.Errorf("ship: key %q is not a clean relative path", key)
	}
	return nil
}

// Check returns an error that wraps ErrVerify unless r has the size and checksum of o. A receipt without a checksum does not
// pass: size alone proves nothing.
func (o Object) Check(r Receipt) error {
	if r.Size != o.Size {
		return fmt.Errorf("%w: %s has %d bytes there; %d were sent", ErrVerify, o.Key, r.Size, o.Size)
	}
	var want string
	switch alg, _, _ := strings.Cut(r.Checksum, ":"); alg {
	case "sha256":
		want = SHA256Checksum(o.SHA256)
	case "crc64nvme":
		want = CRC64Checksum(o.CRC64NVME)
	default:
		return fmt.Errorf("%w: %s: no known checksum in %q", ErrVerify, o.Key, r.Checksum)
	}
	if r.Checksum != want {
		return fmt.Errorf("%w: %s is %s there, %s was sent", ErrVerify, o.Key, r.Checksum, want)
	}
	return nil
}

// SHA256Checksum is a SHA-256 as receipts write it: "sha256:<64 hex digits>".
func SHA256Checksum(sum [32]byte) string { return "sha256:" + hex.EncodeToString(sum[:]) }

// CRC64Checksum is a CRC-64/NVME as receipts write it: "crc64nvme:<16 hex digits>".
func CRC64Checksum(sum uint64) string { return fmt.Sprintf("crc64nvme:%016x", sum) }

// Digest computes the size and hashes of an Object from the bytes that are written to it. The CRC-64/NVME is the full-object
// checksum that Amazon S3 keeps however an object was uploaded, whereas its other CRCs depend on the part size (S3 User
// Guide, "Checking object integrity").
type Digest struct {
	size int64
	sha  hash.Hash
	crc  uint64
}

// NewDigest returns an empty Digest.
func NewDigest() *Digest { return &Digest{sha: sha256.New()} }

// Write never fails.
func (d *Digest) Write(p []byte) (int, error) {
	d.size += int64(len(p))
	d.sha.Write(p)
	d.crc = crc64nvme.Update(d.crc, p)
	return len(p), nil
}

// Sum fills in o's Size, SHA256 and CRC64NVME.
func (d *Digest) Sum(o *Object) {
	o.Size, o.CRC64NVME = d.size, d.crc
	d.sha.Sum(o.SHA256[:0])
}

// BytesObject returns the Object that describes b, to be stored under key.
func BytesObject(key, spool string, b []byte) Object {
	o := Object{Key: key, Spool: spool}
	d := NewDigest()
	d.Write(b)
	d.Sum(&o)
	return o
}

// readBack reads all of r and returns its size and hashes.
func readBack(r io.Reader) (Object, error) {
	var o Object
	d := NewDigest()
	if _, err := io.Copy(d, r); err != nil {
		return o, err
	}
	d.Sum(&o)
	return o, nil
}
