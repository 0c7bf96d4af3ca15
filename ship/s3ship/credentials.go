package s3ship

import (
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// credentials are those of the AWS chain, read anew once they were found not to be good. The SDK reads keys from
// files once per process; an operator who corrects one would otherwise have to restart a service that is receiving.
type credentials struct {
	// reload is nil where the provider came from an aws.Config.
	reload func(context.Context) (aws.CredentialsProvider, error)

	mu       sync.Mutex
	provider aws.CredentialsProvider
	stale    bool
}

// credentialsError is a failure to get any credentials at all.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "no credentials: " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// Retrieve implements aws.CredentialsProvider.
func (c *credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	p, err := c.current(ctx)
	if err != nil {
		return aws.Credentials{}, &credentialsError{err}
	}
	v, err := p.Retrieve(ctx)
	if err != nil {
		return v, &credentialsError{err}
	}
	return v, nil
}

func (c *credentials) current(ctx context.Context) (aws.CredentialsProvider, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stale {
		if c.reload != nil {
			p, err := c.reload(ctx)
			if err != nil {
				return nil, err
			}
			c.provider = p
		} else if cache, ok := c.provider.(*aws.CredentialsCache); ok {
			cache.Invalidate()
		}
		c.stale = false
	}
	return c.provider, nil
}

// doubt makes the next request read the credentials anew.
func (c *credentials) doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stale = true
}
