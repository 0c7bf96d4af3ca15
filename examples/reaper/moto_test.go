package main

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// TestMoto holds moto, an independent simulation of EC2, to the same expectations as the fake. No registry that CI reaches has
// moto, so the test runs only if it is installed. moto lets two instances attach one volume, so only the fake decides races.
func TestMoto(t *testing.T) {
	if _, err := exec.LookPath("moto_server"); err != nil {
		t.Skip(err)
	}
	url := moto(t)
	cfg := aws.Config{Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""), BaseEndpoint: &url}
	quick := func(o *ec2.Options) {
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = 1 })
	}
	admin := ec2.NewFromConfig(cfg, quick, func(o *ec2.Options) { o.Region = "eu-central-1" })
	images, err := admin.DescribeImages(t.Context(), nil)
	if err != nil || len(images.Images) == 0 {
		t.Skipf("this moto has no images: %v", err)
	}
	run, err := admin.RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: images.Images[0].ImageId, MinCount: aws.Int32(2), MaxCount: aws.Int32(2)})
	if err != nil {
		t.Fatal(err)
	}
	zone := *run.Instances[0].Placement.AvailabilityZone
	a := newCloud(cfg, "eu-central-1", *run.Instances[0].InstanceId, zone, "penstock", quick)
	b := newCloud(cfg, "eu-central-1", *run.Instances[1].InstanceId, zone, "penstock", quick)
	testCloud(t, a, b, false, func() string {
		out, err := admin.CreateVolume(t.Context(), &ec2.CreateVolumeInput{
			AvailabilityZone: &zone, Size: aws.Int32(1),
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeVolume, Tags: []types.Tag{{Key: aws.String(tagFleet), Value: aws.String("penstock")}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return *out.VolumeId
	}, func() {})
}

// moto starts a server, and returns its URL.
func moto(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	l.Close()
	var out bytes.Buffer
	cmd := exec.Command("moto_server", "-H", "127.0.0.1", "-p", port)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := <-ended; t.Failed() {
			t.Logf("moto: %v: %s", err, out.String())
		}
	})
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		resp, err := http.Get("http://" + addr + "/moto-api/")
		if err == nil {
			resp.Body.Close()
			return "http://" + addr
		}
		select {
		case err := <-ended:
			t.Skipf("moto does not run here: %v: %s", err, out.String())
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatal(errors.New("moto does not answer"))
	return ""
}
