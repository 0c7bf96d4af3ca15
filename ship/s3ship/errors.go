package s3ship

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"

	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/penstock-go/penstock/ship"
)

// permissions are the IAM permissions that operations need. Those that are not listed, such as for parts, need
// s3:PutObject.
var permissions = map[string]string{
	"HeadObject":           "s3:GetObject",
	"GetObject":            "s3:GetObject",
	"AbortMultipartUpload": "s3:AbortMultipartUpload",
	"ListObjectsV2":        "s3:ListBucket",
	"ListMultipartUploads": "s3:ListBucketMultipartUploads",
}

// fail adds the place to an error, turns absence into fs.ErrNotExist, and makes it permanent if only an operator can
// help. It never contains a secret: the SDK's errors carry code, message and request id.
func (b *Destination) fail(verb, key string, err error) error {
	place := "s3://" + b.bucket + "/" + b.full(key)
	if isAbsent(err) {
		return fmt.Errorf("s3ship: %s %s: %w", verb, place, fs.ErrNotExist)
	}
	for _, told := range []error{ship.ErrConflict, ship.ErrVerify} {
		if errors.Is(err, told) {
			return fmt.Errorf("s3ship: %s %s: %w", verb, place, err)
		}
	}
	if damaged(err) {
		return fmt.Errorf("s3ship: %s %s: %w: the store received other bytes than were announced: %w", verb, place, ship.ErrVerify, err)
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("s3ship: %s %s: %w", verb, place, err)
	}
	// Before the check for a deadline: without a metadata service, the request for credentials times out, and an
	// operator who then provides a file with credentials would have to restart.
	if _, missing := errors.AsType[*credentialsError](err); missing || badCredentials[code(err)] != "" {
		b.credentials.doubt(certain)
	} else if unwelcome(err) {
		b.credentials.doubt(suspected)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("s3ship: %s %s: %w", verb, place, err)
	}
	cure := b.cure(err)
	if cure == "" {
		return fmt.Errorf("s3ship: %s %s: %w%s", verb, place, err, b.hint(err))
	}
	return ship.Permanent(fmt.Errorf("s3ship: %s %s: %w: %s", verb, place, err, cure))
}

// badCredentials are the error codes that are about credentials, with their cures.
var badCredentials = map[string]string{
	"InvalidAccessKeyId":          "the access key is not known there: correct it",
	"SignatureDoesNotMatch":       "the secret key does not belong to the access key: correct it",
	"InvalidToken":                "the session token is not valid: renew the credentials",
	"ExpiredToken":                "the credentials have expired: renew them",
	"ExpiredTokenException":       "the credentials have expired: renew them",
	"TokenRefreshRequired":        "the session token must be renewed",
	"InvalidClientTokenId":        "the credentials are not known there: correct them",
	"UnrecognizedClientException": "the credentials are not known there: correct them",
	"InvalidSecurity":             "the credentials are not valid: correct them",
}

// cure says what an operator must do, "" for an error that may pass by itself.
func (b *Destination) cure(err error) string {
	c := code(err)
	if s := badCredentials[c]; s != "" {
		return s
	}
	var pending *credentialsError
	if errors.As(err, &pending) {
		if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() || status(err) >= 500 {
			return "" // the service that provides them is unavailable
		}
		return "give credentials by environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), shared file or role"
	}
	if s := tlsCure(err) + strangerCure(err); s != "" {
		return s
	}
	// From "List of error codes" in the Amazon S3 API reference.
	switch c {
	case "NoSuchBucket":
		return "create the bucket, or correct its name or the endpoint"
	case "InvalidBucketName":
		return "correct the bucket's name"
	case "RequestTimeTooSkewed":
		return "set this host's clock (NTP)"
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		return "the bucket is in another region: give region=…"
	case "InvalidObjectState":
		return "the object is in an archive class: restore it; a restored volume, a copy or an adopter reads what others have delivered"
	case "QuotaExceeded": // Ceph's, with 403
		return "the quota of the bucket or its owner is used up: raise it"
	case "EntityTooLarge":
		return "the store takes no object or part of this size: lower part_size, or the size of segments"
	case "InvalidRequest", "InvalidArgument", "InvalidStorageClass", "InvalidTag", "NotImplemented", "MethodNotAllowed", "UnsupportedArgument":
		return "the store refuses what it was asked for: check sse, storage_class, object_lock_mode and tags; if it is an older compatible one, add compat=true"
	}
	if strings.HasPrefix(c, "KMS.") {
		return "make the KMS key usable for this role: kms:GenerateDataKey and kms:Decrypt, key enabled, same region"
	}
	switch status(err) {
	case 301:
		return "the bucket is in another region: give region=…"
	case 401, 403:
		return b.permissionCure(err)
	case 501:
		return "the store does not know this request: if it is an older compatible one, add compat=true"
	}
	return ""
}

// hint returns advice for errors that may pass by themselves, but often do not.
func (b *Destination) hint(err error) string {
	if isForeign(err) {
		return " (an outage passes by itself; otherwise check the endpoint, and the proxies and firewalls in front of it)"
	}
	if b.o.Endpoint != "" && status(err) == 0 && closed(err) {
		return " (the connection was closed without an answer: if this goes on, see whether the port speaks TLS, and whether it is the store's)"
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound && b.o.Endpoint != "" && !b.o.PathStyle {
		return " (if the store has no host name for each bucket, add path_style=true)"
	}
	return ""
}

// permissionCure names the permissions that the refused operation needs.
func (b *Destination) permissionCure(err error) string {
	op := operation(err)
	resource := b.arn("")
	if !strings.HasPrefix(op, "List") {
		resource = b.arn("/" + b.full("*"))
	}
	need, ok := permissions[op]
	if !ok {
		need = "s3:PutObject"
		if len(b.o.Tags) > 0 {
			need += ", s3:PutObjectTagging"
		}
		if b.o.LockMode != "" {
			need += ", s3:PutObjectRetention"
		}
		if strings.HasPrefix(b.o.Encryption, "aws:kms") {
			need += ", and kms:GenerateDataKey and kms:Decrypt on the key"
		}
	}
	s := "allow " + need + " on " + resource
	if need == "s3:GetObject" {
		s += " (without s3:ListBucket on the bucket an absent object is answered in the same way)"
	}
	if b.o.BucketOwner != "" {
		s += "; or the bucket does not belong to account " + b.o.BucketOwner
	}
	return s
}

// tlsCure is cure for handshake failures that do not pass by themselves.
func tlsCure(err error) string {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return "the endpoint does not speak TLS on this port: write http:// or correct the port"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the endpoint's certificate is signed by an unknown authority: give it by ca_file=…"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the endpoint's certificate is not valid for it: correct the endpoint or the certificate"
	}
	return ""
}

// operation is the API's name of the request that failed.
func operation(err error) string {
	if e, ok := errors.AsType[*smithy.OperationError](err); ok {
		return e.Operation()
	}
	return ""
}

// code is the S3 error code, "" if the error is not an answer of the store.
func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}

// status is the HTTP status of an answer that was an error, 0 if there was none.
func status(err error) int {
	if e, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		return e.HTTPStatusCode()
	}
	return 0
}

// isAbsent reports whether the object is not there. After a HEAD, it may also be the bucket that is missing.
func isAbsent(err error) bool {
	return status(err) == 404 && (code(err) == "NotFound" || code(err) == "NoSuchKey")
}

// unwelcome reports whether an error is a refusal that may be about the credentials.
func unwelcome(err error) bool {
	switch code(err) {
	case "NoSuchBucket", "NoSuchKey", "NoSuchUpload", "NotFound":
		return false
	}
	switch s := status(err); s {
	case 408, 409, 412, 416, 429:
		return false
	default:
		return s >= 400 && s < 500
	}
}

// mute reports whether an error may be a HEAD's refusal, which does not say why.
func mute(err error) bool {
	switch status(err) {
	case 301, 400, 401, 403, 404:
		return true
	}
	return false
}

// damaged reports whether the store computed another checksum than ours.
func damaged(err error) bool {
	switch code(err) {
	case "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch":
		return true
	}
	return false
}

// notSent reports whether there was never a connection, so that nothing was sent.
func notSent(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "dial"
}

// refused reports whether an upload has certainly not succeeded, or whether its outcome cannot be found out now: another
// HeadObject would only cost time. The next Put begins with one.
func refused(err error) bool {
	if damaged(err) || notSent(err) || errors.Is(err, ship.ErrVerify) {
		return true
	}
	if _, ok := errors.AsType[*bodyError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*stallError](err); ok {
		return true
	}
	switch s := status(err); s {
	// 404: a CompleteMultipartUpload whose response was lost has finished the upload. 408 and 429 say nothing about it.
	case 0, 404, 408, 409, 412, 429:
		return false
	default:
		return s < 500
	}
}
