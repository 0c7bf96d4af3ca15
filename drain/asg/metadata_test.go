package asg_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
)

// TestRegion: the group is looked for in the instance's region. AWS_REGION may be the bucket's.
func TestRegion(t *testing.T) {
	g := draintest.NewGroup(&draintest.GroupOptions{Region: "eu-west-1"})
	i := g.Launch()
	overHTTP(t, g, i)
	t.Setenv("AWS_REGION", "us-east-1")
	l, err := asg.New(&asg.Options{Retry: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Check(t.Context()); err != nil {
		t.Error(err)
	}
	i.Terminate()
	if _, err := l.Finish(t.Context(), complete()); err != nil {
		t.Error(err)
	}
	if answer, _ := i.Answered(); answer != asg.Continue {
		t.Errorf("the hook was answered with %q", answer)
	}
	// An instance that is in no group: the message says where it was looked for.
	other := draintest.NewGroup(&draintest.GroupOptions{Region: "eu-north-1"}).Launch()
	overHTTP(t, g, other)
	l, _ = asg.New(nil)
	if err := l.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "eu-north-1") {
		t.Errorf("%v does not name the region", err)
	}
}

// TestHopLimit: with a hop limit of 1 a container's request for a token is never answered. The error names the cure, and
// the end does not wait for the answer.
func TestHopLimit(t *testing.T) {
	released := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		select {
		case <-released:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(released) })
	g := draintest.NewGroup(nil)
	overHTTP(t, g, g.Launch())
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", silent.URL)
	l, err := asg.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	go l.Update(t.Context(), drain.Status{Phase: "ship"}) // as a Drainer does meanwhile
	for range 3 {                                         // the SDK asks for no token after one that was not answered
		if _, _, err := l.Notice(t.Context()); err == nil || !strings.Contains(err.Error(), "--http-put-response-hop-limit 2") {
			t.Errorf("%v does not name the cure", err)
		}
	}
	begin := time.Now() // CompleteTimeout is an hour
	_, err = l.Finish(t.Context(), complete())
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("the end waited for %v", took)
	}
	if err == nil || !strings.Contains(err.Error(), "--http-put-response-hop-limit 2") {
		t.Errorf("%v does not name the cure", err)
	}
}

// TestNoProxy: with a proxy in the environment, the API is reached through it, and the metadata service is not.
func TestNoProxy(t *testing.T) {
	if os.Getenv("ASG_TEST_NOTICE") != "" { // the process below
		l, err := asg.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, goes, err := l.Notice(t.Context()); goes || err != nil {
			t.Fatalf("goes %v, %v", goes, err)
		}
		return
	}
	var through atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		through.Add(1)
		http.Error(w, "not through here: "+r.URL.String(), http.StatusBadGateway)
	}))
	t.Cleanup(proxy.Close)
	i := draintest.NewGroup(nil).Launch()
	ln, err := net.Listen("tcp4", ":0") // 0.0.0.0 reaches this host, and is not loopback, for which no proxy is used
	if err != nil {
		t.Fatal(err)
	}
	meta := &httptest.Server{Listener: ln, Config: &http.Server{Handler: i}}
	meta.Start()
	t.Cleanup(meta.Close)
	cmd := exec.Command(os.Args[0], "-test.run=^TestNoProxy$", "-test.v")
	cmd.Env = append(os.Environ(), "ASG_TEST_NOTICE=1", "HTTP_PROXY="+proxy.URL, "http_proxy="+proxy.URL, "NO_PROXY=", "no_proxy=",
		"AWS_EC2_METADATA_SERVICE_ENDPOINT="+meta.URL, "AWS_EC2_METADATA_DISABLED=", "AWS_ACCESS_KEY_ID=k", "AWS_SECRET_ACCESS_KEY=s")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if n := through.Load(); n > 0 {
		t.Errorf("%d requests to the metadata service went to the proxy", n)
	}
}
