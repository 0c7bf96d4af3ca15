package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// calls are the methods of the SDK's client that a reaper uses. A test compares the policies in the templates with them.
type calls interface {
	ec2.DescribeVolumesAPIClient
	AttachVolume(context.Context, *ec2.AttachVolumeInput, ...func(*ec2.Options)) (*ec2.AttachVolumeOutput, error)
	DetachVolume(context.Context, *ec2.DetachVolumeInput, ...func(*ec2.Options)) (*ec2.DetachVolumeOutput, error)
	CreateTags(context.Context, *ec2.CreateTagsInput, ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error)
	DeleteVolume(context.Context, *ec2.DeleteVolumeInput, ...func(*ec2.Options)) (*ec2.DeleteVolumeOutput, error)
}

// cloud is EC2 from the point of view of this instance.
type cloud struct {
	calls
	instance, zone, fleet string
}

var (
	_ Lister   = (*cloud)(nil)
	_ Attacher = (*cloud)(nil)
	_ Keeper   = (*cloud)(nil)
)

// callTimeout bounds one request. The SDK does not limit the time for the response.
const callTimeout = 20 * time.Second

// connect asks the metadata service for the identity of this instance. It uses the instance's region: AWS_REGION may be the
// bucket's.
func connect(ctx context.Context, fleet string) (*cloud, *metadata, error) {
	client := awshttp.NewBuildableClient().WithTimeout(callTimeout)
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(client))
	if err != nil {
		return nil, nil, err
	}
	m := &metadata{imds.NewFromConfig(cfg, func(o *imds.Options) {
		o.EnableFallback = aws.FalseTernary // IMDSv2 only
		o.HTTPClient = client.WithTimeout(2 * time.Second).WithTransportOptions(func(t *http.Transport) { t.Proxy = nil })
	})}
	doc, err := m.c.GetInstanceIdentityDocument(ctx, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("which instance is this? the metadata service says: %w", err)
	}
	return newCloud(cfg, doc.Region, doc.InstanceID, doc.AvailabilityZone, fleet), m, nil
}

// newCloud makes the SDK's client. It retries patiently: all reapers share the account's request limits, and nothing is urgent.
func newCloud(cfg aws.Config, region, instance, zone, fleet string, change ...func(*ec2.Options)) *cloud {
	c := ec2.NewFromConfig(cfg, append([]func(*ec2.Options){func(o *ec2.Options) {
		o.Region = region
		o.Retryer = retry.NewAdaptiveMode(func(a *retry.AdaptiveModeOptions) {
			a.StandardOptions = append(a.StandardOptions, func(s *retry.StandardOptions) { s.MaxAttempts = 6 })
		})
	}}, change...)...)
	return &cloud{c, instance, zone, fleet}
}

// Volumes implements Lister.
func (c *cloud) Volumes(ctx context.Context) (all []Volume, err error) {
	filter := func(name, value string) types.Filter {
		return types.Filter{Name: &name, Values: []string{value}}
	}
	pages := ec2.NewDescribeVolumesPaginator(c.calls, &ec2.DescribeVolumesInput{
		Filters:    []types.Filter{filter("tag:"+tagFleet, c.fleet), filter("availability-zone", c.zone)},
		MaxResults: aws.Int32(500), // without it, EC2 may time out on the whole list
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for i := range page.Volumes {
			all = append(all, volumeOf(&page.Volumes[i]))
		}
	}
	return all, nil
}

func volumeOf(x *types.Volume) Volume {
	v := Volume{
		ID: aws.ToString(x.VolumeId), Zone: aws.ToString(x.AvailabilityZone), State: string(x.State), Created: aws.ToTime(x.CreateTime),
		Tags: map[string]string{},
	}
	for _, t := range x.Tags {
		v.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	for _, a := range x.Attachments {
		if a.State != types.VolumeAttachmentStateDetached {
			v.Attached = &Attachment{aws.ToString(a.InstanceId), aws.ToString(a.Device), string(a.State), aws.ToTime(a.AttachTime)}
		}
	}
	return v
}

// Attach implements Attacher.
func (c *cloud) Attach(ctx context.Context, volume, device string) error {
	_, err := c.AttachVolume(ctx, &ec2.AttachVolumeInput{VolumeId: &volume, InstanceId: &c.instance, Device: &device})
	return meaning(err)
}

// Detach implements Attacher. It never forces a detachment, which would remove the device while it is mounted.
func (c *cloud) Detach(ctx context.Context, volume, device string) error {
	_, err := c.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: &volume, InstanceId: &c.instance, Device: &device})
	if err = meaning(err); errors.Is(err, ErrTaken) {
		return nil // IncorrectState: it is free already
	}
	return err
}

// Tag implements Keeper.
func (c *cloud) Tag(ctx context.Context, volume string, tags map[string]string) error {
	in := &ec2.CreateTagsInput{Resources: []string{volume}}
	for k, v := range tags {
		in.Tags = append(in.Tags, types.Tag{Key: &k, Value: &v})
	}
	_, err := c.CreateTags(ctx, in)
	return meaning(err)
}

// Delete implements Keeper.
func (c *cloud) Delete(ctx context.Context, volume string) error {
	_, err := c.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: &volume})
	return meaning(err)
}

// meaning adds what an EC2 error means to a reaper.
func meaning(err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	var is error
	switch api.ErrorCode() {
	case "InvalidVolume.NotFound":
		is = ErrGone
	case "VolumeInUse", "IncorrectState":
		is = ErrTaken
	case "AttachmentLimitExceeded":
		is = ErrFull
	case "InvalidDevice.InUse":
		is = ErrDevice
	case "InvalidParameterValue":
		if !strings.Contains(api.ErrorMessage(), "already in use") {
			return err
		}
		is = ErrDevice
	default:
		return err
	}
	return fmt.Errorf("%w: %w", is, err)
}

// metadata is the metadata service of the instance.
type metadata struct{ c *imds.Client }

// leaving reports whether the group is about to terminate the instance. For an instance without a group it returns false.
func (m *metadata) leaving(ctx context.Context) (bool, error) {
	out, err := m.c.GetMetadata(ctx, &imds.GetMetadataInput{Path: "autoscaling/target-lifecycle-state"})
	var resp *smithyhttp.ResponseError
	if errors.As(err, &resp) && resp.HTTPStatusCode() == http.StatusNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer out.Content.Close()
	b, err := io.ReadAll(io.LimitReader(out.Content, 1<<10))
	return strings.TrimSpace(string(b)) != "InService", err
}
