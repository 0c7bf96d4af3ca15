package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// directories returns two destinations in new directories.
func directories(t *testing.T) (urls, dirs []string) {
	t.Helper()
	for _, name := range []string{"idc", "s3"} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		urls, dirs = append(urls, "file://"+filepath.ToSlash(dir)), append(dirs, dir)
	}
	return urls, dirs
}

// deliver delivers segments of ten records each to the destinations, and makes the chains final if final is set. It returns the
// spool's id.
func deliver(t *testing.T, urls []string, segments int, final bool) (id string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	d := map[string]ship.Destination{}
	for i, name := range []string{"idc", "s3"} {
		var err error
		if d[name], err = open.Destination(ctx, urls[i], nil); err != nil {
			t.Fatal(err)
		}
		if c, ok := d[name].(io.Closer); ok {
			defer c.Close()
		}
	}
	sp, err := spool.Open(filepath.Join(t.TempDir(), "spool"), &spool.Options{Class: "vpn", Instance: "host", Destinations: []string{"idc", "s3"}, MaxBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ship.New(sp, &ship.Options{Destinations: d})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	for range segments {
		batch := make([]segment.Record, 10)
		for i := range batch {
			batch[i] = segment.Record{Time: time.Now().UnixNano(), Data: []byte("a record")}
		}
		if _, err := sp.Append(ctx, batch); err != nil {
			t.Fatal(err)
		}
		if err := sp.Seal(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for name := range d {
		if final {
			if err := s.Finalize(ctx, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	id = sp.Stats().Spool
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	return id
}

func audits(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// TestLifecycle: complete, then an object is lost, then it is restored.
func TestLifecycle(t *testing.T) {
	urls, dirs := directories(t)
	id := deliver(t, urls, 3, true)
	both := []string{"-at", urls[0], "-at", urls[1], "-deep"}
	if code, out, errs := audits(t, both...); code != 0 || !strings.Contains(out, "complete: 2 chains") {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	expect := filepath.Join(t.TempDir(), "expect")
	if err := os.WriteFile(expect, []byte("# all hosts\nhost\n\nother-host # is new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	nobody := filepath.Join(t.TempDir(), "expect")
	if err := os.WriteFile(nobody, []byte("# all hosts\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := audits(t, append(both, "-expect", nobody)...); code != exitUsage || !strings.Contains(errs, "names no spool") {
		t.Errorf("a list of nothing: exit code %d\n%s", code, errs)
	}
	if code, out, _ := audits(t, append(both, "-expect", expect)...); code != exitOwed || !strings.Contains(out, `"other-host"`) {
		t.Errorf("exit code %d\n%s", code, out)
	}
	objects, err := filepath.Glob(filepath.Join(dirs[0], "class=vpn", "*", "*", "*"))
	if err != nil || len(objects) != 3 {
		t.Fatalf("%q, %v", objects, err)
	}
	if err := os.Remove(objects[1]); err != nil {
		t.Fatal(err)
	}
	code, out, _ := audits(t, append(both, "-json")...)
	var r audit.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if code != exitDamaged || len(r.Findings) != 1 || r.Findings[0].First != 11 || r.Findings[0].Last != 20 {
		t.Errorf("exit code %d, %+v", code, r.Findings)
	}
	code, out, errs := audits(t, "replay", "-from", urls[1], "-to", urls[0], "-class", "vpn", "-spool", id)
	if code != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(out, `"first":11`) {
		t.Errorf("replay: exit code %d\n%s%s", code, out, errs)
	}
	if code, out, errs := audits(t, both...); code != 0 {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	code, out, errs = audits(t, "replay", "-from", urls[1], "-to", urls[0], "-class", "vpn", "-spool", id)
	if code != 0 || out != "" || !strings.Contains(errs, "nothing to restore") {
		t.Errorf("replay again: exit code %d\n%s%s", code, out, errs)
	}
}

// TestReplayNothing: an operator may replay all spools of a host, including those that received nothing.
func TestReplayNothing(t *testing.T) {
	urls, _ := directories(t)
	id := deliver(t, urls, 0, true)
	code, out, errs := audits(t, "replay", "-from", urls[1], "-to", urls[0], "-class", "vpn", "-spool", id)
	if code != 0 || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "audit replay: there is nothing to restore") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

func TestOwed(t *testing.T) {
	urls, _ := directories(t)
	deliver(t, urls, 3, false)
	code, out, _ := audits(t, "-at", urls[0], "-class", "vpn")
	if code != exitOwed || !strings.Contains(out, "no final manifest") || !strings.Contains(out, "records 1 to 30") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code, _, _ := audits(t, "-at", urls[0], "-hour", time.Now().UTC().Add(-2*time.Hour).Format("2006-01-02T15")); code != 0 {
		t.Errorf("an hour that has passed: exit code %d", code)
	}
}

// TestClose: a spool is owed until it is closed, and even then it is not complete.
func TestClose(t *testing.T) {
	urls, _ := directories(t)
	id := deliver(t, urls, 2, false)
	both := []string{"-at", urls[0], "-at", urls[1]}
	if code, out, _ := audits(t, both...); code != exitOwed || !strings.Contains(out, "audit close") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	code, out, errs := audits(t, append([]string{"close", "-class", "vpn", "-spool", id, "-reason", "the volume was deleted", "-by", "ops"}, both...)...)
	if code != 0 || strings.Count(out, "\n") != 2 || !strings.Contains(out, `"reason":"the volume was deleted"`) {
		t.Errorf("close: exit code %d\n%s%s", code, out, errs)
	}
	if code, out, _ := audits(t, both...); code != 0 || !strings.Contains(out, "closed by ops") || !strings.Contains(out, "\nclosed: 2 chains") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code, out, _ := audits(t, both[:2]...); code != 0 || strings.Contains(out, "complete") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// TestServers audits a real S3 server and a real sshd. PENSTOCK_AUDIT_SEGMENTS sets the number of segments, to measure the
// speed.
func TestServers(t *testing.T) {
	segments := 5
	if s := os.Getenv("PENSTOCK_AUDIT_SEGMENTS"); s != "" {
		segments, _ = strconv.Atoi(s)
	}
	sshd := testserver.StartSSHD(t)
	endpoint, access, secret := testserver.S3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	urls := []string{sshd.URL("audit"), fmt.Sprintf("s3://%s/audit?endpoint=%s&region=us-east-1&path_style=true", testserver.Bucket, endpoint)}
	deliver(t, urls, segments, true)
	// Folders like those that the S3 console makes.
	client := s3.New(s3.Options{
		BaseEndpoint: &endpoint, Region: "us-east-1", UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(access, secret, ""),
	})
	for _, key := range []string{"audit/", "audit/class=vpn/", "audit/class=other/", "audit/_manifest/vpn/"} {
		in := &s3.PutObjectInput{Bucket: aws.String(testserver.Bucket), Key: &key, Body: strings.NewReader("")}
		if _, err := client.PutObject(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"-at", urls[0], "-at", urls[1]}, {"-at", urls[0], "-at", urls[1], "-deep"}, {"-at", urls[0]}, {"-at", urls[1]},
	} {
		begin := time.Now()
		code, out, errs := audits(t, args...)
		if code != 0 || !strings.Contains(out, fmt.Sprintf("%d objects", segments)) {
			t.Errorf("%q: exit code %d\n%s%s", args, code, out, errs)
		}
		t.Logf("%d segments, %d flags: %v", segments, len(args), time.Since(begin))
	}
}

func TestUsage(t *testing.T) {
	urls, _ := directories(t)
	id := deliver(t, urls, 3, true)
	for _, args := range [][]string{
		{},
		{"-at", "ftp://x/"},
		{"-at", urls[0], "more"},
		{"-since", "yesterday", "-at", urls[0]},
		{"-hour", "8", "-at", urls[0]},
		{"-expect", "/nowhere/at/all", "-at", urls[0]},
		{"-nonsense"},
		{"replay"},
		{"close"},
		{"close", "-at", urls[0], "-class", "vpn", "-spool", id},
		{"close", "-at", urls[0], "-class", "vpn", "-spool", id, "-reason", "gone", "-sign", "/nowhere"},
		{"replay", "-from", urls[0], "-to", urls[1]},
		{"replay", "-from", urls[0], "-to", "x", "-class", "vpn", "-spool", id},
		{"-at", urls[0], "-at", urls[0]}, // the same place for two destinations
		{"-at", urls[0], "-class", "A"},
		{"-at", urls[0], "-parallel", "-1"},
	} {
		if code, _, errs := audits(t, args...); code != exitUsage || errs == "" {
			t.Errorf("%q: exit code %d, %s", args, code, errs)
		}
	}
	for _, args := range [][]string{
		{"replay", "-from", urls[0], "-to", urls[1], "-class", "vpn", "-spool", strings.Repeat("0", 26)},
	} {
		if code, _, errs := audits(t, args...); code != exitFailed || errs == "" {
			t.Errorf("%q: exit code %d, %s", args, code, errs)
		}
	}
	if code, _, errs := audits(t, "-h"); code != 0 || !strings.Contains(errs, "-at") {
		t.Errorf("-h: exit code %d, %s", code, errs)
	}
}

func TestBar(t *testing.T) {
	p := new(audit.Progress)
	empty := line(p)
	p.Manifests.Store(5)
	p.ManifestsOf.Store(10)
	if b := line(p); !strings.Contains(b, "5/10") || strings.Count(b, "=") != 12 || strings.Contains(empty, "=") {
		t.Errorf("%s\n%s", empty, b)
	}
}
