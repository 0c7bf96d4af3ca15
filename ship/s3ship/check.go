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

// probe is the content of the object that Check writes.
var probe = []byte("This object shows that Penstock can write here. It is written once and may be deleted.\n")

// Check implements ship.Checker. It tries each permission that an upload needs: it writes `_tmp/check` (once: it stays,
// since nothing here needs the right to delete), reads it back, sees that the store keeps checksums and conditions, and
// begins and aborts a multipart upload. Then it sweeps what earlier processes left behind, as far as it may.
func (b *Bucket) Check(ctx context.Context) error {
	if err := b.checkWrite(ctx); err != nil {
		return b.fail("check", checkKey, err)
	}
	o := ship.BytesObject(checkKey, "", probe)
	h, err := b.head(ctx, checkKey)
	switch {
	case err == nil:
		_, err = b.settle(ctx, o, h, ship.ErrVerify)
	case mute(err):
		err = b.explain(ctx, checkKey, err)
	}
	if err != nil {
		return b.fail("check", checkKey, err)
	}
	if err := b.checkMultipart(ctx); err != nil {
		return err
	}
	if _, err := b.Sweep(ctx); err != nil && ctx.Err() == nil {
		b.o.Logger.Info("unfinished multipart uploads cannot be swept; leave them to a lifecycle rule of the bucket", "location", b.Location(), "err", err)
	}
	return ctx.Err()
}

// checkWrite writes the probe. A store that lets it be written twice does not know If-None-Match, and would let one
// owner of a chain overwrite another's manifest.
func (b *Bucket) checkWrite(ctx context.Context) error {
	created, err := b.writeProbe(ctx)
	if err != nil || !created || b.o.Compat {
		return err
	}
	if created, err = b.writeProbe(ctx); err == nil && created {
		err = ship.Permanent(errors.New("the store ignores If-None-Match and would overwrite objects: if it is an older one, add compat=true, and read what is lost by it"))
	}
	return err
}

// writeProbe reports whether the object was written; it was there already otherwise.
func (b *Bucket) writeProbe(ctx context.Context) (created bool, err error) {
	o := ship.BytesObject(checkKey, "", probe)
	o.ContentType = "text/plain"
	in := b.input(o)
	in.Body = bytes.NewReader(probe)
	in.ObjectLockMode, in.ObjectLockRetainUntilDate = "", nil // it may be deleted
	out, err := b.client.PutObject(ctx, in, b.exactly(o))
	if status(err) == 412 {
		return false, nil
	}
	if err == nil && aws.ToString(out.ETag) == "" {
		err = errNoStore // and no reason to advise compat=true
	}
	return err == nil, err
}

// checkMultipart begins an upload with all the settings that objects have, and aborts it.
func (b *Bucket) checkMultipart(ctx context.Context) error {
	o := ship.Object{Key: checkKey}
	in := b.input(o)
	if !b.o.Compat {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc64nvme // as the manager does where it is given that checksum
	}
	out, err := b.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: in.Bucket, Key: in.Key, ExpectedBucketOwner: in.ExpectedBucketOwner, RequestPayer: in.RequestPayer,
		ServerSideEncryption: in.ServerSideEncryption, SSEKMSKeyId: in.SSEKMSKeyId, StorageClass: in.StorageClass,
		Tagging: in.Tagging, ObjectLockMode: in.ObjectLockMode, ObjectLockRetainUntilDate: in.ObjectLockRetainUntilDate,
		ChecksumAlgorithm: in.ChecksumAlgorithm,
	}, b.exactly(o))
	if err != nil {
		return b.fail("check", checkKey, fmt.Errorf("beginning a multipart upload: %w", err))
	}
	// Even if ctx has just ended: this upload must not be the one that a sweep is needed for.
	ctx, cancel := cleanup(ctx)
	defer cancel()
	if err := b.abortUpload(ctx, *in.Key, aws.ToString(out.UploadId)); err != nil {
		return b.fail("check", checkKey, fmt.Errorf("aborting a multipart upload: %w", err))
	}
	return nil
}
