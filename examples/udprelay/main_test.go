package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/ingest/udprelay"
)

// TestMistakes: all mistakes in the settings are reported at once, each with its place.
func TestMistakes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "relay.yaml")
	if err := os.WriteFile(file, []byte("listen: [10.0.0.1, 10.0.0.2:514]\nports: many\ncheck: ftp://x\nengin: nft\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := parse(t.Context(), []string{"-config", file, "-targets", "static:10.0.0.2:514,x", "-mode", "roundrobin", "-check-every", "1h", "stray"},
		[]string{"PENSTOCK_REFRESH=0s"})
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, want := range []string{"10.0.0.1", "many", "ftp", "engin", `"x"`, "roundrobin", "check-every", "stray", "PENSTOCK_REFRESH"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named:\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 9 {
		t.Errorf("%d mistakes:\n%v", n, err)
	}
	for args, want := range map[string]string{
		"": "-listen",
		"-listen :514 -targets static: -check off":                                    "no targets",
		"-listen :514 -targets file:/nowhere/list -check off":                         "/nowhere/list",
		"-listen :514 -targets static:10.0.0.1:514":                                   "-check",
		"-listen :514 -targets static:10.0.0.1:514 -check off -rotate 1s":             "-mode generations",
		"-listen :514 -targets static:10.0.0.1:514 -mode generations -ports 1000":     "8192",
		"-listen :514 -targets static:10.0.0.1:514 -mode generations -rotate 100s":    "rests",
		"-listen 10.0.0.1:514 -targets static:10.0.0.1:514 -check off":                "itself",
		"-listen fd:none -targets static:10.0.0.1:514 -check off":                     "none",
		"-listen :514 -targets static:10.0.0.1:514 -check http://10.0.0.1/readyz":     "{host}",
		"-listen :514 -targets http://10.0.0.1 -check off":                            "asg:GROUP:PORT",
		"-listen :514 -targets dns:name -check off":                                   "dns:NAME:PORT",
		"-listen 10.0.0.2:514 -targets static:10.0.0.1:514 -refresh 0s -table a-b":    "a-b",
		"-listen 10.0.0.2:1 -listen 10.0.0.2:1 -targets static:10.0.0.1:514 -table a": "twice",
	} {
		if _, err := parse(t.Context(), strings.Fields(args), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
	s, err := parse(t.Context(), strings.Fields("-listen :514 -targets static:10.0.0.1:514 -mode generations"), nil)
	if err != nil || len(s.engineOptions.Listen) != 2 || s.checks.url != "" {
		t.Errorf("%+v, %v", s, err)
	}
}

// stub is an engine that counts what it is asked for.
type stub struct {
	mu   sync.Mutex
	used [][]netip.AddrPort
	err  error
}

func (s *stub) Use(_ context.Context, targets []netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.used = append(s.used, targets)
	}
	return s.err
}

func (s *stub) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (s *stub) Account(context.Context) (*udprelay.Account, error) {
	return &udprelay.Account{
		In: 10, Out: map[netip.AddrPort]uint64{netip.MustParseAddrPort("10.0.0.1:514"): 6}, Dropped: map[udprelay.Cause]uint64{udprelay.Queue: 3}, Passing: 1,
	}, nil
}

func newTestWatch(t *testing.T, e udprelay.Engine) *watch {
	t.Helper()
	s, err := parse(t.Context(), strings.Fields("-listen 10.0.0.9:514 -targets static:10.0.0.1:514,10.0.0.2:514 -check off"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return newWatch(s, e, "stub", slog.New(slog.DiscardHandler))
}

// TestMetrics: promtool accepts the metrics, and they include the account.
func TestMetrics(t *testing.T) {
	w := newTestWatch(t, &stub{})
	w.list(t.Context())
	w.use(t.Context())
	defer w.prober.stop()
	h := handler(w)
	get := func(path string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		return rec
	}
	text := get("/metrics").Body.String()
	for _, want := range []string{
		"penstock_relay_received_datagrams_total 10\n", `penstock_relay_forwarded_datagrams_total{target="10.0.0.1:514"} 6` + "\n",
		`penstock_relay_dropped_datagrams_total{cause="queue"} 3` + "\n", "penstock_relay_passing_datagrams 1\n",
		`penstock_relay_target_in_use{target="10.0.0.2:514"} 1` + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	var s state
	if err := json.Unmarshal(get("/status.json").Body.Bytes(), &s); err != nil || !s.Account.Balanced() || len(s.Targets) != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	if code := get("/readyz").Code; code != http.StatusOK {
		t.Error(code)
	}
	if _, err := exec.LookPath("promtool"); err != nil && os.Getenv("CI") != "true" {
		t.Skip("promtool is missing")
	}
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v: %s", err, out)
	}
}

// slowEngine takes long for an account, and counts the requests for it.
type slowEngine struct {
	stub
	asked, now atomic.Int64
	most       atomic.Int64 // at a time
}

func (s *slowEngine) Account(ctx context.Context) (*udprelay.Account, error) {
	s.asked.Add(1)
	s.most.Store(max(s.most.Load(), s.now.Add(1)))
	defer s.now.Add(-1)
	time.Sleep(time.Second)
	return s.stub.Account(ctx)
}

// TestManyAsk: repeated requests for the state do not keep the engine from its work. With the engine nft each reading starts a
// process, during which the targets cannot be changed.
func TestManyAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &slowEngine{}
		w := newTestWatch(t, e)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if s := w.state(); s.Account == nil || len(s.Trouble) > 0 {
					t.Errorf("%+v", s)
				}
			})
		}
		wg.Wait()
		if asked, most := e.asked.Load(), e.most.Load(); asked > 2 || most > 1 {
			t.Errorf("the engine was asked %d times, %d at a time", asked, most)
		}
		if w.state(); e.asked.Load() > 3 {
			t.Error("a later question was not asked once")
		}
	})
}

// TestRefused: if an engine refuses a change, the change is retried, and the previous targets stay.
func TestRefused(t *testing.T) {
	e := &stub{err: fmt.Errorf("no")}
	w := newTestWatch(t, e)
	defer w.prober.stop()
	w.list(t.Context())
	w.use(t.Context())
	if w.ready() == nil {
		t.Error("it is ready without targets")
	}
	e.err = nil
	w.use(t.Context())
	w.use(t.Context())
	if w.ready() != nil || len(e.used) != 1 || len(e.used[0]) != 2 {
		t.Errorf("%v, %v", w.ready(), e.used)
	}
	w.mu.Lock()
	w.listed[0].Draining = true
	w.mu.Unlock()
	w.use(t.Context())
	if len(e.used) != 2 || len(e.used[1]) != 1 {
		t.Errorf("a draining target stays: %v", e.used)
	}
}

// TestCheckShowsNoURL: the status page shows why a target is unhealthy, without the URL of the check, which may contain a
// token.
func TestCheckShowsNoURL(t *testing.T) {
	for _, target := range []string{"127.0.0.1:9", "[fe80::1%none]:9"} {
		for _, u := range []string{"http://{host}:1/readyz?token=hunter2", "http://{host}:x/readyz?token=hunter2"} {
			p := newProber(checks{url: u, timeout: time.Minute}, func() {})
			if _, err := p.check(t.Context(), netip.MustParseAddrPort(target)); err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s, %s: %v", target, u, err)
			}
			p.stop()
		}
	}
}

// TestGroup: instances in service are targets, terminating ones are listed as draining, and each address is looked up once.
func TestGroup(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	states := map[string]string{"i-1": "InService", "i-2": "Terminating:Wait", "i-3": "Pending"}
	located := 0
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		switch r.PostForm.Get("Action") {
		case "DescribeAutoScalingGroups":
			var members strings.Builder
			for id, state := range states {
				fmt.Fprintf(&members, "<member><InstanceId>%s</InstanceId><LifecycleState>%s</LifecycleState></member>", id, state)
			}
			fmt.Fprintf(w, "<DescribeAutoScalingGroupsResponse><DescribeAutoScalingGroupsResult><AutoScalingGroups><member><AutoScalingGroupName>g</AutoScalingGroupName>"+
				"<Instances>%s</Instances></member></AutoScalingGroups></DescribeAutoScalingGroupsResult></DescribeAutoScalingGroupsResponse>", members.String())
		case "DescribeInstances":
			located++
			if !strings.Contains(r.Header.Get("Authorization"), "/ec2/aws4_request") {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			fmt.Fprint(w, "<DescribeInstancesResponse><reservationSet>")
			for i := 1; r.PostForm.Get(fmt.Sprintf("InstanceId.%d", i)) != ""; i++ {
				id := r.PostForm.Get(fmt.Sprintf("InstanceId.%d", i))
				fmt.Fprintf(w, "<item><instancesSet><item><instanceId>%s</instanceId><privateIpAddress>10.0.0.%s</privateIpAddress></item></instancesSet></item>", id, id[2:])
			}
			fmt.Fprint(w, "</reservationSet></DescribeInstancesResponse>")
		}
	}))
	defer api.Close()
	defer http.DefaultClient.CloseIdleConnections()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_EC2": api.URL, "AWS_ENDPOINT_URL_AUTO_SCALING": api.URL, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "id",
		"AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value)
	}
	src, err := newSource("asg:g:514")
	if err != nil {
		t.Fatal(err)
	}
	want := func(text string) {
		t.Helper()
		targets, err := src.Targets(t.Context())
		if got := fmt.Sprint(targets); err != nil || got != text {
			t.Errorf("%s, %v, want %s", got, err, text)
		}
	}
	want("[{10.0.0.1:514 false} {10.0.0.2:514 true}]")
	want("[{10.0.0.1:514 false} {10.0.0.2:514 true}]")
	if located != 1 {
		t.Errorf("EC2 was asked %d times for the same addresses", located)
	}
	delete(states, "i-2")
	states["i-3"] = "InService"
	want("[{10.0.0.1:514 false} {10.0.0.3:514 false}]")
	states = nil
	if _, err := src.Targets(t.Context()); err == nil {
		t.Error("an empty group is a list without targets")
	}
}

// TestFiles: anything but a file with a list is refused without waiting, and a file that is being written in place is not read
// half written.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "targets")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	src, err := newSource("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	want := func(n int) {
		t.Helper()
		if targets, err := src.Targets(t.Context()); err != nil || len(targets) != n {
			t.Errorf("%v, %v, want %d targets", targets, err, n)
		}
	}
	write("10.0.0.1:514\n10.0.0.2:514\n10.0.0.3:514\n")
	want(3)
	write("10.0.0.1:514\n10.0.0.2:5") // the writer goes on
	want(3)
	write("10.0.0.1:514\n10.0.0.2:514\n")
	want(3)
	want(2)
	loop, fifo := filepath.Join(dir, "loop"), filepath.Join(dir, "fifo")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("mkfifo", fifo).Run(); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{dir, loop, fifo, os.DevNull} {
		src, err := newSource("file:" + bad)
		if err != nil {
			t.Fatal(err)
		}
		answered := make(chan error, 1)
		go func() { _, err := src.Targets(t.Context()); answered <- err }()
		select {
		case err := <-answered:
			if err == nil || !strings.Contains(err.Error(), bad) {
				t.Errorf("%s: %v", bad, err)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s is waited for", bad)
		}
	}
}

// slow is a source that answers only once.
type slow struct{ asked atomic.Int64 }

func (s *slow) Targets(ctx context.Context) ([]udprelay.Target, error) {
	if s.asked.Add(1) > 1 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return udprelay.ParseTargets([]byte("10.0.0.1:514\n10.0.0.2:514"))
}

// TestSlowSource: while a source does not answer, a target that becomes unhealthy is removed as fast as otherwise.
func TestSlowSource(t *testing.T) {
	e := &stub{}
	w := newTestWatch(t, e)
	src := &slow{}
	w.s.source, w.s.refresh = src, time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.run(ctx) }()
	defer func() { cancel(); <-done }()
	within := func(what string, holds func() bool) {
		t.Helper()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for begin := time.Now(); !holds(); <-tick.C {
			if time.Since(begin) > time.Minute {
				t.Fatal(what)
			}
		}
	}
	used := func(calls, n int) func() bool {
		return func() bool {
			e.mu.Lock()
			defer e.mu.Unlock()
			return len(e.used) == calls && len(e.used[calls-1]) == n
		}
	}
	within("the targets are not used", used(1, 2))
	within("the source is not asked again", func() bool { return src.asked.Load() > 1 })
	w.prober.note(netip.MustParseAddrPort("10.0.0.1:514"), true, errors.New("503"))
	within("the sick target stays", used(2, 1))
}

// TestHelp: the program describes itself.
func TestHelp(t *testing.T) {
	var out, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-h"}, &out, &stderr); code != 0 || !strings.Contains(out.String(), "-flow-timeout") {
		t.Errorf("%d\n%s%s", code, out.String(), stderr.String())
	}
	for _, sub := range []string{"man", "version", "-version"} {
		if code := run(t.Context(), []string{sub}, &out, &stderr); code != 0 {
			t.Errorf("%s: %d", sub, code)
		}
	}
	if code := run(t.Context(), []string{"-listen", "nowhere"}, &out, &stderr); code != exitUsage {
		t.Error(code)
	}
}

// unread is a log that nobody reads.
type unread struct{ closed chan struct{} }

func (u unread) Write(p []byte) (int, error) { <-u.closed; return len(p), nil }

// TestUnreadLog: the relay updates its targets even if nobody reads its log.
func TestUnreadLog(t *testing.T) {
	w := unread{make(chan struct{})}
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		newLog(w, "info", "text").Info("a line")
	}()
	select {
	case <-logged:
	case <-time.After(20 * time.Second):
		t.Error("a line waits for its reader")
	}
	close(w.closed)
	<-logged
}
