package s3ship

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/penstock-go/penstock/ship"
)

// Destination is a place in S3: a bucket and a prefix within it.
type Destination struct {
	o              *Options
	bucket, prefix string
	client         *s3.Client
	uploader       uploader
	credentials    *credentials
	http           *watch
	keys           keyLocks
	warned         atomic.Bool // of missing checksums
	conditions     atomic.Bool // the store has refused to overwrite an object
	unaborted      aborts
	loose          atomic.Bool // the store has overwritten an object in parts, as Ceph's rgw does
}

var (
	_ ship.Destination = (*Destination)(nil)
	_ ship.Lister      = (*Destination)(nil)
	_ ship.ListerAfter = (*Destination)(nil)
	_ ship.Checker     = (*Destination)(nil)
	_ ship.Locator     = (*Destination)(nil)
)

// New returns the Destination below prefix in bucket, for callers that have an aws.Config. New uses its region,
// endpoint, credentials and HTTP client, but not its settings for retries and checksums. It ignores Options.Profile, and
// does not use the network.
func New(cfg aws.Config, bucket, prefix string, o *Options) (*Destination, error) {
	o = o.withDefaults()
	prefix = strings.Trim(prefix, "/")
	if err := errors.Join(checkPlace(bucket, prefix), o.validate()); err != nil {
		return nil, fmt.Errorf("s3ship: %w", err)
	}
	b := &Destination{o: o, bucket: bucket, prefix: prefix, credentials: &credentials{provider: cfg.Credentials}}
	var err error
	if b.http, err = newWatch(cfg.HTTPClient, o); err != nil {
		return nil, fmt.Errorf("s3ship: %w", err)
	}
	b.client = s3.NewFromConfig(cfg, b.configure)
	if b.client.Options().Region == "" {
		return nil, errors.New("s3ship: no region: give region=…, or set AWS_REGION")
	}
	if err := b.checkEndpoint(); err != nil {
		return nil, fmt.Errorf("s3ship: %w", err)
	}
	b.uploader = newUploader(b.client, o)
	return b, nil
}

// configure sets what must not depend on the caller's environment.
func (b *Destination) configure(so *s3.Options) {
	if b.o.Endpoint != "" {
		so.BaseEndpoint = &b.o.Endpoint
	}
	if b.o.Region != "" {
		so.Region = b.o.Region
	} else if so.Region == "" && so.BaseEndpoint != nil {
		so.Region = "us-east-1" // the region that compatible stores without regions expect
	}
	so.UsePathStyle = b.o.PathStyle
	b.ownEndpoint(so)
	so.HTTPClient = b.http
	so.HTTPSignerV4 = b.credentials
	if b.credentials.provider != nil && !aws.IsCredentialsProvider(b.credentials.provider, (*aws.AnonymousCredentials)(nil)) {
		so.Credentials = b.credentials
	}
	so.APIOptions = append(slices.Clip(so.APIOptions), needID)
	// A hand-made aws.Config leaves these at zero, which sends no checksum at all.
	so.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenSupported
	so.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenSupported
	if b.o.Compat {
		so.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		so.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}
	so.DisableLogOutputChecksumValidationSkipped = true
	// The shipper retries indefinitely; the few attempts here only bridge short failures. No token bucket: it would run
	// empty in a long outage, and then fail each request at its first error, long after the outage.
	so.Retryer = retry.NewStandard(func(r *retry.StandardOptions) {
		r.MaxAttempts = b.o.Attempts
		r.MaxBackoff = b.o.maxBackoff
		r.RateLimiter = ratelimit.None
		r.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(retryable)}, r.Retryables...)
	})
	so.Logger = logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
		b.o.Logger.Debug("s3ship: s3 sdk", "msg", fmt.Sprintf(format, v...))
	})
}

// retryable overrides the SDK's decision for errors of which this package knows whether a quick retry helps.
func retryable(err error) aws.Ternary {
	switch code(err) {
	case "ConditionalRequestConflict", "OperationAborted": // two concurrent requests: the one that is repeated gets a clear answer
		return aws.TrueTernary
	}
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() && notSent(err) { // a host that is silent now is silent in a second too
		return aws.FalseTernary
	}
	return aws.UnknownTernary
}

// checkPlace refuses names that S3 does not allow, and prefixes under which keys would not be clean paths.
func checkPlace(bucket, prefix string) error {
	var errs []error
	if !bucketName.MatchString(bucket) {
		errs = append(errs, fmt.Errorf("bucket %q is not 3 to 63 of a-z, 0-9, dot and hyphen (s3://BUCKET/PREFIX)", bucket))
	}
	if strings.HasSuffix(bucket, "--x-s3") {
		errs = append(errs, fmt.Errorf("bucket %q is a directory bucket (S3 Express One Zone), which lists in no order and cannot be audited: use a general purpose bucket", bucket))
	}
	if prefix != "" {
		if err := ship.CheckKey(prefix); err != nil {
			errs = append(errs, fmt.Errorf("prefix: %w", err))
		}
	}
	return errors.Join(errs...)
}

// full returns the bucket's key for a key below the prefix.
func (b *Destination) full(key string) string {
	if b.prefix == "" {
		return key
	}
	return b.prefix + "/" + key
}

// below is the inverse of full.
func (b *Destination) below(full string) string {
	if b.prefix == "" {
		return full
	}
	return strings.TrimPrefix(full, b.prefix+"/")
}

// Location implements ship.Locator: "s3://bucket/prefix", followed by " at https://host" if the endpoint is not Amazon's
// own. Bucket names are unique throughout Amazon S3, so no region is needed to distinguish two places.
func (b *Destination) Location() string {
	loc := "s3://" + b.bucket
	if b.prefix != "" {
		loc += "/" + b.prefix
	}
	if e := b.client.Options().BaseEndpoint; e != nil {
		u, err := parseEndpoint(*e)
		if err != nil { // it is from the environment; the first request will report it
			return loc + " at an unusable endpoint"
		}
		if !amazon(u.Hostname()) {
			loc += " at " + u.String()
		}
	}
	return loc
}

// Close closes idle connections. It is idempotent, and leaves requests in flight alone.
func (b *Destination) Close() error {
	b.http.closeIdle()
	return nil
}

// owner returns the account that must own the bucket, nil for any.
func (b *Destination) owner() *string {
	if b.o.BucketOwner == "" {
		return nil
	}
	return &b.o.BucketOwner
}

// cleanup returns a context for work that must be done even after ctx has ended: with the values of ctx, and
// cleanupTimeout.
func cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
}
