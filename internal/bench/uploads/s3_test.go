package uploads

//lint:file-ignore SA1019 the bare manager is what there is to compare with

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/penstock-go/penstock/internal/bench/debs"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/s3ship"
)

const (
	objects = 4
	size    = 64 << 20
	spoolID = "00000000000000000000000abc"
)

// way uploads all files of a directory, one after the other, below a prefix.
type way struct {
	name string
	send func(dir, prefix string) error
	mbs  []float64
}

// BenchmarkS3 uploads four objects of 64 MiB in all ways in turn. Its metrics are medians, and the ratios compare ways within
// each turn. The command lines upload the directory with one call and their defaults, so they may send several files and parts
// at a time; our driver and the bare manager send one object after the other.
func BenchmarkS3(b *testing.B) {
	endpoint, access, secret := testserver.S3(b)
	b.Setenv("AWS_ACCESS_KEY_ID", access)
	b.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	b.Setenv("AWS_REGION", "us-east-1")
	b.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	b.Setenv("AWS_CA_BUNDLE", "") // nothing here supports TLS, and rclone insists on it
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "RCLONE_CONFIG"} {
		b.Setenv(name, filepath.Join(b.TempDir(), "none"))
	}
	dir := b.TempDir()
	r := rand.NewChaCha8([32]byte{1})
	for i := range objects {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err == nil {
			_, err = io.CopyN(f, r, size)
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	ways := []*way{bare(endpoint, access, secret), ours(b, endpoint)}
	ways = append(ways, commands(b, endpoint)...)
	for n := 0; b.Loop(); n++ {
		for _, w := range ways {
			begin := time.Now()
			if err := w.send(dir, fmt.Sprint(w.name, n)); err != nil {
				b.Fatalf("%s: %v", w.name, err)
			}
			w.mbs = append(w.mbs, objects*size/1e6/time.Since(begin).Seconds())
		}
	}
	for _, w := range ways {
		b.ReportMetric(median(w.mbs, nil), w.name+"-MB/s")
		if w != ways[1] {
			b.ReportMetric(median(ways[1].mbs, w.mbs), "ours/"+w.name)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// median returns the median of a, or of a ÷ b.
func median(a, b []float64) float64 {
	v := slices.Clone(a)
	for i := range b {
		v[i] /= b[i]
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// bare is the manager as its documentation shows it.
func bare(endpoint, access, secret string) *way {
	up := manager.NewUploader(s3.NewFromConfig(aws.Config{
		Region: "us-east-1", BaseEndpoint: &endpoint,
		Credentials:                credentials.NewStaticCredentialsProvider(access, secret, ""),
		HTTPClient:                 &http.Client{Transport: awshttp.NewBuildableClient().GetTransport()},
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
	}, func(o *s3.Options) { o.UsePathStyle = true }))
	return &way{name: "manager", send: func(dir, prefix string) error {
		return each(dir, func(name string, f *os.File) error {
			_, err := up.Upload(context.Background(), &s3.PutObjectInput{
				Bucket: aws.String(testserver.Bucket), Key: aws.String(prefix + "/" + name), Body: f,
			})
			return err
		})
	}}
}

// ours computes no hashes: the staging of a segment has already done that.
func ours(b *testing.B, endpoint string) *way {
	dest, err := s3ship.Open(b.Context(), "s3://"+testserver.Bucket+"?path_style=true&endpoint="+url.QueryEscape(endpoint), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { dest.Close() })
	hashed := map[string]ship.Object{}
	return &way{name: "ours", send: func(dir, prefix string) error {
		return each(dir, func(name string, f *os.File) error {
			o, ok := hashed[name]
			if !ok {
				body, err := io.ReadAll(f)
				if err != nil {
					return err
				}
				o = ship.BytesObject("", spoolID, body)
				hashed[name] = o
			}
			o.Key = prefix + "/" + name
			_, err := dest.Put(context.Background(), o, io.NewSectionReader(f, 0, size))
			return err
		})
	}}
}

// commands are the command lines that are installed.
func commands(b *testing.B, endpoint string) (ways []*way) {
	if p, err := debs.Find(b.TempDir(), "rclone", "rclone"); err != nil {
		b.Log("left out:", err)
	} else {
		ways = append(ways, &way{name: "rclone", send: func(dir, prefix string) error {
			return run(p.Path, "copy", "--s3-provider", "Other", "--s3-env-auth", "--s3-endpoint", endpoint, "--s3-force-path-style",
				"--s3-no-check-bucket", dir, ":s3:"+testserver.Bucket+"/"+prefix)
		}})
	}
	if os.Getenv("PENSTOCK_BENCH_SHORT") != "" { // .ci/run does not install aws
		return ways
	}
	if path, err := exec.LookPath("aws"); err != nil {
		b.Log("left out:", err)
	} else {
		ways = append(ways, &way{name: "aws", send: func(dir, prefix string) error {
			return run(path, "s3", "cp", "--quiet", "--recursive", "--endpoint-url", endpoint, dir, "s3://"+testserver.Bucket+"/"+prefix)
		}})
	}
	return ways
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func each(dir string, f func(name string, file *os.File) error) error {
	for i := range objects {
		name := fmt.Sprint(i)
		file, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		err = f(name, file)
		file.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
