package s3ship

import (
	"crypto/md5" // the S3 API demands it; it is no protection against forgery
	"encoding/base64"
	"errors"
	"hash"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/minio/crc64nvme"
)

// sumPart puts a part's checksum into its request. Over TLS the SDK would otherwise send it after the body, in a
// trailer of the aws-chunked encoding, which Ceph's rgw and other compatible stores refuse, or store as content. Without TLS
// the SDK makes this pass over the part anyway.
func (b *Destination) sumPart(p *s3.UploadPartInput) error {
	if b.o.Compat {
		return b.sumMD5(p.Body, &p.ContentMD5)
	}
	h := crc64nvme.New()
	if err := sum(h, p.Body); err != nil {
		return err
	}
	s := crcBase64(h.Sum64())
	p.ChecksumCRC64NVME = &s
	return nil
}

// sumMD5 sets Content-MD5 in compat mode, where no other checksum may be sent. The S3 API demands one for objects with a
// retention period, which may be a default of the bucket that this host does not know. It also lets a store refuse bytes
// that were damaged in transit.
func (b *Destination) sumMD5(body io.Reader, field **string) error {
	if !b.o.Compat {
		return nil
	}
	h := md5.New() // see above
	if err := sum(h, body); err != nil {
		return err
	}
	s := base64.StdEncoding.EncodeToString(h.Sum(nil))
	*field = &s
	return nil
}

// sum hashes the rest of a body, and then seeks back to where it was.
func sum(h hash.Hash, body io.Reader) error {
	s, ok := body.(io.Seeker)
	if !ok {
		return errors.New("s3ship: a body that cannot be read twice")
	}
	at, err := s.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{body}, make([]byte, ioBuffer)); err != nil {
		return err
	}
	_, err = s.Seek(at, io.SeekStart)
	return err
}
