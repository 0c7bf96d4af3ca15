// Package s3d is a small S3 endpoint in one process, for the quickstart and for tests.
//
// It implements the part of the protocol that Penstock needs, and does not pretend: it verifies every checksum, condition and
// signature that a client sends, a key never shows partial content, and requests that it does not implement are answered with
// NotImplemented. So a test that passes here has proven something.
//
//   - Path-style addresses, buckets fixed at New; PutObject, GetObject (ranges), HeadObject, DeleteObject, ListObjectsV2,
//     HeadBucket, and multipart uploads (create, upload part, complete, abort, list).
//   - `If-None-Match: *` on PutObject and CompleteMultipartUpload, decided at the moment of publishing.
//   - Signature version 4 in the Authorization header, with the time within 15 minutes of the server's; the body's
//     SHA-256, Content-MD5, x-amz-checksum-*, and aws-chunked bodies with signed chunks and trailers.
//   - [Fault] lets a test break any request in the ways that networks and stores do.
//
// Objects are plain files below the directory given to [New], at BUCKET/KEY, so that a person can look at them. Their metadata is
// in a hidden directory. A key that would be both a file and a directory is refused, which is the one substantial difference
// from S3. Nothing is fsynced: do not keep data here.
//
// Sources: the Amazon S3 API reference; "Signature Calculations for the Authorization Header" and "Checking object
// integrity" in the Amazon S3 user guide.
package s3d
