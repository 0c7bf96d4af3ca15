package s3ship

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/penstock-go/penstock/ship"
)

// held is what the store says about an object.
type held struct {
	size     int64
	checksum string // as receipts write it; empty if the store keeps none of the whole object
	version  string
}

// head asks for an object's size and checksum. It ignores the ETag's value, which is no checksum.
func (b *Destination) head(ctx context.Context, key string) (*held, error) {
	in := &s3.HeadObjectInput{Bucket: &b.bucket, Key: aws.String(b.full(key)), ExpectedBucketOwner: b.owner(), RequestPayer: b.payer()}
	if !b.o.Compat {
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	out, err := b.client.HeadObject(ctx, in)
	if err != nil {
		return nil, err
	}
	if aws.ToString(out.ETag) == "" {
		return nil, errNoStore
	}
	if out.ContentLength == nil {
		return nil, fmt.Errorf("%w: the store does not say how long the object is", ship.ErrVerify)
	}
	h := &held{size: *out.ContentLength, version: aws.ToString(out.VersionId)}
	sum, err := base64.StdEncoding.DecodeString(aws.ToString(out.ChecksumCRC64NVME))
	// A store that states no type has only one: a CRC-64/NVME always covers the full object.
	if err == nil && len(sum) == 8 && (out.ChecksumType == types.ChecksumTypeFullObject || out.ChecksumType == "") {
		h.checksum = ship.CRC64Checksum(binary.BigEndian.Uint64(sum))
	}
	return h, nil
}

// Stat implements ship.Destination.
func (b *Destination) Stat(ctx context.Context, key string) (ship.Receipt, error) {
	if err := ship.CheckKey(key); err != nil {
		return ship.Receipt{}, b.fail("get", key, err)
	}
	h, err := b.head(ctx, key)
	if mute(err) || isForeign(err) {
		err = b.explain(ctx, key, err)
	}
	if err != nil {
		return ship.Receipt{}, b.fail("get", key, err)
	}
	return ship.Receipt{Size: h.size, Checksum: h.checksum, Method: "head", Time: time.Now().UTC(), Version: h.version, Degraded: b.degraded(h.size)}, nil
}

// explain finds out by a GET why a HEAD was refused, since only a GET's response has a body that says so. An auditor must not
// mistake a mistyped bucket for an empty one, nor an operator an outdated key for a missing permission.
func (b *Destination) explain(ctx context.Context, key string, refusal error) error {
	out, err := b.get(ctx, key, "bytes=0-0")
	if err != nil {
		return err
	}
	return errors.Join(fmt.Errorf("HEAD was refused, but GET succeeded: try again: %w", refusal), out.Body.Close())
}

// Open implements ship.Destination. If the store keeps a checksum of the whole object, the body is verified as it is read: a
// damaged one ends with an error that wraps ship.ErrVerify instead of io.EOF.
func (b *Destination) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := ship.CheckKey(key); err != nil {
		return nil, b.fail("get", key, err)
	}
	out, err := b.get(ctx, key, "")
	if err != nil {
		return nil, b.fail("get", key, err)
	}
	return &body{out.Body, b, key}, nil
}

// get asks for an object, or for the span of it that a Range header names. The SDK verifies a whole object against the store's
// checksum as it is read.
func (b *Destination) get(ctx context.Context, key, span string) (*s3.GetObjectOutput, error) {
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &b.bucket, Key: aws.String(b.full(key)), Range: optional(span),
		ExpectedBucketOwner: b.owner(), RequestPayer: b.payer(),
	})
	if err != nil {
		return nil, err
	}
	if aws.ToString(out.ETag) == "" {
		return nil, errors.Join(errNoStore, out.Body.Close())
	}
	out.Body = verified{out.Body}
	return out, nil
}

// verified wraps the SDK's verdict on an object's bytes in ship.ErrVerify. The SDK does not export the type of that error, so its
// text decides; TestDamagedRead fails if a later SDK words it differently.
type verified struct{ io.ReadCloser }

func (r verified) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && strings.Contains(err.Error(), "checksum did not match") {
		err = fmt.Errorf("%w: the store returns other bytes than its checksum says: %w", ship.ErrVerify, err)
	}
	return n, err
}

// errNoStore is returned for a successful response without an ETag, or for a listing that does not name the bucket. Every store
// sends these; an appliance or a maintenance page that answers everything with 200 does not. That passes, so the error is not
// permanent.
var errNoStore = errors.New("the answer is not a store's: something between here and the store, or another service at this endpoint, answers in its place")

// body adds the place to its errors.
type body struct {
	io.ReadCloser
	b   *Destination
	key string
}

func (r *body) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.b.fail("get", r.key, err)
	}
	return n, err
}

// readBack reads an object, at most one byte more than most, and returns the SHA-256 and the number of bytes read.
func (b *Destination) readBack(ctx context.Context, key string, most int64) (sum [32]byte, n int64, err error) {
	out, err := b.get(ctx, key, "")
	if err != nil {
		return sum, 0, err
	}
	h := sha256.New()
	n, err = io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{io.LimitReader(out.Body, most+1)}, make([]byte, ioBuffer))
	if err = errors.Join(err, out.Body.Close()); err != nil {
		return sum, n, err
	}
	return [32]byte(h.Sum(nil)), n, nil
}
