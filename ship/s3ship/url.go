package s3ship

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/penstock-go/penstock/internal/direct"
)

// parameters are the setters of the URL's parameters. The package documentation describes them.
var parameters = map[string]func(*Options, string) error{
	"endpoint":         func(o *Options, v string) error { o.Endpoint = v; return nil },
	"region":           func(o *Options, v string) error { o.Region = v; return nil },
	"path_style":       boolean(func(o *Options) *bool { return &o.PathStyle }),
	"profile":          func(o *Options, v string) error { o.Profile = v; return nil },
	"ca_file":          func(o *Options, v string) error { o.CAFile = v; return nil },
	"compat":           boolean(func(o *Options) *bool { return &o.Compat }),
	"part_size":        setPartSize,
	"concurrency":      integer(func(o *Options) *int { return &o.Concurrency }),
	"stall_timeout":    duration(func(o *Options) *time.Duration { return &o.StallTimeout }),
	"attempts":         integer(func(o *Options) *int { return &o.Attempts }),
	"sse":              func(o *Options, v string) error { o.Encryption = v; return nil },
	"sse_kms_key_id":   func(o *Options, v string) error { o.KMSKeyID = v; return nil },
	"storage_class":    func(o *Options, v string) error { o.StorageClass = v; return nil },
	"object_lock_mode": func(o *Options, v string) error { o.LockMode = v; return nil },
	"object_lock_for":  duration(func(o *Options) *time.Duration { return &o.LockFor }),
	"tags":             setTags,
	"requester_pays":   boolean(func(o *Options) *bool { return &o.RequesterPays }),
	"bucket_owner":     func(o *Options, v string) error { o.BucketOwner = v; return nil },
	"sweep_age":        duration(func(o *Options) *time.Duration { return &o.SweepAge }),
}

// Open returns the Destination that rawURL names: s3://BUCKET/PREFIX?name=value&…, with the parameters of the package
// documentation and credentials from the AWS default chain (environment, shared files, web identity, container,
// instance role). o gives the defaults; nil is fine.
//
// Open does not use the network: a destination that cannot be reached must not prevent a start. The error joins
// everything that is wrong with the URL and with the files that it names; the user must correct all of it.
func Open(ctx context.Context, rawURL string, o *Options) (*Destination, error) {
	bucket, prefix, opt, err := parse(rawURL, o)
	if err != nil {
		return nil, fmt.Errorf("s3ship: %w", err)
	}
	load := func(ctx context.Context) (aws.Config, error) {
		// The credentials of the instance or the container are requested through this client too.
		client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.Proxy = direct.Proxy })
		fns := []func(*config.LoadOptions) error{config.WithHTTPClient(client)}
		if opt.Region != "" {
			fns = append(fns, config.WithRegion(opt.Region))
		}
		if opt.Profile != "" {
			fns = append(fns, config.WithSharedConfigProfile(opt.Profile))
		}
		return config.LoadDefaultConfig(ctx, fns...)
	}
	cfg, err := load(ctx)
	if err != nil {
		return nil, fmt.Errorf("s3ship: the AWS configuration cannot be used: %w", err)
	}
	b, err := New(cfg, bucket, prefix, opt)
	if err != nil {
		return nil, err
	}
	// An operator who corrects a key in a file need not restart the service.
	b.credentials.reload = func(ctx context.Context) (aws.CredentialsProvider, error) {
		cfg, err := load(ctx)
		return cfg.Credentials, err
	}
	return b, nil
}

// parse parses rawURL. Its errors never quote the URL, which may contain secrets.
func parse(rawURL string, o *Options) (bucket, prefix string, opt *Options, err error) {
	opt = &Options{}
	if o != nil {
		*opt = *o
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", "", nil, errors.New("the URL cannot be read: give s3://BUCKET/PREFIX?name=value")
	}
	var errs []error
	if u.Scheme != "s3" {
		errs = append(errs, fmt.Errorf("the scheme is %q, not s3", u.Scheme))
	}
	if u.User != nil {
		errs = append(errs, errors.New("credentials do not belong into the URL: give them by environment, shared file or role"))
	}
	if u.Fragment != "" {
		errs = append(errs, errors.New("a '#' in the URL begins a fragment, which means nothing here: write %23"))
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		errs = append(errs, fmt.Errorf("the parameters cannot be read: %w", err))
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		set, known := parameters[name]
		switch values := query[name]; {
		case !known:
			errs = append(errs, fmt.Errorf("unknown parameter %q: known are %s", name, strings.Join(slices.Sorted(maps.Keys(parameters)), ", ")))
		case len(values) > 1:
			errs = append(errs, fmt.Errorf("parameter %s is given %d times", name, len(values)))
		case values[0] == "":
			errs = append(errs, fmt.Errorf("parameter %s is empty", name))
		default:
			if err := set(opt, values[0]); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	// Slashes around the prefix are optional; in S3 they would make other keys.
	bucket, prefix = u.Host, strings.Trim(u.Path, "/")
	errs = append(errs, checkPlace(bucket, prefix), opt.withDefaults().validate())
	return bucket, prefix, opt, errors.Join(errs...)
}

// parseEndpoint returns the endpoint in the one form that Location shows: lower-case host, no default port, no slash at
// the end.
func parseEndpoint(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("the endpoint is no URL")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("the endpoint is not http://HOST[:PORT] or https://HOST[:PORT]")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the endpoint has more than scheme, host, port and path")
	}
	u.Host = strings.ToLower(u.Host)
	if port := u.Port(); port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

// boolean, integer and duration are setters of one field, with errors that say what would have been right.
func boolean(field func(*Options) *bool) func(*Options, string) error {
	return func(o *Options, v string) (err error) {
		if *field(o), err = strconv.ParseBool(v); err != nil {
			return fmt.Errorf("%q is neither true nor false", v)
		}
		return nil
	}
}

func integer(field func(*Options) *int) func(*Options, string) error {
	return func(o *Options, v string) (err error) {
		if *field(o), err = strconv.Atoi(v); err != nil {
			return fmt.Errorf("%q is no number", v)
		}
		return nil
	}
}

func duration(field func(*Options) *time.Duration) func(*Options, string) error {
	return func(o *Options, v string) (err error) {
		if *field(o), err = time.ParseDuration(v); err != nil {
			return fmt.Errorf("%q is no duration such as 30s or 720h", v)
		}
		return nil
	}
}

// setPartSize parses a number of bytes, KiB, MiB or GiB.
func setPartSize(o *Options, v string) error {
	number, unit := v, int64(1)
	for suffix, factor := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if n, ok := strings.CutSuffix(v, suffix); ok {
			number, unit = n, factor
		}
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil {
		return fmt.Errorf("%q is no size such as 16MiB", v)
	}
	o.PartSize = n * unit
	return nil
}

// setTags parses the format of the x-amz-tagging header, k=v&k=v, which is escaped once more in a URL.
func setTags(o *Options, v string) error {
	q, err := url.ParseQuery(v)
	if err != nil {
		return fmt.Errorf("%q is not k=v&k=v (escaped: k%%3Dv%%26k%%3Dv)", v)
	}
	o.Tags = map[string]string{}
	for k, values := range q {
		if k == "" || len(values) > 1 {
			return fmt.Errorf("tag %q is empty or given twice", k)
		}
		o.Tags[k] = values[0]
	}
	return nil
}
