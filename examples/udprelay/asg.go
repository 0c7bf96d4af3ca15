package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"github.com/penstock-go/penstock/ingest/udprelay"
)

// groupSource returns the instances of an Auto Scaling group as targets. The group says which instances are in service, and EC2
// has their addresses. The SDK's EC2 package is larger than the rest of this program, and only one of its calls is needed; so
// this program builds the request itself, and the SDK signs it.
//
// It needs autoscaling:DescribeAutoScalingGroups and ec2:DescribeInstances. The SDK finds region and credentials as usual.
type groupSource struct {
	group string
	port  uint16

	mu        sync.Mutex
	cfg       *aws.Config
	groups    *autoscaling.Client
	addresses map[string]netip.Addr // by instance; an instance keeps its address for life
}

// apiTime bounds one call.
const apiTime = 5 * time.Second

// Targets implements source.
func (g *groupSource) Targets(ctx context.Context) ([]udprelay.Target, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, apiTime)
	defer cancel()
	states, err := g.instances(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAway, err)
	}
	var unknown []string
	for id := range states {
		if !g.addresses[id].IsValid() {
			unknown = append(unknown, id)
		}
	}
	slices.Sort(unknown)
	if len(unknown) > 0 {
		if err := g.locate(ctx, unknown); err != nil {
			return nil, fmt.Errorf("%w: %w", errAway, err)
		}
	}
	var targets []udprelay.Target
	for _, id := range slices.Sorted(maps.Keys(states)) {
		if a := g.addresses[id]; a.IsValid() {
			targets = append(targets, udprelay.Target{Addr: netip.AddrPortFrom(a, g.port), Draining: states[id] != types.LifecycleStateInService})
		}
	}
	maps.DeleteFunc(g.addresses, func(id string, _ netip.Addr) bool { return states[id] == "" })
	return targets, udprelay.CheckTargets(targets)
}

// instances returns the instances that are in service or about to be terminated, with their state.
func (g *groupSource) instances(ctx context.Context) (map[string]types.LifecycleState, error) {
	if g.groups == nil {
		cfg, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return nil, err
		}
		g.cfg, g.groups, g.addresses = &cfg, autoscaling.NewFromConfig(cfg), map[string]netip.Addr{}
	}
	out, err := g.groups.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{g.group}})
	if err != nil {
		return nil, err
	}
	states := map[string]types.LifecycleState{}
	for _, found := range out.AutoScalingGroups {
		for _, i := range found.Instances {
			if i.LifecycleState == types.LifecycleStateInService || strings.HasPrefix(string(i.LifecycleState), "Terminating") {
				states[aws.ToString(i.InstanceId)] = i.LifecycleState
			}
		}
	}
	return states, nil
}

// locate gets the addresses of instances from EC2.
func (g *groupSource) locate(ctx context.Context, ids []string) error {
	form := url.Values{"Action": {"DescribeInstances"}, "Version": {"2016-11-15"}}
	for i, id := range ids {
		form.Set(fmt.Sprintf("InstanceId.%d", i+1), id)
	}
	body := form.Encode()
	endpoint := os.Getenv("AWS_ENDPOINT_URL_EC2")
	if endpoint == "" {
		domain := "amazonaws.com"
		if strings.HasPrefix(g.cfg.Region, "cn-") {
			domain += ".cn"
		}
		endpoint = "https://ec2." + g.cfg.Region + "." + domain
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	credentials, err := g.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), "ec2", g.cfg.Region, time.Now()); err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ec2 DescribeInstances: %s: %.500s", resp.Status, answer)
	}
	return g.note(answer)
}

// note records the addresses in an answer of EC2.
func (g *groupSource) note(answer []byte) error {
	var found struct {
		Instances []struct {
			ID      string `xml:"instanceId"`
			Address string `xml:"privateIpAddress"`
			IPv6    string `xml:"ipv6Address"`
		} `xml:"reservationSet>item>instancesSet>item"`
	}
	if err := xml.Unmarshal(answer, &found); err != nil {
		return fmt.Errorf("ec2 DescribeInstances: %w", err)
	}
	for _, i := range found.Instances {
		text := i.Address
		if text == "" {
			text = i.IPv6
		}
		if a, err := netip.ParseAddr(text); err == nil {
			g.addresses[i.ID] = a
		}
	}
	return nil
}
