package audit_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
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
	dir, url := sftpPlace(b)
	benchmark(b, dir, url)
}

func BenchmarkS3(b *testing.B) {
	dir, url := s3Place(b)
	benchmark(b, dir, url)
}

// sftpPlace and s3Place start a server, and return where it keeps what is below a URL.
func sftpPlace(b *testing.B) (dir, url string) {
	url = testserver.StartSSHD(b).URL("audit")
	_, path, _ := strings.Cut(strings.TrimPrefix(url, "sftp://"), "/")
	path, _, _ = strings.Cut(path, "?")
	return "/" + path, url
}

func s3Place(b *testing.B) (dir, url string) {
	s := testserver.StartS3(b)
	b.Setenv("AWS_ACCESS_KEY_ID", s.Access)
	b.Setenv("AWS_SECRET_ACCESS_KEY", s.Secret)
	return filepath.Join(s.Dir, testserver.Bucket, "audit"),
		fmt.Sprintf("s3://%s/audit?endpoint=%s&region=us-east-1&path_style=true", testserver.Bucket, s.Endpoint)
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
	s := &synth{dir: dir, spool: spool, owner: owner, at: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}
	s.manifest(b, 0, false)
	for left := segments; left > 0; left -= 4 {
		s.manifest(b, min(4, left), left <= 4)
	}
}

// synth is a chain that is written by hand, an object a minute.
type synth struct {
	dir, spool, owner string
	at                time.Time
	number, last      uint64
	hash              [32]byte
	to                ship.Destination // that gets the objects; default dir
}

// manifest writes a manifest and the objects that it names, which are empty.
func (x *synth) manifest(b *testing.B, segments int, final bool) {
	b.Helper()
	const each = 1000
	m := &ship.Manifest{Header: ship.ManifestHeader{
		Class: "vpn", Spool: x.spool, Epoch: 1, Number: x.number, Prev: fmt.Sprintf("%x", x.hash), PrevLast: x.last, Instance: "host", Destination: "s3", Time: x.at,
	}}
	for range segments {
		first := x.last + 1
		x.last += each
		s := ship.SegmentLine{
			Segment: x.last / each, First: first, Last: x.last, Records: each, Bytes: 1, MinTime: x.at, MaxTime: x.at, Format: "ndjson", Codec: "zstd",
			Key: fmt.Sprintf("%s%s-000001-%016x-%016x.ndjson.zst", object.HourPrefix("vpn", object.HourOf(x.at)), x.spool, first, x.last),
		}
		o := ship.BytesObject(s.Key, x.spool, nil)
		s.RawSHA256, s.SHA256, s.CRC64NVME = strings.Repeat(x.owner, 64), fmt.Sprintf("%x", o.SHA256), fmt.Sprintf("%016x", o.CRC64NVME)
		s.Receipt = &ship.Receipt{Checksum: ship.SHA256Checksum(o.SHA256), Method: "read-back", Time: x.at}
		if x.to == nil {
			x.write(b, s.Key, nil)
		} else if r, err := x.to.Put(b.Context(), o, io.NewSectionReader(strings.NewReader(""), 0, 0)); err != nil {
			b.Fatal(err)
		} else {
			s.Receipt = &r
		}
		m.Segments = append(m.Segments, s)
		x.at = x.at.Add(time.Minute)
	}
	m.Footer.Segment, m.Footer.Last, m.Footer.Final = x.last/each, x.last, final
	content, err := m.Encode()
	if err != nil {
		b.Fatal(err)
	}
	x.write(b, object.ManifestKey("vpn", x.spool, 1, x.number), content)
	x.number, x.hash = x.number+1, m.Hash
}

func (x *synth) write(b *testing.B, key string, content []byte) {
	b.Helper()
	path := filepath.Join(x.dir, filepath.FromSlash(key))
	err := os.WriteFile(path, content, 0o600)
	if os.IsNotExist(err) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = os.WriteFile(path, content, 0o600)
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	tag(path)
}

// BenchmarkIncrementDirectory measures what one increment of a Watcher costs beside PENSTOCK_AUDIT_SEGMENTS segments, in which each of
// ten live spools has two new objects.
func BenchmarkIncrementDirectory(b *testing.B) {
	dir := b.TempDir()
	increment(b, dir, "file://"+filepath.ToSlash(dir))
}

// BenchmarkIncrementSFTP and BenchmarkIncrementS3 measure the same at real servers.
func BenchmarkIncrementSFTP(b *testing.B) {
	dir, url := sftpPlace(b)
	increment(b, dir, url)
}

func BenchmarkIncrementS3(b *testing.B) {
	dir, url := s3Place(b)
	increment(b, dir, url)
}

func increment(b *testing.B, dir, url string) {
	segments := 2000
	if s := os.Getenv("PENSTOCK_AUDIT_SEGMENTS"); s != "" {
		segments, _ = strconv.Atoi(s)
	}
	var all []*synth
	for i := range 10 {
		x := &synth{dir: dir, spool: fmt.Sprintf("%d%025d", i, 0), owner: "0", at: time.Now().UTC().Add(-time.Duration(segments/10) * time.Minute)}
		x.manifest(b, 0, false)
		for left := segments / 10; left > 0; left -= 4 {
			x.manifest(b, min(4, left), false)
		}
		all = append(all, x)
	}
	d, err := open.Destination(b.Context(), url, nil)
	if err != nil {
		b.Fatal(err)
	}
	if c, ok := d.(io.Closer); ok {
		defer c.Close()
	}
	w, err := audit.NewWatcher(&audit.WatchOptions{Options: audit.Options{Places: []audit.Place{{Destination: d}}}})
	if err != nil {
		b.Fatal(err)
	}
	step := func() *audit.Status {
		s, err := w.Step(b.Context())
		if err != nil || s.Result.Verdict != audit.Owed {
			b.Fatalf("%+v, %v", s, err)
		}
		return s
	}
	first := step()
	b.Logf("full: %.1f s, %d requests", first.Seconds, first.Places[0].Requests)
	requests, worst := uint64(0), uint64(0)
	for b.Loop() {
		b.StopTimer()
		for _, x := range all {
			x.at, x.to = time.Now().UTC(), d
			x.manifest(b, 2, false)
		}
		b.StartTimer()
		n := step().Places[0].Requests
		requests, worst = requests+n, max(worst, n)
	}
	runtime.GC()
	mem := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(mem)
	b.ReportMetric(float64(mem[0].Value.Uint64())/1e6, "MB-live")
	b.ReportMetric(float64(requests)/float64(b.N), "requests/op")
	b.ReportMetric(float64(worst), "requests-worst")
	runtime.KeepAlive(w)
}
