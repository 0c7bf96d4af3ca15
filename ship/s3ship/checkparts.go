package s3ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/penstock-go/penstock/ship"
)

// checkParts uploads the probe in one part, with the requests that large objects need, because some stores know PutObject
// but refuse these. If objects are to be locked, it first uploads a part with those settings and aborts that: the object
// that stays must not be locked.
func (b *Destination) checkParts(ctx context.Context) error {
	b.abortLeft(ctx)
	if b.o.LockMode != "" {
		if _, err := b.writeParts(ctx, true); err != nil {
			return err
		}
	}
	created, err := b.writeParts(ctx, false)
	if err != nil || !created || b.o.Compat {
		return err
	}
	o := ship.BytesObject(partsKey, "", probe)
	h, err := b.head(ctx, partsKey)
	if err == nil {
		_, err = b.compareHeld(ctx, o, h, ship.ErrVerify)
	}
	if err != nil {
		return err
	}
	if created, err = b.writeParts(ctx, false); err == nil && created && b.loose.CompareAndSwap(false, true) {
		b.o.Logger.Warn("s3ship: the store ignores If-None-Match when it completes an upload in parts: the later of two owners of a key would "+
			"overwrite the earlier one unnoticed, and receipts of such objects say so (no-condition); with part_size above the size of the objects, each goes in one request",
			"location", b.Location(), "part_size", b.o.PartSize)
	}
	return err
}

// writeParts reports whether it has created the object. It aborts the upload if the object was already there, or if it is
// to be locked.
func (b *Destination) writeParts(ctx context.Context, locked bool) (created bool, err error) {
	o := ship.BytesObject(partsKey, "", probe)
	o.ContentType = "text/plain"
	in, exactly := b.input(o), b.exactly(o)
	if !locked {
		in.ObjectLockMode, in.ObjectLockRetainUntilDate = "", nil
	}
	if !b.o.Compat {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc64nvme // as the manager does if it is given that checksum
	}
	id, err := b.beginParts(ctx, in, exactly)
	if err != nil {
		return false, fmt.Errorf("beginning a multipart upload: %w", err)
	}
	// Abort even if ctx has just ended, so that no sweep is needed for this upload.
	defer func() {
		if created {
			return
		}
		ctx, cancel := cleanup(ctx)
		defer cancel()
		if aerr := b.abortOnce(ctx, *in.Key, *id); aerr != nil {
			err = errors.Join(err, fmt.Errorf("aborting a multipart upload: %w", aerr))
		}
	}()
	part, err := b.sendPart(ctx, in, id, exactly)
	if err != nil {
		return false, fmt.Errorf("uploading a part: %w", err)
	}
	if locked {
		return false, nil
	}
	err = b.completeParts(ctx, in, id, part, exactly)
	switch {
	case status(err) == 412:
		return false, nil
	case err != nil:
		return false, fmt.Errorf("completing a multipart upload: %w", err)
	}
	return true, nil
}

// beginParts, sendPart and completeParts send the requests that the manager makes from an input.
func (b *Destination) beginParts(ctx context.Context, in *s3.PutObjectInput, exactly func(*s3.Options)) (id *string, err error) {
	out, err := b.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: in.Bucket, Key: in.Key, ContentType: in.ContentType, ExpectedBucketOwner: in.ExpectedBucketOwner, RequestPayer: in.RequestPayer,
		ServerSideEncryption: in.ServerSideEncryption, SSEKMSKeyId: in.SSEKMSKeyId, StorageClass: in.StorageClass,
		Tagging: in.Tagging, ObjectLockMode: in.ObjectLockMode, ObjectLockRetainUntilDate: in.ObjectLockRetainUntilDate,
		ChecksumAlgorithm: in.ChecksumAlgorithm,
	}, exactly)
	if err != nil {
		return nil, err
	}
	return out.UploadId, nil // needID has checked that there is one
}

func (b *Destination) sendPart(ctx context.Context, in *s3.PutObjectInput, id *string, exactly func(*s3.Options)) (types.CompletedPart, error) {
	first := aws.Int32(1)
	out, err := b.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: in.Bucket, Key: in.Key, ExpectedBucketOwner: in.ExpectedBucketOwner, RequestPayer: in.RequestPayer,
		UploadId: id, PartNumber: first, ChecksumAlgorithm: in.ChecksumAlgorithm, Body: bytes.NewReader(probe),
	}, exactly)
	if err != nil {
		return types.CompletedPart{}, err
	}
	return types.CompletedPart{ETag: out.ETag, PartNumber: first, ChecksumCRC64NVME: out.ChecksumCRC64NVME}, nil
}

func (b *Destination) completeParts(ctx context.Context, in *s3.PutObjectInput, id *string, part types.CompletedPart, exactly func(*s3.Options)) error {
	_, err := b.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: in.Bucket, Key: in.Key, ExpectedBucketOwner: in.ExpectedBucketOwner, RequestPayer: in.RequestPayer,
		UploadId: id, IfNoneMatch: in.IfNoneMatch, ChecksumCRC64NVME: in.ChecksumCRC64NVME,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{part}},
	}, exactly)
	return err
}
