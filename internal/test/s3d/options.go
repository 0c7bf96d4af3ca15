package s3d

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"time"
)

// Options configure a Server. Nil and zero values mean the documented defaults.
type Options struct {
	// Buckets that exist; they are created by New. Default: one, "penstock".
	Buckets []string
	// AccessKey and SecretKey of the one account. Default "penstock" and "penstock-secret".
	AccessKey, SecretKey string
	// Region that requests must be signed for. Default "us-east-1".
	Region string
	// Addr that Start listens on; loopback only. Default "127.0.0.1:0", a free port.
	Addr string
	// MinPartBytes is the least size of every part of a multipart upload but the last. Default 5 MiB, as S3 has it.
	MinPartBytes int64
	// MaxBodyBytes bounds the body of one PutObject or UploadPart. Default 5 GiB, as S3 has it.
	MaxBodyBytes int64
	// IdleTimeout ends a connection on which nothing has moved for so long. Default 30 s.
	IdleTimeout time.Duration
	// Fault is called once for each request, and says how the request fails. It does not fail if Fault is nil or returns a zero
	// Fault.
	Fault func(*http.Request) Fault
	// Logger gets refused requests (debug) and failures of the disk (error). nil discards.
	Logger *slog.Logger
}

// bucketName is from "Bucket naming rules". None begins with a dot: the hidden directory is safe from them.
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// withDefaults returns a copy with the documented defaults.
func (o *Options) withDefaults() *Options {
	d := Options{}
	if o != nil {
		d = *o
	}
	if len(d.Buckets) == 0 {
		d.Buckets = []string{"penstock"}
	}
	if d.AccessKey == "" && d.SecretKey == "" {
		d.AccessKey, d.SecretKey = "penstock", "penstock-secret"
	}
	if d.Region == "" {
		d.Region = "us-east-1"
	}
	if d.Addr == "" {
		d.Addr = "127.0.0.1:0"
	}
	if d.MinPartBytes == 0 {
		d.MinPartBytes = 5 << 20
	}
	if d.MaxBodyBytes == 0 {
		d.MaxBodyBytes = 5 << 30
	}
	if d.IdleTimeout == 0 {
		d.IdleTimeout = 30 * time.Second
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return &d
}

// validate joins everything that is wrong.
func (o *Options) validate() error {
	var errs []error
	for _, b := range o.Buckets {
		if !bucketName.MatchString(b) {
			errs = append(errs, fmt.Errorf("s3d: bucket name %q is not 3 to 63 of a-z, 0-9, dot and hyphen", b))
		}
	}
	if o.AccessKey == "" || o.SecretKey == "" {
		errs = append(errs, errors.New("s3d: AccessKey and SecretKey go together"))
	}
	if o.MinPartBytes < 0 || o.MaxBodyBytes < 0 || o.IdleTimeout < 0 {
		errs = append(errs, errors.New("s3d: MinPartBytes, MaxBodyBytes and IdleTimeout must not be negative"))
	}
	host, _, err := net.SplitHostPort(o.Addr)
	if err != nil {
		errs = append(errs, fmt.Errorf("s3d: Addr: %w", err))
	} else if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		errs = append(errs, fmt.Errorf("s3d: Addr %q is not on loopback", o.Addr))
	}
	return errors.Join(errs...)
}
