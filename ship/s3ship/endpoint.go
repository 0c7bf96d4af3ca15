package s3ship

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// ownEndpoint switches off settings for Amazon's endpoints if the endpoint of another store is set. Hosts have these
// settings in the environment or in the shared configuration for everything that talks to AWS (AWS_USE_FIPS_ENDPOINT,
// AWS_USE_DUALSTACK_ENDPOINT), and the SDK refuses every request that has both.
func (b *Destination) ownEndpoint(so *s3.Options) {
	e := &so.EndpointOptions
	if so.BaseEndpoint == nil {
		return
	}
	fips, dual := e.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled, e.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled
	if !fips && !dual {
		return
	}
	e.UseFIPSEndpoint, e.UseDualStackEndpoint = aws.FIPSEndpointStateDisabled, aws.DualStackEndpointStateDisabled
	b.o.Logger.Info("s3ship: ignoring the FIPS or dual-stack setting, which is for Amazon's endpoints only", "endpoint", *so.BaseEndpoint, "fips", fips, "dual_stack", dual)
}

// checkEndpoint finds out, without the network, whether there is an endpoint for these settings at all. Otherwise the SDK
// would report it only at each request, in an error that looks temporary.
func (b *Destination) checkEndpoint() error {
	so := b.client.Options()
	_, err := so.EndpointResolverV2.ResolveEndpoint(context.Background(), s3.EndpointParameters{
		Bucket: &b.bucket, Region: &so.Region, Endpoint: so.BaseEndpoint, ForcePathStyle: &so.UsePathStyle,
		UseFIPS:      aws.Bool(so.EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled),
		UseDualStack: aws.Bool(so.EndpointOptions.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled),
	})
	if err != nil {
		return fmt.Errorf("there is no endpoint for bucket %s in region %s: correct the region, the endpoint, or what the environment says of FIPS and dual-stack: %w", b.bucket, so.Region, err)
	}
	return nil
}
