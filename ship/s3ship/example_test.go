package s3ship_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/penstock-go/penstock/internal/test/s3d"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/s3ship"
)

// Open a place in a bucket by its URL, as given on a command line. The examples use a small S3 server of their
// own.
func ExampleOpen() {
	endpoint, stop := serve()
	defer stop()
	ctx := context.Background()
	b, err := s3ship.Open(ctx, "s3://penstock/logs?path_style=true&endpoint="+url.QueryEscape(endpoint), nil)
	if err != nil {
		log.Fatal(err) // every mistake in the URL at once
	}
	defer b.Close()
	if err := b.Check(ctx); err != nil {
		log.Fatal(err) // says what to do
	}

	text := []byte("one line\n")
	o := ship.BytesObject("class=vpn/example.log", "", text)
	o.ContentType = "text/plain"
	receipt, err := b.Put(ctx, o, io.NewSectionReader(bytes.NewReader(text), 0, o.Size))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(receipt.Size, receipt.Checksum, receipt.Method)
	for e, err := range b.List(ctx, "") {
		fmt.Println(e.Key, e.Size, err)
	}
	// Output:
	// 9 crc64nvme:b33f429a341789fd head
	// class=vpn/example.log 9 <nil>
}

// Open a place in a bucket with an aws.Config, for programs that already have one.
func ExampleNew() {
	endpoint, stop := serve()
	defer stop()
	cfg := aws.Config{Region: "us-east-1", Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "penstock", SecretAccessKey: "penstock-secret"}, nil
	})}
	b, err := s3ship.New(cfg, "penstock", "logs", &s3ship.Options{Endpoint: endpoint, PathStyle: true, StorageClass: "STANDARD_IA"})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	_, err = b.Stat(context.Background(), "nothing")
	fmt.Println(err)
	// Output:
	// s3ship: get s3://penstock/logs/nothing: file does not exist
}

// serve starts a server and sets the environment's credentials to its keys.
func serve() (endpoint string, stop func()) {
	dir, err := os.MkdirTemp("", "s3ship")
	if err != nil {
		log.Fatal(err)
	}
	s, err := s3d.Start(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	os.Setenv("AWS_ACCESS_KEY_ID", "penstock")
	os.Setenv("AWS_SECRET_ACCESS_KEY", "penstock-secret")
	return s.Endpoint(), func() {
		s.Close()
		os.RemoveAll(dir)
	}
}
