//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
	"github.com/penstock-go/penstock/internal/test/faultproxy"
	"github.com/penstock-go/penstock/internal/test/s3d"
	"github.com/penstock-go/penstock/internal/test/testserver"
)

// TestScaleIns ends collectors at random: a group API that fails every fifth call, S3 with answers of 503, dropped connections
// and lost responses, SFTP with cut and silent connections, full spools, kill -9 at any moment of the drain and again after the
// next start, and two signals. All received records are at both destinations once, however many processes it took, and the
// group gets CONTINUE only after a complete report. PENSTOCK_SCALEINS sets how many, PENSTOCK_SEED which.
func TestScaleIns(t *testing.T) {
	number := func(env string, def int) int {
		if n, err := strconv.Atoi(os.Getenv(env)); err == nil {
			return n
		}
		return def
	}
	s := startServers(t)
	seen := map[string]int{}
	for n := range number("PENSTOCK_SCALEINS", 4) {
		seed := number("PENSTOCK_SEED", 1) + n
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			for _, what := range scaleIn(t, s, uint64(seed)) {
				seen[what]++
			}
		})
	}
	t.Logf("seen: %v", seen)
}

// scaleIn is one of them; it returns what happened in it.
func scaleIn(t *testing.T, s *servers, seed uint64) (seen []string) {
	r := rand.New(rand.NewPCG(seed, 7))
	dir, run := t.TempDir(), fmt.Sprintf("scalein-%d", seed)
	var api atomic.Uint64 // calls
	var early atomic.Bool
	g := draintest.NewGroup(&draintest.GroupOptions{
		HeartbeatTimeout: time.Minute, Deregistration: time.Duration(r.IntN(2000)) * time.Millisecond,
		Fault: func(op string) error {
			if op == string(asg.Continue) && !reportedComplete(dir) {
				early.Store(true)
			}
			if api.Add(1)%5 == 0 {
				return errors.New("a fault was asked for")
			}
			return nil
		},
	})
	i := g.Launch()
	service, meta := httptest.NewServer(g), httptest.NewServer(i)
	defer service.Close()
	defer meta.Close()
	env := append([]string{
		"AWS_ENDPOINT_URL_AUTO_SCALING=" + service.URL, "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + meta.URL, "AWS_REGION=us-east-1",
		"AWS_MAX_ATTEMPTS=1",
	}, s.env...)
	s3, s3Proxy, idc, idcProxy := behind(t, s, run)
	heal := disturb(r, s3Proxy, idcProxy, &seen)

	udp := testserver.FreeAddr(t)
	args := []string{
		"-listen", "vpn=udp://" + udp, "-dest", "idc=" + idc, "-dest", "s3=" + s3, "-quiesce", "500ms", "-drain-timeout", "60s",
		"-segment-bytes", "256KiB", "-segment-age", "1s", "-asg-hook", "drain",
	}
	if r.IntN(4) == 0 {
		args = append(args, "-spool-max-bytes", "4MiB")
		seen = append(seen, "small spool")
	}
	c := startCollector(t, dir, env, args...).ready()
	count := uint64(1000 + r.IntN(6000))
	sent := loadgenSend(t, "-to", "udp://"+udp, "-rate", "5000", "-count", fmt.Sprint(count), "-size", "300", "-run", run).Sent
	i.Terminate()
	healed := time.AfterFunc(time.Duration(r.IntN(8000))*time.Millisecond, heal)
	defer healed.Stop()

	// Events that end a process before its drain has ended: any of them, some twice.
	for kills := r.IntN(3); kills > 0; kills-- {
		c.until("the drain", 30*time.Second, func() bool { return strings.Contains(c.log.String(), "phase=announce") })
		pause := time.NewTimer(time.Duration(r.IntN(2500)) * time.Millisecond)
		over := false
		select {
		case <-pause.C:
		case err := <-c.done: // it was faster
			c.done <- err
			over = true
		}
		if over {
			break
		}
		if r.IntN(3) == 0 {
			// The first signal lets a drain that the group has begun continue. The kernel merges signals that arrive at the
			// same time.
			seen = append(seen, "signals")
			tick := time.NewTicker(300 * time.Millisecond)
			for n := 0; n < 100 && c.cmd.Process.Signal(syscall.SIGTERM) == nil; n++ {
				<-tick.C
			}
			tick.Stop()
		} else {
			seen = append(seen, "kill in "+journalled(dir))
			_ = c.cmd.Process.Kill()
		}
		c.wait(30 * time.Second)
		c = startCollector(t, dir, env, args...)
	}
	code := c.wait(2 * time.Minute)
	heal()
	for tries := 0; code != 0 && tries < 3; tries++ { // incomplete: the instance stays, and somebody starts it again
		seen = append(seen, fmt.Sprint("exit ", code))
		c = startCollector(t, dir, env, args...)
		if i.State() == "InService" {
			t.Fatal("the group has forgotten the instance")
		}
		code = c.wait(2 * time.Minute)
	}
	if code != 0 {
		t.Fatalf("exit code %d when all is well", code)
	}
	rep := c.report()
	if rep.Outcome != drain.Delivered || rep.Classes["vpn"].Kept.Records != sent {
		t.Errorf("%d sent: %s", sent, rep.JSON())
	}
	if early.Load() {
		t.Error("CONTINUE before a complete report")
	}
	answer, expired := i.Answered()
	seen = append(seen, string(answer))
	if expired {
		t.Error("the hook was left to its time-out")
	}
	loadgenCheck(t, s.env, run, sent, strings.Replace(s.s3, "/e2e?", "/"+run+"?", 1), s.ssh.URL(run))
	return seen
}

// journalled is the phase that a drain has reached.
func journalled(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, "drain.json"))
	if err != nil {
		return "no phase"
	}
	_, after, _ := strings.Cut(string(b), `"phase":"`)
	phase, _, _ := strings.Cut(after, `"`)
	return phase
}

// behind returns the URLs of both servers through proxies that can fail.
func behind(t *testing.T, s *servers, run string) (s3 string, s3Proxy *faultproxy.S3, idc string, idcProxy *faultproxy.TCP) {
	t.Helper()
	u, err := url.Parse(strings.Replace(s.s3, "/e2e?", "/"+run+"?", 1))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if s3Proxy, err = faultproxy.ListenS3(q.Get("endpoint")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s3Proxy.Close() })
	q.Set("endpoint", s3Proxy.Endpoint)
	u.RawQuery = q.Encode()

	if idcProxy, err = faultproxy.ListenTCP(s.ssh.Addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(idcProxy.Close)
	text, err := os.ReadFile(s.ssh.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	_, _, key, _, _, err := ssh.ParseKnownHosts(text)
	if err != nil {
		t.Fatal(err)
	}
	known := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, []byte(knownhosts.Line([]string{idcProxy.Addr}, key)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := url.Parse(s.ssh.URL(run))
	if err != nil {
		t.Fatal(err)
	}
	v.Host = idcProxy.Addr
	q = v.Query()
	q.Set("known_hosts", known)
	v.RawQuery = q.Encode()
	return u.String(), s3Proxy, v.String(), idcProxy
}

// disturb begins the faults of the destinations and returns what ends them.
func disturb(r *rand.Rand, s3 *faultproxy.S3, idc *faultproxy.TCP, seen *[]string) (heal func()) {
	fault := map[string]s3d.Fault{
		"s3 5xx": {Status: http.StatusServiceUnavailable, Code: "SlowDown"}, "s3 drops": {Drop: true}, "s3 loses answers": {Lose: true},
		"s3 well": {},
	}
	kinds := []string{"s3 5xx", "s3 drops", "s3 loses answers", "s3 well"}
	kind := kinds[r.IntN(len(kinds))]
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(r.Uint64(), 8))
	s3.SetPlan(func(string, int, *http.Request) s3d.Fault {
		mu.Lock()
		defer mu.Unlock()
		if rnd.IntN(2) == 0 {
			return fault[kind]
		}
		return s3d.Fault{}
	})
	*seen = append(*seen, kind)
	switch r.IntN(3) {
	case 0:
		idc.CutAfter(int64(20_000 + r.IntN(200_000)))
		*seen = append(*seen, "sftp cut")
	case 1:
		idc.Dig()
		*seen = append(*seen, "sftp silent")
	default:
		*seen = append(*seen, "sftp well")
	}
	return sync.OnceFunc(func() {
		s3.SetPlan(nil)
		idc.Fill()
	})
}
