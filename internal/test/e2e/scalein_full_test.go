//go:build linux

package e2e

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
	"github.com/penstock-go/penstock/internal/test/testserver"
)

// TestScaleInFullDisk: other programs fill a collector's disk to the last block, and take every block that it frees, while
// records arrive and one destination does not answer; then the group terminates the instance. All received records, even those
// last received into memory, are delivered once there is room, whether that is in time or after the group got ABANDON.
func TestScaleInFullDisk(t *testing.T) {
	for name, afterwards := range map[string]bool{"room during the drain": false, "room when the time is up": true} {
		t.Run(name, func(t *testing.T) { scaleInFullDisk(t, afterwards) })
	}
}

func scaleInFullDisk(t *testing.T, afterwards bool) {
	disk := testserver.SmallDisk(t, 64<<20, "-m", "0") // root, too, finds no room
	dir := filepath.Join(disk, "penstock")
	s := startServers(t)
	var early atomic.Bool
	g := draintest.NewGroup(&draintest.GroupOptions{HeartbeatTimeout: time.Minute, Fault: func(op string) error {
		if op == string(asg.Continue) && !reportedComplete(dir) {
			early.Store(true)
		}
		return nil
	}})
	i := g.Launch()
	api, meta := httptest.NewServer(g), httptest.NewServer(i)
	defer api.Close()
	defer meta.Close()
	env := append([]string{
		"AWS_ENDPOINT_URL_AUTO_SCALING=" + api.URL, "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + meta.URL, "AWS_REGION=us-east-1",
	}, s.env...)
	s3, _, idc, idcProxy := behind(t, s, "full")
	idcProxy.Dig()
	udp := testserver.FreeAddr(t)
	c := startCollector(t, dir, env, "-listen", "vpn=udp://"+udp, "-dest", "idc="+idc, "-dest", "s3="+s3, "-quiesce", "1s",
		"-drain-timeout", "20s", "-segment-bytes", "1MiB", "-segment-age", "1s").ready()
	before := loadgenSend(t, "-to", "udp://"+udp, "-rate", "10000", "-count", "20000", "-size", "300", "-run", "before")
	empty := hog(t, filepath.Join(disk, "others"))
	// More than the segments that are prepared can hold, less than the memory that a class may use.
	late := loadgenSend(t, "-to", "udp://"+udp, "-rate", "10000", "-count", "20000", "-size", "300", "-run", "late")
	c.until("the disk to be full", 20*time.Second, func() bool {
		return strings.Contains(c.unready(), "class vpn") && strings.Contains(c.log.String(), "no space left on device")
	})
	i.Terminate()
	c.until("the listeners to close", 40*time.Second, func() bool { return strings.Contains(c.log.String(), "phase=close") })
	idcProxy.Fill()
	want := asg.Continue
	if afterwards {
		want = asg.Abandon
		c.until("the group's answer", time.Minute, func() bool { answer, _ := i.Answered(); return answer != "" })
	}
	empty()
	if code := c.wait(3 * time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if answer, expired := i.Answered(); answer != want || expired || early.Load() {
		t.Errorf("answered %q, by a time-out %v, before the report %v", answer, expired, early.Load())
	}
	r := c.report()
	if r.Outcome != drain.Delivered || r.Retained != afterwards || r.Classes["vpn"].Kept.Records != before.Sent+late.Sent {
		t.Errorf("%d and %d sent: %s", before.Sent, late.Sent, r.JSON())
	}
	loadgenCheck(t, s.env, "before", before.Sent, strings.Replace(s.s3, "/e2e?", "/full?", 1), s.ssh.URL("full"))
	loadgenCheck(t, s.env, "late", late.Sent, strings.Replace(s.s3, "/e2e?", "/full?", 1), s.ssh.URL("full"))
}

// unready is what /readyz answers.
func (c *collector) unready() string {
	resp, err := http.Get("http://" + c.http + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

// hog fills a disk with a file, and takes what becomes free, until the function it returns removes the file.
func hog(t *testing.T, file string) (end func()) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	fill := func() error {
		for n := 1 << 20; n >= 512; {
			_, err := f.Write(make([]byte, n))
			if errors.Is(err, syscall.ENOSPC) {
				n /= 2
			} else if err != nil {
				return err
			}
		}
		return nil
	}
	if err := fill(); err != nil {
		t.Fatal(err)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := fill(); err != nil {
					t.Error(err)
				}
			case <-quit:
				return
			}
		}
	}()
	end = sync.OnceFunc(func() {
		close(quit)
		<-done
		if err := errors.Join(f.Close(), os.Remove(file)); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return end
}
