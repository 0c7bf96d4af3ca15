package s3ship

//lint:file-ignore SA1019 superseded by feature/s3/transfermanager, which is still 0.x; this file is all that must change then

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// uploader sends one object in as many parts as it needs. All of feature/s3/manager that is used is in this file.
type uploader struct{ m *manager.Uploader }

// newUploader sets the manager up so that nothing depends on its own defaults, which have changed between versions.
func newUploader(client *s3.Client, o *Options) uploader {
	return uploader{manager.NewUploader(client, func(u *manager.Uploader) {
		u.PartSize = o.PartSize
		u.Concurrency = o.Concurrency
		// Its own abort runs on the caller's context: a cancelled upload would leave its parts behind.
		u.LeavePartsOnError = true
		// The manager ignores the client's setting for multipart uploads.
		u.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenSupported
		if o.Compat {
			u.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		}
	})}
}

// partSize is the size up to which an object goes in one PutObject.
func (u uploader) partSize() int64 { return u.m.PartSize }

// upload returns the id of a multipart upload that it has not finished, if it knows one.
func (u uploader) upload(ctx context.Context, in *s3.PutObjectInput, opts ...func(*s3.Options)) (unfinished string, err error) {
	_, err = u.m.Upload(ctx, in, manager.WithUploaderRequestOptions(opts...))
	if f, ok := errors.AsType[manager.MultiUploadFailure](err); ok {
		unfinished = f.UploadID()
	}
	return unfinished, err
}
