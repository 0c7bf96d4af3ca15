package s3ship

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/penstock-go/penstock/spool/object"
)

// The objects that Check writes: one in one request, one in parts, and one that every store refuses that computes checksums.
const (
	checkKey = object.TempPrefix + "check"
	partsKey = object.TempPrefix + "check-parts"
	wrongKey = object.TempPrefix + "check-sum"
)

// Sweep aborts unfinished multipart uploads that a killed process left behind: below our prefix, named like a segment of any
// spool, and older than Options.SweepAge. An upload of a live process that is as old as that would be begun again by its Put;
// nothing is lost by aborting it. It returns how many it has aborted. It needs s3:ListBucketMultipartUploads; if that is not
// granted, use a lifecycle rule of the bucket (AbortIncompleteMultipartUpload).
func (b *Destination) Sweep(ctx context.Context) (aborted int, err error) {
	// Our clock against the store's: if they differed by more than 15 minutes, the store would refuse all requests.
	limit := time.Now().Add(-b.o.SweepAge)
	aborted, err = b.abortWhere(ctx, b.full(""), func(u types.MultipartUpload) bool {
		key := b.below(aws.ToString(u.Key))
		// Only data objects are large enough for several parts. S3 does not list the metadata of uploads, so only their keys
		// distinguish ours from others.
		_, isData := object.ParseKey(key)
		return u.Initiated != nil && u.Initiated.Before(limit) && (isData || key == checkKey || key == partsKey)
	})
	if err != nil {
		err = b.fail("sweep", "", err)
	}
	if aborted > 0 {
		b.o.Logger.Info("s3ship: aborted multipart uploads that were left behind", "location", b.Location(), "uploads", aborted)
	}
	return aborted, err
}

// abortWhere aborts the uploads below the full key prefix for which ours returns true.
func (b *Destination) abortWhere(ctx context.Context, prefix string, ours func(types.MultipartUpload) bool) (aborted int, err error) {
	pages := s3.NewListMultipartUploadsPaginator(b.client, &s3.ListMultipartUploadsInput{
		Bucket: &b.bucket, Prefix: optional(prefix), ExpectedBucketOwner: b.owner(), RequestPayer: b.payer(),
	})
	var course course
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err == nil {
			next := aws.ToString(page.NextKeyMarker)
			if id := aws.ToString(page.NextUploadIdMarker); id != "" {
				next += "\x00" + id
			}
			err = course.check("ListMultipartUploads", aws.ToBool(page.IsTruncated), next, len(page.Uploads))
		}
		if err != nil {
			return aborted, err
		}
		for _, u := range page.Uploads {
			if !ours(u) {
				continue
			}
			if err := b.abortUpload(ctx, aws.ToString(u.Key), aws.ToString(u.UploadId)); err != nil {
				return aborted, err
			}
			aborted++
		}
	}
	return aborted, nil
}

// abortOnce aborts an upload of this process, or remembers it for later.
func (b *Destination) abortOnce(ctx context.Context, full, id string) error {
	err := b.abortUpload(ctx, full, id)
	if err != nil {
		b.unaborted.add(full, id)
	}
	return err
}

// abortUpload aborts one upload; it is no error if the upload no longer exists.
func (b *Destination) abortUpload(ctx context.Context, full, id string) error {
	_, err := b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &b.bucket, Key: &full, UploadId: &id, ExpectedBucketOwner: b.owner(), RequestPayer: b.payer(),
	})
	if _, gone := errors.AsType[*types.NoSuchUpload](err); gone || code(err) == "NoSuchUpload" {
		return nil
	}
	return err
}
