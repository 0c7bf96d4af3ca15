package asg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/penstock-go/penstock/internal/direct"
)

// connect makes the SDK's clients. The group is in the instance's own region, which the metadata names; AWS_REGION may be
// that of a bucket. The client of the API uses the proxy of the environment; that of the metadata service never uses one.
func connect(ctx context.Context) (Metadata, Service, error) {
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.Proxy = direct.Proxy })
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(client))
	if err != nil {
		return nil, nil, fmt.Errorf("asg: %w", err)
	}
	meta := metadata{imds.NewFromConfig(cfg, func(o *imds.Options) {
		o.EnableFallback = aws.FalseTernary // IMDSv2 only: a proxy that can be made to fetch a URL cannot fetch a token
		o.HTTPClient = client.WithTimeout(metadataTimeout).WithTransportOptions(func(t *http.Transport) { t.Proxy = nil })
		o.Retryer = aws.NopRetryer{} // the callers retry: each second, or after a pause
	})}
	region, err := meta.Get(ctx, "placement/region")
	if errors.Is(err, fs.ErrNotExist) && cfg.Region != "" {
		region, err = cfg.Region, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return meta, service{autoscaling.NewFromConfig(cfg, patient, func(o *autoscaling.Options) { o.Region = region })}, nil
}

// metadataTimeout bounds a request to the metadata service, which answers within milliseconds if at all.
const metadataTimeout = 2 * time.Second

// callTimeout bounds one request to the API. The SDK does not bound the wait for the response: if a connection went
// silent, Finish could not try again, and the group would get no answer, until CompleteTimeout ends.
const callTimeout = 10 * time.Second

func patient(o *autoscaling.Options) {
	if c, ok := o.HTTPClient.(*awshttp.BuildableClient); ok {
		o.HTTPClient = c.WithTimeout(callTimeout)
	}
}

type metadata struct{ c *imds.Client }

// maxMetadata bounds how many bytes of a value are read.
const maxMetadata = 64 << 10

func (m metadata) Get(ctx context.Context, path string) (string, error) {
	out, err := m.c.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
	var resp *smithyhttp.ResponseError
	if errors.As(err, &resp) && resp.HTTPStatusCode() == http.StatusNotFound {
		return "", fmt.Errorf("asg: metadata %s: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return "", fmt.Errorf("asg: metadata %s: %w%s", path, err, cure(err))
	}
	defer out.Content.Close()
	b, err := io.ReadAll(io.LimitReader(out.Content, maxMetadata))
	if err != nil {
		return "", fmt.Errorf("asg: metadata %s: %w", path, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// cure returns how to fix an error of the metadata service. The SDK hides the failure of the token request from
// errors.As, so cure has to search the text. If the token request was not answered, the SDK asks once without a token
// (401).
func cure(err error) string {
	const modify = "aws ec2 modify-instance-metadata-options --instance-id ID "
	text := err.Error()
	switch {
	case strings.Contains(text, "StatusCode: 403"):
		return " (the metadata service of this instance is turned off: " + modify + "--http-endpoint enabled)"
	case strings.Contains(text, "StatusCode: 401"), strings.Contains(text, "getToken") && strings.Contains(text, "timeout"):
		// The response with the token has a time to live of HttpPutResponseHopLimit, so with 1 it does not pass a
		// container's bridge.
		return " (no token: in a container, the instance's hop limit of 1 is the likely reason: " + modify +
			"--http-put-response-hop-limit 2; or run without this lifecycle)"
	}
	return ""
}

type service struct{ c *autoscaling.Client }

var _ Protector = service{}

// Region returns the region in which the service looks for the instance's group.
func (s service) Region() string { return s.c.Options().Region }

func (s service) Instance(ctx context.Context, id string) (Instance, error) {
	out, err := s.c.DescribeAutoScalingInstances(ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		return Instance{}, fmt.Errorf("asg: describe instance %s: %w", id, err)
	}
	for _, i := range out.AutoScalingInstances {
		if aws.ToString(i.InstanceId) == id {
			return Instance{aws.ToString(i.AutoScalingGroupName), aws.ToString(i.LifecycleState)}, nil
		}
	}
	return Instance{}, nil
}

func (s service) Settings(ctx context.Context, group string) (Settings, error) {
	var st Settings
	groups, err := s.c.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{group}})
	if err != nil {
		return st, fmt.Errorf("asg: describe group %s: %w", group, err)
	}
	for _, g := range groups.AutoScalingGroups {
		if p := g.InstanceLifecyclePolicy; p != nil && p.RetentionTriggers != nil {
			st.Retain = p.RetentionTriggers.TerminateHookAbandon == types.RetentionActionRetain
		}
	}
	hooks, err := s.c.DescribeLifecycleHooks(ctx, &autoscaling.DescribeLifecycleHooksInput{AutoScalingGroupName: &group})
	if err != nil {
		return st, fmt.Errorf("asg: describe the hooks of %s: %w", group, err)
	}
	for _, h := range hooks.LifecycleHooks {
		if aws.ToString(h.LifecycleTransition) == "autoscaling:EC2_INSTANCE_TERMINATING" {
			st.Hooks = append(st.Hooks, Hook{
				Name: aws.ToString(h.LifecycleHookName), DefaultResult: Answer(aws.ToString(h.DefaultResult)),
				Heartbeat: seconds(h.HeartbeatTimeout), Global: seconds(h.GlobalTimeout),
			})
		}
	}
	return st, nil
}

func seconds(n *int32) time.Duration { return time.Duration(aws.ToInt32(n)) * time.Second }

func (s service) Answer(ctx context.Context, a Action, answer Answer) (err error) {
	if answer == Heartbeat {
		_, err = s.c.RecordLifecycleActionHeartbeat(ctx, &autoscaling.RecordLifecycleActionHeartbeatInput{
			AutoScalingGroupName: &a.Group, LifecycleHookName: &a.Hook, InstanceId: &a.Instance,
		})
	} else {
		_, err = s.c.CompleteLifecycleAction(ctx, &autoscaling.CompleteLifecycleActionInput{
			AutoScalingGroupName: &a.Group, LifecycleHookName: &a.Hook, InstanceId: &a.Instance,
			LifecycleActionResult: aws.String(string(answer)),
		})
	}
	var api smithy.APIError
	if errors.As(err, &api) && strings.Contains(api.ErrorMessage(), "No active Lifecycle Action") {
		return fmt.Errorf("%w: %w", ErrNoAction, err)
	}
	if err != nil {
		return fmt.Errorf("asg: answer %s: %w", answer, err)
	}
	return nil
}

func (s service) Protect(ctx context.Context, group, id string, on bool) error {
	_, err := s.c.SetInstanceProtection(ctx, &autoscaling.SetInstanceProtectionInput{
		AutoScalingGroupName: &group, InstanceIds: []string{id}, ProtectedFromScaleIn: &on,
	})
	if err != nil {
		return fmt.Errorf("asg: set scale-in protection of %s to %v: %w", id, on, err)
	}
	return nil
}
