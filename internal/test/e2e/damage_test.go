//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestDamageAtServers changes files on the disks of real servers between an object's delivery and Verify. If an object is
// damaged, or lost while the server refuses to take it again, the report names it and the group gets ABANDON. If it is only
// lost, it is delivered again, and the group gets CONTINUE. PENSTOCK_DAMAGES sets the number of runs.
func TestDamageAtServers(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("PENSTOCK_DAMAGES"))
	if err != nil {
		rounds = 1
	}
	sshd, s3 := testserver.StartSSHD(t), testserver.StartS3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", s3.Access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3.Secret)
	for n := range rounds {
		for _, mode := range []string{"damaged", "lost", "removed"} {
			for _, at := range []string{"s3", "idc"} {
				name := fmt.Sprintf("%s-%s-%d", mode, at, n)
				t.Run(name, func(t *testing.T) {
					t.Parallel() // it waits most of the time
					urls := map[string]string{
						"s3":  fmt.Sprintf("s3://%s/%s?endpoint=%s&region=us-east-1&path_style=true", testserver.Bucket, name, s3.Endpoint),
						"idc": sshd.URL(name),
					}
					root := map[string]string{"s3": filepath.Join(s3.Dir, testserver.Bucket, name), "idc": filepath.Join(sshd.Dir, name)}[at]
					damageAt(t, mode, at, urls, root)
				})
			}
		}
	}
}

func damageAt(t *testing.T, mode, at string, urls map[string]string, root string) {
	ctx := t.Context()
	var mu sync.Mutex
	hit := ""
	plan := func(c shiptest.Call) shiptest.Fault {
		if c.Op != shiptest.Put || !strings.HasPrefix(c.Key, "class=") {
			return shiptest.Fault{}
		}
		mu.Lock()
		defer mu.Unlock()
		if hit == "" {
			hit = c.Key
			return shiptest.Fault{After: func(context.Context) error { return damageFile(filepath.Join(root, c.Key), mode, at) }}
		}
		if mode == "lost" && c.Key == hit {
			return shiptest.FailBefore(errors.New("no space left there"))
		}
		return shiptest.Fault{}
	}
	dests := map[string]ship.Destination{}
	for name, url := range urls {
		d, err := open.Destination(ctx, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := d.(io.Closer); ok {
			defer c.Close()
		}
		if dests[name] = d; name == at {
			dests[name] = shiptest.Faulty(d, plan)
		}
	}
	dir := t.TempDir()
	sp, err := spool.Open(filepath.Join(dir, "vpn"), &spool.Options{Class: "vpn", Destinations: []string{"idc", "s3"}, SegmentBytes: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if err := sp.Shelf().Freeze("what has gone from the spool before the drain is not the drain's to restore"); err != nil {
		t.Fatal(err)
	}
	gen, err := fwlog.NewGenerator("damage", 1)
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(2000) {
		rec := []segment.Record{{Time: time.Now().UnixNano(), Data: gen.Append(nil, 0, seq, 300)}}
		if _, err := sp.Append(ctx, rec); err != nil {
			t.Fatal(err)
		}
	}
	sh, err := ship.New(sp, &ship.Options{Destinations: dests})
	if err != nil {
		t.Fatal(err)
	}
	g := draintest.NewGroup(&draintest.GroupOptions{Terminate: true})
	i := g.Launch()
	l, err := asg.New(&asg.Options{Metadata: i, Service: g, Retry: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	// An object that is refused or cannot be read is retried as long as there is progress; a busy machine gets extra time.
	d, err := drain.New(&drain.Options{
		Dir: dir, Timeout: 2 * time.Minute, StallTimeout: 15 * time.Second, Quiesce: -1, Lifecycles: []drain.Lifecycle{l},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Add(drain.Class{Shipper: sh}); err != nil {
		t.Fatal(err)
	}
	i.Terminate()
	r, err := d.RunWith(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	want, outcome, restored := asg.Abandon, drain.Mismatch, 0
	if mode == "removed" {
		want, outcome, restored = asg.Continue, drain.Delivered, 1
	}
	answer, _ := i.Answered()
	if r.Outcome != outcome || answer != want || r.Classes["vpn"].Destinations[at].Restored != restored {
		t.Fatalf("answered %q: %s", answer, r.JSON())
	}
	named := false
	for _, left := range r.Left {
		named = named || left.Where == hit && left.Destination == at && left.Records > 0
	}
	if named != (mode != "removed") || len(r.Left) > 1 {
		t.Errorf("%s was %s: %s", hit, mode, r.JSON())
	}
}

// damageFile damages a server's file like a failing disk or a third party. An S3 server has the checksum next to the file and
// would not notice changed bytes of the same length before somebody reads them.
func damageFile(file, mode, at string) error {
	if mode != "damaged" {
		return os.Remove(file)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if at == "s3" {
		return os.Truncate(file, int64(len(b)/2))
	}
	b[len(b)/2] ^= 1
	return os.WriteFile(file, b, 0o600)
}
