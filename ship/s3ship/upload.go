package s3ship

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/penstock-go/penstock/ship"
)

// upload stores body under o.Key if nothing is there. It returns the store's answer, which proves nothing yet. After an
// error it aborts the upload, if it can, so that no parts are left.
func (b *Destination) upload(ctx context.Context, o ship.Object, body *io.SectionReader) error {
	if b.o.Compat {
		// Without a checksum, the store would publish a damaged body.
		switch sum, err := hashSection(ctx, body); {
		case err != nil:
			return &bodyError{err}
		case sum != o.SHA256:
			return fmt.Errorf("%w: the body is not what its SHA-256 says", ship.ErrVerify)
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// With sections of a ReaderAt, the manager reads parts from the source and buffers nothing.
	src := &source{r: body, fail: cancel}
	in := b.input(o)
	in.Body = io.NewSectionReader(src, 0, o.Size)
	id, err := b.uploader.upload(ctx, in, b.exactly(o))
	if err == nil {
		b.abortLeft(ctx)
		return nil
	}
	if e, ok := errors.AsType[*bodyError](context.Cause(ctx)); ok {
		err = e
	}
	if o.Size > b.uploader.partSize() {
		b.abort(ctx, o.Key, id, err)
	}
	return err
}

// input returns everything about an upload except its body.
func (b *Destination) input(o ship.Object) *s3.PutObjectInput {
	in := &s3.PutObjectInput{
		Bucket:              &b.bucket,
		Key:                 aws.String(b.full(o.Key)),
		ContentType:         optional(o.ContentType),
		ContentEncoding:     optional(o.ContentEncoding),
		ExpectedBucketOwner: b.owner(),
		RequestPayer:        b.payer(),

		ServerSideEncryption: types.ServerSideEncryption(b.o.Encryption),
		SSEKMSKeyId:          optional(b.o.KMSKeyID),
		StorageClass:         types.StorageClass(b.o.StorageClass),
		Tagging:              optional(b.o.tagging()),
		ObjectLockMode:       types.ObjectLockMode(b.o.LockMode),
	}
	// From now, not from the records' time: otherwise the most delayed objects would be protected for the shortest time.
	if b.o.LockMode != "" {
		in.ObjectLockRetainUntilDate = aws.Time(time.Now().Add(b.o.LockFor).UTC())
	}
	if !b.o.Compat {
		in.IfNoneMatch = aws.String("*")
		// This checksum covers the whole object, however many parts it is sent in. The store computes its own, and
		// publishes nothing that differs.
		in.ChecksumCRC64NVME = aws.String(crcBase64(o.CRC64NVME))
	}
	return in
}

// abort aborts the multipart upload id, with a context of its own, because the caller's may just have ended. Without an id,
// the response to CreateMultipartUpload was lost: it then lists the uploads of this key and aborts them.
func (b *Destination) abort(ctx context.Context, key, id string, why error) {
	if id == "" && (status(why) != 0 || notSent(why)) {
		return // the store has refused it, or has never got the request
	}
	if _, silent := errors.AsType[*stallError](why); silent && operation(why) == "CompleteMultipartUpload" {
		return // the store may still be assembling the parts; the next Put finds out, or Sweep aborts it later
	}
	ctx, cancel := cleanup(ctx)
	defer cancel()
	var err error
	if id != "" {
		err = b.abortOnce(ctx, b.full(key), id)
	} else {
		_, err = b.abortWhere(ctx, b.full(key), func(u types.MultipartUpload) bool { return aws.ToString(u.Key) == b.full(key) })
	}
	if err != nil {
		b.o.Logger.Warn("s3ship: multipart upload could not be aborted: the next check or upload tries again, otherwise a sweep or the bucket's lifecycle rule must remove its parts",
			"location", b.Location(), "key", key, "err", err)
	}
}

// exactly adds to the manager's requests what is known of the object, and fields that the manager cannot set.
func (b *Destination) exactly(o ship.Object) func(*s3.Options) {
	set := middleware.InitializeMiddlewareFunc("penstockExactly", func(
		ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
	) (middleware.InitializeOutput, middleware.Metadata, error) {
		switch p := in.Parameters.(type) {
		case *s3.PutObjectInput:
			// Saves a pass over the body, whose SHA-256 the signature covers. A part has a hash of its own.
			ctx = v4.SetPayloadHash(ctx, hex.EncodeToString(o.SHA256[:]))
			if err := b.sumMD5(p.Body, &p.ContentMD5); err != nil {
				return middleware.InitializeOutput{}, middleware.Metadata{}, err
			}
		case *s3.UploadPartInput:
			if err := b.sumPart(p); err != nil {
				return middleware.InitializeOutput{}, middleware.Metadata{}, err
			}
		case *s3.CreateMultipartUploadInput:
			if !b.o.Compat {
				p.ChecksumType = types.ChecksumTypeFullObject
			}
		case *s3.CompleteMultipartUploadInput:
			if !b.o.Compat {
				p.ChecksumType, p.MpuObjectSize = types.ChecksumTypeFullObject, &o.Size
			}
		}
		return next.HandleInitialize(ctx, in)
	})
	return s3.WithAPIOptions(func(s *middleware.Stack) error { return s.Initialize.Add(set, middleware.Before) })
}

// needID returns an error if the response to CreateMultipartUpload has status 200 but no upload id, as from a proxy that
// answers 200 to everything. The manager would crash on it, and with it the process with all its spools and listeners.
func needID(s *middleware.Stack) error {
	return s.Initialize.Add(middleware.InitializeMiddlewareFunc("penstockNeedID", func(
		ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
	) (middleware.InitializeOutput, middleware.Metadata, error) {
		out, meta, err := next.HandleInitialize(ctx, in)
		if r, ok := out.Result.(*s3.CreateMultipartUploadOutput); ok && err == nil && aws.ToString(r.UploadId) == "" {
			err = errors.New("the answer to CreateMultipartUpload holds no upload id: something other than the store answers")
		}
		return out, meta, err
	}), middleware.Before)
}

// source is the body; its first read error ends the upload. Otherwise the SDK would mistake a failing disk for a failing
// connection, try again, and trust whatever the disk returns then.
type source struct {
	r    io.ReaderAt
	fail context.CancelCauseFunc
}

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.r.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &bodyError{err}
		s.fail(err)
	}
	return n, err
}

// bodyError is a failure to read the body on this host.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "reading the body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// crcBase64 is a CRC-64/NVME as S3 writes it: big-endian, base64.
func crcBase64(sum uint64) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, sum))
}

// payer returns the field of each request that says who pays for it.
func (b *Destination) payer() types.RequestPayer {
	if b.o.RequesterPays {
		return types.RequestPayerRequester
	}
	return ""
}

// optional returns nil for an empty string, which leaves the field out of the request: an empty header would be signed, and
// some stores would refuse it.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
