package matrix

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/penstock-go/penstock/internal/test/faultproxy"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/ship/s3ship"
	"github.com/penstock-go/penstock/ship/sftpship"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// setup holds the special settings of a row's servers and clients.
type setup struct {
	sshd   []string // lines of sshd_config
	sftp   sftpship.Options
	compat bool
	// Instead of the usual clients.
	sftpDest, s3Dest func(*rig) ship.Destination
}

// rig is one row: a spool that ships to two real servers, each behind a proxy that brings the fault.
type rig struct {
	t    *testing.T
	sshd *testserver.SSHD
	gw   *testserver.S3Server
	// net is before sshd, s3 before the S3 server; s3net between the client and s3.
	net, s3net *faultproxy.TCP
	s3         *faultproxy.S3

	dirs  map[string]string // where the servers keep what they were given, by destination
	dests map[string]ship.Destination
	sp    *spool.Spool
	sh    *ship.Shipper
	stop  func()
	log   *testserver.Log
	sent  [][]byte // payloads; the sequence number is the index + 1
	// torn: SSH connections break, over which temporary files could be removed. They are swept when they are an hour old.
	torn bool
}

// newRig starts the servers and opens the spool; nothing is shipped yet.
func newRig(t *testing.T, o setup) *rig {
	t.Helper()
	t.Parallel()
	return startRig(t, o)
}

// startRig is newRig for rows that change this process's environment.
func startRig(t *testing.T, o setup) *rig {
	t.Helper()
	r := &rig{t: t, log: new(testserver.Log), dests: map[string]ship.Destination{}, stop: func() {}}
	r.sshd = testserver.StartSSHD(t, append(o.sshd, "ForceCommand internal-sftp")...) // the first one holds
	r.gw = testserver.StartS3(t)
	var err error
	if r.net, err = faultproxy.ListenTCP(r.sshd.Addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.net.Close)
	if r.s3, err = faultproxy.ListenS3(r.gw.Endpoint); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.s3.Close() })
	if r.s3net, err = faultproxy.ListenTCP(strings.TrimPrefix(r.s3.Endpoint, "http://")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.s3net.Close)
	idc := r.sshd.URL("d") // makes the directory
	r.dirs = map[string]string{"idc": filepath.Join(r.sshd.Dir, "d"), "s3": filepath.Join(r.gw.Dir, testserver.Bucket, "p")}
	if err := os.MkdirAll(r.dirs["s3"], 0o755); err != nil {
		t.Fatal(err)
	}
	if r.dests["s3"] = r.openS3(o.compat); o.s3Dest != nil {
		r.dests["s3"] = o.s3Dest(r)
	}
	if o.sftpDest != nil {
		r.dests["idc"] = o.sftpDest(r)
	} else {
		if o.sftp.StallTimeout == 0 {
			o.sftp.StallTimeout = 10 * time.Second
		}
		h, err := sftpship.Open(t.Context(), through(t, idc, r.net.Addr), &o.sftp)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		r.dests["idc"] = h
	}
	if r.sp, err = spool.Open(t.TempDir(), &spool.Options{
		Class: "vpn", Instance: "host-a", Destinations: []string{"idc", "s3"}, SegmentBytes: 16 << 20, MaxBytes: 4 << 30, Sync: spool.SyncNone,
		Logger: slog.New(slog.NewTextHandler(r.log, nil)),
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.stop()
		if err := r.sp.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the shipper's log:\n%s", r.log)
		}
	})
	return r
}

func (r *rig) openS3(compat bool) ship.Destination {
	b, err := s3ship.New(aws.Config{Credentials: static{r.gw.Access, r.gw.Secret}}, testserver.Bucket, "p", &s3ship.Options{
		Endpoint: "http://" + r.s3net.Addr, PathStyle: true, PartSize: 5 << 20, StallTimeout: 2 * time.Second, Attempts: 1, Compat: compat,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { b.Close() })
	return b
}

// static are fixed credentials.
type static struct{ access, secret string }

func (s static) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: s.access, SecretAccessKey: s.secret}, nil
}

// through is a URL with a proxy's address, under which the server's key is known too.
func through(t *testing.T, raw, addr string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	text, err := os.ReadFile(q.Get("known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, key, _, _, err := ssh.ParseKnownHosts(text)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(knownhosts.Line([]string{addr}, key)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	q.Set("known_hosts", file)
	u.Host, u.RawQuery = addr, q.Encode()
	return u.String()
}

// text appends n segments of per records of text each.
func (r *rig) text(n, per int) {
	r.t.Helper()
	for range n {
		batch := make([][]byte, per)
		for i := range batch {
			batch[i] = fmt.Appendf(nil, "record %d of a row that is called %s", len(r.sent)+i+1, r.t.Name())
		}
		r.append(batch)
	}
}

// noise appends n segments of about size bytes that do not compress.
func (r *rig) noise(n, size int) {
	r.t.Helper()
	rng := rand.NewChaCha8([32]byte{1})
	for range n {
		batch := make([][]byte, size/32_000)
		for i := range batch {
			raw := make([]byte, 24_000)
			rng.Read(raw)
			batch[i] = []byte(base64.StdEncoding.EncodeToString(raw))
		}
		r.append(batch)
	}
}

// append appends records and seals them.
func (r *rig) append(batch [][]byte) {
	r.t.Helper()
	records := make([]segment.Record, len(batch))
	for i, data := range batch {
		records[i] = segment.Record{Time: time.Now().UnixNano(), Data: data}
	}
	r.appendRecords(records)
}

func (r *rig) appendRecords(records []segment.Record) {
	r.t.Helper()
	if _, err := r.sp.Append(r.t.Context(), records); err != nil {
		r.t.Fatal(err)
	}
	if err := r.sp.Seal(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	for _, rec := range records {
		r.sent = append(r.sent, bytes.Clone(rec.Data))
	}
}

// start begins to ship. Waits are short: what they are is tested with a fake clock.
func (r *rig) start(change ...func(*ship.Options)) {
	r.t.Helper()
	o := &ship.Options{
		Destinations: r.dests, ProbeInterval: 50 * time.Millisecond,
		Backoff: func(attempt int, rnd float64) time.Duration {
			return min(ship.Backoff(attempt, rnd), 200*time.Millisecond)
		},
	}
	for _, f := range change {
		f(o)
	}
	sh, err := ship.New(r.sp, o)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sh.Run(ctx) }()
	r.sh = sh
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	})
}

// plain switches compression off, so that objects are as large as what was appended.
func plain(o *ship.Options) { o.Codec = "none" }

// until waits for a condition of the shipper's.
func (r *rig) until(what string, cond func(map[string]ship.DestinationStats) bool) {
	r.t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond(r.sh.Stats()) {
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("waited in vain for: %s; stats %+v", what, r.sh.Stats())
		}
	}
}

// state waits until a destination is in a state.
func (r *rig) state(dest string, want ship.State) {
	r.t.Helper()
	r.until(dest+" to be "+string(want), func(s map[string]ship.DestinationStats) bool { return s[dest].State == want })
}

// delivered waits until a destination has everything that is sealed.
func (r *rig) delivered(dest string) {
	r.t.Helper()
	r.until(dest+" to have everything", func(s map[string]ship.DestinationStats) bool { return s[dest].Pending.Records == 0 })
}

// audit looks at what lies on the servers' disks, deep.
func (r *rig) audit() *audit.Result {
	r.t.Helper()
	o := &audit.Options{Deep: true}
	for _, name := range []string{"idc", "s3"} {
		o.Places = append(o.Places, audit.Place{Name: name, Destination: r.disk(name)})
	}
	res, err := audit.Run(r.t.Context(), o)
	if err != nil {
		r.t.Fatal(err)
	}
	return res
}

// disk returns the contents of a server's disk.
func (r *rig) disk(name string) ship.Destination {
	r.t.Helper()
	d, err := fileship.New(r.dirs[name], nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

// honest checks in the middle of a fault that nothing is claimed that is not there.
func (r *rig) honest() {
	r.t.Helper()
	if res := r.audit(); res.Verdict == audit.Damaged {
		var b bytes.Buffer
		_ = res.WriteText(&b)
		r.t.Errorf("while the fault is on:\n%s", &b)
	}
}

// finish ends a row: everything is delivered, verified, closed, and proven.
func (r *rig) finish() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	if err := r.sh.Flush(ctx); err != nil {
		r.t.Fatalf("Flush: %v", err)
	}
	if _, err := r.sh.Verify(ctx); err != nil {
		r.t.Errorf("Verify: %v", err)
	}
	for name := range r.dests {
		if err := r.sh.Finalize(ctx, name); err != nil {
			r.t.Errorf("Finalize: %v", err)
		}
	}
	r.stop()
	r.proven()
}

// proven checks the invariant: the auditor finds everything complete, and the delivered records are the appended ones, each
// once.
func (r *rig) proven() {
	r.t.Helper()
	res := r.audit()
	if res.Verdict != audit.Complete || len(res.Chains) != 2 {
		var b bytes.Buffer
		_ = res.WriteText(&b)
		r.t.Errorf("the audit:\n%s", &b)
	}
	for _, c := range res.Chains {
		if c.Records != uint64(len(r.sent)) || c.Gaps != 0 {
			r.t.Errorf("%s: %d records and %d gaps, %d were appended", c.Place, c.Records, c.Gaps, len(r.sent))
		}
	}
	for _, name := range []string{"idc", "s3"} {
		seen := make([]bool, len(r.sent))
		err := open.Records(r.t.Context(), r.disk(name), nil, func(seq uint64, rec segment.Record) error {
			switch {
			case seq < 1 || seq > uint64(len(r.sent)):
				return fmt.Errorf("record %d was never appended", seq)
			case seen[seq-1]:
				return fmt.Errorf("record %d is there twice", seq)
			case !bytes.Equal(rec.Data, r.sent[seq-1]):
				return fmt.Errorf("record %d is %q, not %q", seq, rec.Data, r.sent[seq-1])
			}
			seen[seq-1] = true
			return nil
		})
		if err != nil {
			r.t.Errorf("%s: %v", name, err)
		}
		for i, ok := range seen {
			if !ok {
				r.t.Fatalf("%s: record %d is not there", name, i+1)
			}
		}
		if left := leftovers(r.t, r.dirs[name]); len(left) > 0 && (name != "idc" || !r.torn) {
			r.t.Errorf("%s: temporary files are left: %q", name, left)
		}
	}
}

// leftovers returns temporary files of a destination, and unfinished multipart uploads of the S3 server.
func leftovers(t *testing.T, dir string) (left []string) {
	t.Helper()
	for _, root := range []string{filepath.Join(dir, "_tmp"), filepath.Join(filepath.Dir(dir), ".sgwtmp")} {
		err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err == nil && !e.IsDir() && !strings.HasPrefix(e.Name(), "check") { // s3ship's own, of fixed names: it never deletes
				left = append(left, path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	return left
}
