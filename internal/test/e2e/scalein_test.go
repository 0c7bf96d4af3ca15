//go:build linux

package e2e

import (
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
	"github.com/penstock-go/penstock/internal/test/testserver"
)

// TestScaleIn: the group terminates the instance while records still arrive. The collector waits for silence, delivers
// everything, and only then lets the instance terminate. A collector that starts on a terminating instance does not listen.
func TestScaleIn(t *testing.T) {
	g := draintest.NewGroup(&draintest.GroupOptions{HeartbeatTimeout: time.Minute, Deregistration: time.Second})
	i := g.Launch()
	api, meta := httptest.NewServer(g), httptest.NewServer(i)
	defer api.Close()
	defer meta.Close()
	env := []string{
		"AWS_ENDPOINT_URL_AUTO_SCALING=" + api.URL, "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + meta.URL,
		"AWS_ACCESS_KEY_ID=key", "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION=us-east-1",
	}
	dir, idc, udp := t.TempDir(), "file://"+filepath.Join(t.TempDir(), "idc"), testserver.FreeAddr(t)
	// On a slow machine, seconds may pass between the notice and the first late record.
	args := []string{"-listen", "vpn=udp://" + udp, "-dest", "idc=" + idc, "-quiesce", "8s", "-asg-hook", "drain"}
	c := startCollector(t, dir, env, args...).ready()
	before := loadgenSend(t, "-to", "udp://"+udp, "-rate", "10000", "-count", "10000", "-size", "300", "-run", "before")
	i.Terminate()
	late := loadgenSend(t, "-to", "udp://"+udp, "-rate", "1000", "-count", "3000", "-size", "300", "-run", "late")
	if code := c.wait(time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if answer, expired := i.Answered(); answer != asg.Continue || expired {
		t.Errorf("the hook was answered %q, by a time-out: %v", answer, expired)
	}
	loadgenCheck(t, env, "before", before.Sent, idc)
	loadgenCheck(t, env, "late", late.Sent, idc)
	r := c.report()
	if r.Outcome != "delivered" || !strings.HasPrefix(r.Trigger, "scale-in") || r.Classes["vpn"].Kept.Records != before.Sent+late.Sent {
		t.Errorf("%s", r.JSON())
	}

	c = startCollector(t, dir, env, args...)
	if code := c.wait(time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if log := c.log.String(); strings.Contains(log, `msg="ingest: listening"`) || !strings.Contains(log, "listeners stay closed") {
		t.Errorf("started on an instance that goes:\n%s", log)
	}
}
