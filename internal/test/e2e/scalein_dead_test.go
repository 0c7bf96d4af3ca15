//go:build linux

package e2e

import (
	"io"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
)

// TestScaleInDeadDestination: the group terminates the instance while one destination is dead. The report comes within the
// drain's time and says what is missing there, the other destination has everything, the process reports incomplete, and the
// group does not get CONTINUE. Another collector adopts the volume when the destination is back: then every record is there
// once.
func TestScaleInDeadDestination(t *testing.T) {
	const timeout = 20 * time.Second // all of it passes, and a tenth of it has to do for Verify and the report
	s := startServers(t)
	g := draintest.NewGroup(&draintest.GroupOptions{HeartbeatTimeout: time.Minute, Terminate: true})
	i := g.Launch()
	api, meta := httptest.NewServer(g), httptest.NewServer(i)
	defer api.Close()
	defer meta.Close()
	env := append([]string{
		"AWS_ENDPOINT_URL_AUTO_SCALING=" + api.URL, "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + meta.URL, "AWS_REGION=us-east-1",
	}, s.env...)
	mounts := t.TempDir()
	volume := filepath.Join(mounts, "vol-1", "penstock")
	dests := []string{"-dest", "idc=" + s.sftp, "-dest", "s3=" + s.s3, "-segment-bytes", "256KiB", "-segment-age", "1s"}
	addr := testserver.FreeAddr(t)
	c := startCollector(t, volume, env, append(dests, "-listen", "vpn=tcp://"+addr, "-quiesce", "1s", "-drain-timeout", timeout.String())...).ready()
	both := loadgenSend(t, "-to", "tcp://"+addr, "-count", "5000", "-size", "300", "-run", "both")
	c.until("some of it to be at both", time.Minute, func() bool { return delivered(t, s.sftp, "class=vpn/") > 2 })
	s.ssh.Stop()
	one := loadgenSend(t, "-to", "tcp://"+addr, "-count", "5000", "-size", "300", "-run", "one")
	sent := both.Sent + one.Sent
	i.Terminate()
	if code := c.wait(timeout + time.Minute); code != 4 {
		t.Errorf("exit code %d", code)
	}
	if answer, expired := i.Answered(); answer != asg.Abandon || expired {
		t.Errorf("answered %q, by a time-out %v", answer, expired)
	}
	r := c.report()
	d := r.Classes["vpn"].Destinations
	left := uint64(0)
	for _, l := range r.Left {
		left += l.Records
		if l.Destination != "idc" || l.Why == "" {
			t.Errorf("leftover %+v", l)
		}
	}
	if took := r.Ended.Sub(r.Started); r.Outcome != drain.Incomplete || took > timeout || !strings.HasPrefix(r.Trigger, "scale-in") ||
		r.Classes["vpn"].Kept.Records != sent || !d["s3"].Verified || d["s3"].Delivered.Records != sent || left < one.Sent || left != d["idc"].Pending.Records {
		t.Errorf("%d sent, after %v: %s", sent, took, r.JSON())
	}
	for _, k := range s.env {
		name, value, _ := strings.Cut(k, "=")
		t.Setenv(name, value)
	}
	if n := delivered(t, s.s3, "_report/"); n != 1 {
		t.Errorf("%d reports at the destination that lives", n)
	}
	loadgenCheck(t, s.env, "both", both.Sent, s.s3)
	loadgenCheck(t, s.env, "one", one.Sent, s.s3)

	in, err := spool.Inspect(filepath.Join(volume, "vpn"))
	if err != nil || in.Destinations["idc"].Pending.Records != left {
		t.Fatalf("the volume: %+v, %v", in, err)
	}
	s.ssh.Start()
	c = startCollector(t, t.TempDir(), s.env, append(dests, "-listen", "web=tcp://"+testserver.FreeAddr(t), "-adopt", mounts, "-on-term", "drain")...).ready()
	c.until("the adoption", time.Minute, func() bool { return c.adoption() == "delivered" })
	if code := c.end(syscall.SIGTERM, time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := audited(t, s, in.Spool); n != sent {
		t.Errorf("%d records are delivered, %d were sent", n, sent)
	}
	loadgenCheck(t, s.env, "both", both.Sent, s.s3, s.sftp)
	loadgenCheck(t, s.env, "one", one.Sent, s.s3, s.sftp)
}

// delivered counts what a destination has below a prefix.
func delivered(t *testing.T, url, prefix string) (n int) {
	t.Helper()
	d, err := open.Destination(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := d.(io.Closer); ok {
		defer c.Close()
	}
	for _, err := range d.(ship.Lister).List(t.Context(), prefix) {
		if err != nil {
			return n // not there yet
		}
		n++
	}
	return n
}
