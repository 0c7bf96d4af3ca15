package s3ship

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// credentials are those of the AWS chain. They are read again when they may be invalid: the SDK reads keys from files once
// per process, so an operator who corrects one would have to restart a service that is receiving.
type credentials struct {
	// reload is nil if the provider came from an aws.Config.
	reload func(context.Context) (aws.CredentialsProvider, error)

	mu       sync.Mutex
	provider aws.CredentialsProvider
	signer   *v4.Signer
	doubted  doubt
	read     time.Time       // when they were last suspected
	last     aws.Credentials // that were given out, and not refused since
}

// doubt says why credentials are read again.
type doubt uint8

const (
	noDoubt doubt = iota
	// suspected: a refusal that may be about the credentials. Stores report bad credentials in many ways (rgw says
	// AccessDenied, versitygw 404 XAdminUserNotFound), and most refusals have other reasons. So this happens at most once a
	// minute, and the current credentials stay in use if no others can be read.
	suspected
	// certain: the store has said that the credentials are invalid, or there were none.
	certain
)

// suspicion is how often credentials are read again for refusals that may have other reasons.
const suspicion = time.Minute

// credentialsError is a failure to get any credentials at all.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "no credentials: " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// Retrieve implements aws.CredentialsProvider.
func (c *credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	p, err := c.current(ctx)
	var v aws.Credentials
	if err == nil {
		v, err = p.Retrieve(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.last = v
		return v, nil
	case c.last.HasKeys() && !c.last.Expired():
		return c.last, nil // the store has not called them invalid
	}
	return v, &credentialsError{err}
}

// current returns the provider to ask: after a doubt, a new one, or with an empty cache.
func (c *credentials) current(ctx context.Context) (aws.CredentialsProvider, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.doubted == noDoubt {
		return c.provider, nil
	}
	if c.reload != nil {
		p, err := c.reload(ctx)
		if err != nil {
			return nil, err
		}
		c.provider = p
	} else if cache, ok := c.provider.(*aws.CredentialsCache); ok {
		cache.Invalidate()
	}
	c.signer, c.doubted = nil, noDoubt
	return c.provider, nil
}

// doubt makes the next request read the credentials again.
func (c *credentials) doubt(why doubt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case why == certain:
		c.last = aws.Credentials{}
	case now.Sub(c.read) < suspicion:
		return
	default:
		c.read = now
	}
	c.doubted = max(c.doubted, why)
}

// SignHTTP implements s3.HTTPSignerV4. The SDK's signer caches the key that it has derived for an access key id, so a
// corrected secret with the same id would have no effect. Newly read credentials therefore get a new signer.
func (c *credentials) SignHTTP(ctx context.Context, v aws.Credentials, r *http.Request, payloadHash, service, region string, t time.Time, opts ...func(*v4.SignerOptions)) error {
	c.mu.Lock()
	if c.signer == nil {
		c.signer = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }) // S3 signs paths as they are sent
	}
	signer := c.signer
	c.mu.Unlock()
	// Accept-Encoding is not signed: front ends such as Google's rewrite it, and the store would then refuse the signature.
	// It is still sent, since it keeps them from compressing bytes that are to be verified.
	const name = "Accept-Encoding"
	accept, present := r.Header[name]
	r.Header.Del(name)
	err := signer.SignHTTP(ctx, v, r, payloadHash, service, region, t, opts...)
	if present {
		r.Header[name] = accept
	}
	return err
}
