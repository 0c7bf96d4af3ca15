package audit_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool/object"
)

// BenchmarkDirectory audits a directory of PENSTOCK_AUDIT_SEGMENTS segments (default 2,000) of ten spools, a manifest
// for every four of them. The objects are empty: they are only looked at.
func BenchmarkDirectory(b *testing.B) {
	dir := b.TempDir()
	benchmark(b, dir, "file://"+filepath.ToSlash(dir))
}

// BenchmarkSFTP and BenchmarkS3 audit the same over OpenSSH and a real S3 server, each on its own disk and on loopback.
func BenchmarkSFTP(b *testing.B) {
	url := testserver.StartSSHD(b).URL("audit")
	_, path, _ := strings.Cut(strings.TrimPrefix(url, "sftp://"), "/")
	path, _, _ = strings.Cut(path, "?")
	benchmark(b, "/"+path, url)
}

func BenchmarkS3(b *testing.B) {
	s := testserver.StartS3(b)
	b.Setenv("AWS_ACCESS_KEY_ID", s.Access)
	b.Setenv("AWS_SECRET_ACCESS_KEY", s.Secret)
	benchmark(b, filepath.Join(s.Dir, testserver.Bucket, "audit"),
		fmt.Sprintf("s3://%s/audit?endpoint=%s&region=us-east-1&path_style=true", testserver.Bucket, s.Endpoint))
}

// benchmark fills dir, and audits it as what url names.
func benchmark(b *testing.B, dir, url string) {
	segments := 2000
	if s := os.Getenv("PENSTOCK_AUDIT_SEGMENTS"); s != "" {
		segments, _ = strconv.Atoi(s)
	}
	for i := range 10 {
		synthetic(b, dir, fmt.Sprintf("%d%025d", i, 0), "0", segments/10)
	}
	d, err := open.Destination(b.Context(), url, nil)
	if err != nil {
		b.Fatal(err)
	}
	if c, ok := d.(io.Closer); ok {
		defer c.Close()
	}
	measure(b, segments/10*10, audit.Place{Destination: d})
}

// BenchmarkCopies audits two directories at which the owners of two copies of a volume have won a chain each.
func BenchmarkCopies(b *testing.B) {
	segments := 2000
	if s := os.Getenv("PENSTOCK_AUDIT_SEGMENTS"); s != "" {
		segments, _ = strconv.Atoi(s)
	}
	var all []audit.Place
	for i := range 2 {
		dir := b.TempDir()
		for j := range 2 {
			synthetic(b, dir, fmt.Sprintf("%026d", j), fmt.Sprint(i^j), segments/2)
		}
		d, err := open.Destination(b.Context(), "file://"+filepath.ToSlash(dir), nil)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, audit.Place{Destination: d})
	}
	measure(b, segments/2*4, all...)
}

func measure(b *testing.B, objects int, places ...audit.Place) {
	b.ReportAllocs()
	for b.Loop() {
		r, err := audit.Run(b.Context(), &audit.Options{Places: places})
		if err != nil || r.Verdict != audit.Complete || r.Objects != uint64(objects) {
			b.Fatalf("%+v, %v", r, err)
		}
	}
	mem := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(mem)
	b.ReportMetric(float64(mem[0].Value.Uint64())/1e6, "MB-from-OS")
	b.ReportMetric(float64(objects)*float64(b.N)/b.Elapsed().Seconds(), "segments/s")
}

// synthetic writes a spool's chain and objects as a shipper would. The digit owner stands for the content of its records.
func synthetic(b *testing.B, dir, spool, owner string, segments int) {
	b.Helper()
	write := func(key string, content []byte) {
		path := filepath.Join(dir, filepath.FromSlash(key))
		err := os.WriteFile(path, content, 0o600)
		if os.IsNotExist(err) {
			if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
				err = os.WriteFile(path, content, 0o600)
			}
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	const each, per = 1000, 4
	begin := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	last, hash := uint64(0), [32]byte{}
	for n := uint64(0); ; n++ {
		m := &ship.Manifest{Header: ship.ManifestHeader{
			Class: "vpn", Spool: spool, Epoch: 1, Number: n, Prev: fmt.Sprintf("%x", hash), PrevLast: last, Instance: "host", Destination: "s3", Time: begin,
		}}
		for range per {
			if n == 0 || last == uint64(segments)*each {
				break
			}
			first, at := last+1, begin.Add(time.Duration(last/each)*time.Minute)
			last += each
			s := ship.SegmentLine{
				Segment: last / each, First: first, Last: last, Records: each, Bytes: 1, MinTime: at, MaxTime: at, Format: "ndjson", Codec: "zstd",
				Key: fmt.Sprintf("class=vpn/dt=%s/hour=%s/%s-000001-%016x-%016x.ndjson.zst", at.Format(time.DateOnly), at.Format("15"), spool, first, last),
			}
			o := ship.BytesObject(s.Key, spool, nil)
			s.RawSHA256, s.SHA256, s.CRC64NVME = strings.Repeat(owner, 64), fmt.Sprintf("%x", o.SHA256), fmt.Sprintf("%016x", o.CRC64NVME)
			s.Receipt = &ship.Receipt{Checksum: ship.SHA256Checksum(o.SHA256), Method: "read-back", Time: at}
			m.Segments = append(m.Segments, s)
			write(s.Key, nil)
		}
		m.Footer.Segment, m.Footer.Last = last/each, last
		m.Footer.Final = n > 0 && last == uint64(segments)*each
		content, err := m.Encode()
		if err != nil {
			b.Fatal(err)
		}
		write(object.ManifestKey("vpn", spool, 1, n), content)
		if hash = m.Hash; m.Footer.Final {
			return
		}
	}
}
