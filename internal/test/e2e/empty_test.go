//go:build linux

package e2e

//lint:file-ignore SA1019 the bare manager is what there is to compare with

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/klauspost/compress/zstd"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestEmpty measures how long a drain takes to empty a spool of PENSTOCK_EMPTY MiB into a real S3 server and OpenSSH, with
// verification. It compares that with the unavoidable work, done at the same time: the bare zstd encoder over the same output,
// the bare S3 manager and a bare SFTP client with the same objects. The two take turns, since the speed of a shared machine
// changes.
//
//	PENSTOCK_EMPTY=2048 go test -v -timeout 60m -run TestEmpty ./internal/test/e2e
//
// With PENSTOCK_CPUACCT, the file with the CPU time of the control group that all of it runs in (cpuacct.usage, or cpu.stat
// of version 2), it compares the CPU time of clients and servers too, which other work on the machine disturbs less.
func TestEmpty(t *testing.T) {
	mib, err := strconv.Atoi(os.Getenv("PENSTOCK_EMPTY"))
	if err != nil {
		t.Skip("PENSTOCK_EMPTY is not set: the MiB to empty")
	}
	e := &emptying{t: t, sshd: testserver.StartSSHD(t), s3: testserver.StartS3(t)}
	t.Setenv("AWS_ACCESS_KEY_ID", e.s3.Access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", e.s3.Secret)
	for round := range 3 {
		name := fmt.Sprint("round", round)
		ours := e.drain(name, mib)
		bare := e.bare(name)
		t.Logf("%d MiB, %d objects of %.0f MB: drain %.1f s, bare encoder and uploads together %.1f s, ratio %.2f",
			mib, len(e.objects), float64(e.stored)/1e6, ours.wall.Seconds(), bare.wall.Seconds(), ours.wall.Seconds()/bare.wall.Seconds())
		if bare.cpu > 0 {
			t.Logf("CPU time: %.1f s, %.1f s, ratio %.2f", ours.cpu.Seconds(), bare.cpu.Seconds(), ours.cpu.Seconds()/bare.cpu.Seconds())
		}
		for _, dir := range []string{filepath.Join(e.s3.Dir, testserver.Bucket), e.sshd.Dir} {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
	}
}

type emptying struct {
	t       *testing.T
	sshd    *testserver.SSHD
	s3      *testserver.S3Server
	objects []string // files of the last drain at the S3 server
	stored  int64
}

const emptySegment = 64 << 20

// cost of something that was measured.
type cost struct{ wall, cpu time.Duration }

// start begins to measure.
func (e *emptying) start() (stop func() cost) {
	begin, cpu := time.Now(), e.cpu()
	return func() cost { return cost{time.Since(begin), e.cpu() - cpu} }
}

// cpu returns the CPU time of the control group, if it is known.
func (e *emptying) cpu() time.Duration {
	file := os.Getenv("PENSTOCK_CPUACCT")
	if file == "" {
		return 0
	}
	b, err := os.ReadFile(file)
	if err != nil {
		e.t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	usec, v2 := strings.CutPrefix(line, "usage_usec ")
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil {
		e.t.Fatalf("%s: %v", file, err)
	}
	if v2 {
		return time.Duration(n) * time.Microsecond
	}
	return time.Duration(n)
}

// drain fills a spool and returns what a drain of it costs.
func (e *emptying) drain(name string, mib int) cost {
	t, ctx := e.t, context.Background()
	t.Helper()
	dir := filepath.Join(t.TempDir(), "spool")
	dests := map[string]ship.Destination{}
	for dest, url := range map[string]string{
		"s3": fmt.Sprintf("s3://%s/%s?endpoint=%s&region=us-east-1&path_style=true", testserver.Bucket, name, e.s3.Endpoint), "idc": e.sshd.URL(name),
	} {
		d, err := open.Destination(ctx, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		dests[dest] = d
	}
	sp, err := spool.Open(dir, &spool.Options{Class: "vpn", Destinations: []string{"idc", "s3"}, SegmentBytes: emptySegment})
	if err != nil {
		t.Fatal(err)
	}
	gen, err := fwlog.NewGenerator("empty", 1)
	if err != nil {
		t.Fatal(err)
	}
	const size, burst = 512, 256
	batch := make([]segment.Record, burst)
	for seq := 0; seq < mib<<20/size; seq += burst {
		for i := range batch {
			batch[i] = segment.Record{Time: time.Now().UnixNano(), Data: gen.Append(batch[i].Data[:0], 0, uint64(seq+i), size)}
		}
		if _, err := sp.Append(ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	sh, err := ship.New(sp, &ship.Options{Destinations: dests})
	if err != nil {
		t.Fatal(err)
	}
	d, err := drain.New(&drain.Options{Dir: dir, Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	begin, stop := time.Now(), e.start()
	if err := d.Add(drain.Class{Shipper: sh}); err != nil {
		t.Fatal(err)
	}
	r, err := d.Drain(ctx, "measured")
	if err != nil || r.Outcome != drain.Delivered {
		t.Fatalf("%v %s", err, r.JSON())
	}
	took := stop()
	took.wall = r.Ended.Sub(begin) // what follows the report is no more than closing
	for _, p := range r.Phases {
		t.Logf("%s %.1f s", p.Name, p.Seconds)
	}
	for _, d := range dests {
		if c, ok := d.(io.Closer); ok {
			_ = c.Close()
		}
	}
	e.objects, e.stored = nil, 0
	err = filepath.WalkDir(filepath.Join(e.s3.Dir, testserver.Bucket, name), func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".ndjson.zst") {
			e.objects = append(e.objects, path)
			if info, ierr := d.Info(); ierr == nil {
				e.stored += info.Size()
			}
		}
		return err
	})
	if err != nil || len(e.objects) == 0 {
		t.Fatalf("%d objects, %v", len(e.objects), err)
	}
	return took
}

// bare runs the encoder and both uploads at once, with as many of each as a Shipper has workers.
func (e *emptying) bare(name string) cost {
	t, ctx := e.t, context.Background()
	t.Helper()
	// The output of one segment in memory: each is as long and as much the same.
	first, err := os.ReadFile(e.objects[0])
	if err != nil {
		t.Fatal(err)
	}
	dec, err := zstd.NewReader(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(dec)
	dec.Close()
	if err != nil {
		t.Fatal(err)
	}
	client := s3.NewFromConfig(aws.Config{
		Region: "us-east-1", BaseEndpoint: &e.s3.Endpoint, HTTPClient: http.DefaultClient,
		Credentials:                credentials.NewStaticCredentialsProvider(e.s3.Access, e.s3.Secret, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
	}, func(o *s3.Options) { o.UsePathStyle = true })
	uploader := manager.NewUploader(client)
	conn, files := e.dial()
	defer conn.Close()
	defer files.Close()
	target := e.sshd.Dir + "/" + name + "/bare"
	if err := files.MkdirAll(target); err != nil {
		t.Fatal(err)
	}
	const workers = 2
	errs := make(chan error, 3*workers)
	run := func(f func(i int, object string) error) {
		for w := range workers {
			go func() {
				var err error
				for i := w; i < len(e.objects) && err == nil; i += workers {
					err = f(i, e.objects[i])
				}
				errs <- err
			}()
		}
	}
	stop := e.start()
	run(func(int, string) error {
		w, err := zstd.NewWriter(io.Discard, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			return err
		}
		_, err = w.Write(raw)
		return errors.Join(err, w.Close())
	})
	run(func(i int, object string) error {
		f, err := os.Open(object)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = uploader.Upload(ctx, &s3.PutObjectInput{Bucket: aws.String(testserver.Bucket), Key: aws.String(fmt.Sprint(name, "/bare/", i)), Body: f})
		return err
	})
	run(func(i int, object string) error {
		f, err := os.Open(object)
		if err != nil {
			return err
		}
		defer f.Close()
		to, err := files.Create(fmt.Sprint(target, "/", i))
		if err != nil {
			return err
		}
		_, err = to.ReadFromWithConcurrency(f, 64)
		return errors.Join(err, to.Close())
	})
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	return stop()
}

func (e *emptying) dial() (*ssh.Client, *sftp.Client) {
	e.t.Helper()
	pem, err := os.ReadFile(e.sshd.KeyFile)
	if err != nil {
		e.t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		e.t.Fatal(err)
	}
	conn, err := ssh.Dial("tcp", e.sshd.Addr, &ssh.ClientConfig{
		User: e.sshd.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), // on loopback, to measure
	})
	if err != nil {
		e.t.Fatal(err)
	}
	files, err := sftp.NewClient(conn, sftp.MaxConcurrentRequestsPerFile(64))
	if err != nil {
		e.t.Fatal(err)
	}
	return conn, files
}
