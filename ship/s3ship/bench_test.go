package s3ship

//lint:file-ignore SA1019 the bare manager is what there is to compare with

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
)

// BenchmarkUpload puts 64 MiB to versitygw: ours with its verification, and the bare manager as its documentation
// shows it, in turns, so that a slow minute of the disk affects both. Its figures are medians.
func BenchmarkUpload(b *testing.B) {
	endpoint, access, secret := testserver.S3(b)
	keys(b, access, secret)
	const size = 64 << 20
	body := random(size)
	o := ship.BytesObject("", spoolID, body)
	ours, err := Open(b.Context(), "s3://penstock/ours?path_style=true&endpoint="+url.QueryEscape(endpoint), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer ours.Close()
	transport := awshttp.NewBuildableClient().GetTransport()
	defer transport.CloseIdleConnections()
	client := s3.NewFromConfig(aws.Config{
		Region: "us-east-1", Credentials: static{access, secret}, BaseEndpoint: &endpoint,
		HTTPClient:                 &http.Client{Transport: transport},
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
	}, func(o *s3.Options) { o.UsePathStyle = true })
	bare := manager.NewUploader(client)
	upload := map[string]func(key string) error{
		"ours": func(key string) error {
			o := o
			o.Key = key
			_, err := ours.Put(context.Background(), o, section(body))
			return err
		},
		"bare": func(key string) error {
			_, err := bare.Upload(context.Background(), &s3.PutObjectInput{Bucket: aws.String("penstock"), Key: aws.String("bare/" + key), Body: bytes.NewReader(body)})
			return err
		},
	}
	took := map[string][]time.Duration{}
	for n := 0; b.Loop(); n++ {
		for _, name := range []string{"bare", "ours"} {
			begin := time.Now()
			if err := upload[name](fmt.Sprint(n)); err != nil {
				b.Fatal(err)
			}
			took[name] = append(took[name], time.Since(begin))
		}
	}
	median := func(name string) float64 {
		slices.Sort(took[name])
		return size / 1e6 / took[name][len(took[name])/2].Seconds()
	}
	b.ReportMetric(median("ours"), "ours-MB/s")
	b.ReportMetric(median("bare"), "bare-MB/s")
	b.ReportMetric(median("ours")/median("bare"), "ours/bare")
}
