package s3ship

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/penstock-go/penstock/internal/steadylog"
)

// Options configure a Destination. Nil and zero values mean the documented defaults. A parameter of the URL given to Open
// overrides the field of the same meaning.
type Options struct {
	// Endpoint is the base URL of an S3-compatible store. Empty: Amazon S3, or what AWS_ENDPOINT_URL_S3 and the shared
	// configuration say.
	Endpoint string
	// Region that requests are signed for. Empty: from the environment or the shared configuration; with an Endpoint
	// "us-east-1".
	Region string
	// PathStyle puts the bucket into the path instead of the host name, as most compatible stores want it.
	PathStyle bool
	// Profile of the shared AWS configuration; only Open uses it.
	Profile string
	// CAFile is a PEM file of certificate authorities to be trusted instead of the system's.
	CAFile string

	// Compat is for older compatible stores that do not know full-object checksums or conditional writes: neither is
	// sent, and an upload is verified by reading the object back. See the package documentation for what is lost.
	Compat bool

	// PartSize is the size in bytes above which an object is sent in several parts: 5 MiB to 5 GiB, default 64 MiB. It
	// grows by itself for objects of more than 10,000 parts. One request is cheaper than several, and faster if several
	// objects are in flight anyway: nothing is hashed twice, and the store assembles nothing. Smaller parts only help if 64
	// MiB seldom get through.
	PartSize int64
	// Concurrency is how many parts of one object are in flight at once. Default 4. Parts are read from the staged file as
	// they are sent; they take no memory.
	Concurrency int
	// StallTimeout ends a request in which no byte has moved for that long. Default 30 s, at least 1 s.
	StallTimeout time.Duration
	// Attempts per request before the caller gets the error; the shipper retries indefinitely. Default 3.
	Attempts int

	// Encryption at rest: "AES256", "aws:kms" or "aws:kms:dsse". Empty: the bucket's default.
	Encryption string
	// KMSKeyID is the key of aws:kms, an id, alias or ARN. Empty: the account's key for S3.
	KMSKeyID string
	// StorageClass of the objects, such as "STANDARD_IA". Empty: STANDARD. The archive classes that must be restored
	// before reading (GLACIER, DEEP_ARCHIVE) are refused: an auditor could not read the chain.
	StorageClass string
	// LockMode "GOVERNANCE" or "COMPLIANCE" locks each object against deletion for LockFor. The bucket must have been
	// created with Object Lock.
	LockMode string
	LockFor  time.Duration
	// Tags of every object, 10 at most.
	Tags map[string]string
	// RequesterPays says that this account pays for requests to a bucket that demands it.
	RequesterPays bool
	// BucketOwner is the 12-digit account that must own the bucket: a bucket of that name that another account owns is
	// refused.
	BucketOwner string

	// SweepAge is how old an unfinished multipart upload must be for Sweep to abort it. Default 24 h, at least 1 h.
	SweepAge time.Duration
	// Logger gets what the operator should know. nil discards. Secrets are never logged.
	Logger *slog.Logger

	// maxBackoff between attempts; tests shorten it.
	maxBackoff time.Duration
}

// bucketName is what Amazon S3 allows in a general purpose bucket ("Bucket naming rules"); compatible stores allow no more.
var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	accountID  = regexp.MustCompile(`^\d{12}$`)
)

// withDefaults returns a copy, so that the caller may use its Options for other buckets too.
func (o *Options) withDefaults() *Options {
	d := Options{}
	if o != nil {
		d = *o
	}
	if d.PartSize == 0 {
		d.PartSize = 64 << 20
	}
	if d.Concurrency == 0 {
		d.Concurrency = 4
	}
	if d.StallTimeout == 0 {
		d.StallTimeout = 30 * time.Second
	}
	if d.Attempts == 0 {
		d.Attempts = 3
	}
	if d.maxBackoff == 0 {
		d.maxBackoff = 2 * time.Second // the shipper waits longer between its own attempts
	}
	if d.SweepAge == 0 {
		d.SweepAge = 24 * time.Hour
	}
	if d.KMSKeyID != "" && d.Encryption == "" {
		d.Encryption = string(types.ServerSideEncryptionAwsKms)
	}
	d.Logger = steadylog.Wrap(d.Logger)
	return &d
}

// validate joins everything that is wrong, so that it can be corrected in one go.
func (o *Options) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Endpoint != "" {
		if _, err := parseEndpoint(o.Endpoint); err != nil {
			errs = append(errs, err)
		}
	}
	if o.PartSize < 5<<20 || o.PartSize > 5<<30 {
		bad("part_size of %d bytes is not from 5 MiB to 5 GiB", o.PartSize)
	}
	if o.Concurrency < 1 || o.Concurrency > 64 {
		bad("concurrency %d is not from 1 to 64", o.Concurrency)
	}
	if o.StallTimeout < time.Second {
		bad("stall_timeout %v is below 1s", o.StallTimeout)
	}
	if o.Attempts < 1 || o.Attempts > 10 {
		bad("attempts %d is not from 1 to 10", o.Attempts)
	}
	if o.SweepAge < time.Hour {
		bad("sweep_age %v is below 1h: an upload under way could be taken for a forgotten one", o.SweepAge)
	}
	if e := types.ServerSideEncryption(o.Encryption); e != "" && !slices.Contains(
		[]types.ServerSideEncryption{types.ServerSideEncryptionAes256, types.ServerSideEncryptionAwsKms, types.ServerSideEncryptionAwsKmsDsse}, e) {
		bad("sse %q is not AES256, aws:kms or aws:kms:dsse", o.Encryption)
	}
	if o.KMSKeyID != "" && o.Encryption == string(types.ServerSideEncryptionAes256) {
		bad("sse_kms_key_id needs sse=aws:kms")
	}
	if c := types.StorageClass(o.StorageClass); c == types.StorageClassGlacier || c == types.StorageClassDeepArchive {
		bad("storage_class %s must be restored before it can be read: use GLACIER_IR, or a lifecycle rule for data that has been audited", c)
	} else if c != "" && !slices.Contains(c.Values(), c) {
		bad("storage_class %q is none of %v", o.StorageClass, c.Values())
	}
	if m := types.ObjectLockMode(o.LockMode); m != "" && !slices.Contains(m.Values(), m) {
		bad("object_lock_mode %q is not GOVERNANCE or COMPLIANCE", o.LockMode)
	}
	if (o.LockMode != "") != (o.LockFor > 0) {
		bad("object_lock_mode and object_lock_for go together")
	}
	if len(o.Tags) > 10 {
		bad("%d tags, 10 are allowed", len(o.Tags))
	}
	if o.BucketOwner != "" && !accountID.MatchString(o.BucketOwner) {
		bad("bucket_owner %q is not an account of 12 digits", o.BucketOwner)
	}
	return errors.Join(errs...)
}

// tagging returns Tags in the format of the x-amz-tagging header.
func (o *Options) tagging() string {
	v := url.Values{}
	for k, t := range o.Tags {
		v.Set(k, t)
	}
	return v.Encode()
}
