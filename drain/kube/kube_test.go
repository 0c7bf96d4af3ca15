package kube

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/drain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPreStop: the hook, called from within the pod, is the platform's notice; calls from elsewhere are refused.
func TestPreStop(t *testing.T) {
	l := New(nil)
	goes := func() bool {
		t.Helper()
		n, goes, err := l.Notice(t.Context())
		if err != nil || n.Trigger == "" {
			t.Errorf("%+v %v", n, err)
		}
		return goes
	}
	for from, method := range map[string]string{"10.1.2.3:4000": "POST", "[2001:db8::1]:4000": "POST", "?": "POST", "127.0.0.1:4000": "GET"} {
		r, w := httptest.NewRequest(method, "/prestop", nil), httptest.NewRecorder()
		r.RemoteAddr = from
		r.Header.Set(preStopHeader, "1")
		if l.ServeHTTP(w, r); w.Code == http.StatusOK || goes() {
			t.Errorf("%s from %s: %d", method, from, w.Code)
		}
		if err := PreStop(t.Context(), "http://127.0.0.1:1/prestop"); err == nil {
			t.Error("nobody listens there, and no error")
		}
	}
	srv := httptest.NewServer(l)
	defer srv.Close()
	url, err := PreStopURL(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := PreStop(t.Context(), url); err != nil || !goes() {
		t.Errorf("%v, goes %v", err, goes())
	}
	refuses := httptest.NewServer(http.NotFoundHandler())
	defer refuses.Close()
	if err := PreStop(t.Context(), refuses.URL+"/prestop"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("no such endpoint: %v", err)
	}
}

// TestPreStopForged: anyone who makes a program in the pod send a request, for example a web page through a forwarded port,
// or a client of a proxy, must not be able to take the pod out of service.
func TestPreStopForged(t *testing.T) {
	for name, headers := range map[string]map[string]string{
		"a form":                 {},
		"a page":                 {"Origin": "https://evil.example", preStopHeader: "1"},
		"a page of another site": {"Sec-Fetch-Site": "cross-site", preStopHeader: "1"},
		"a proxy":                {"X-Forwarded-For": "203.0.113.9", preStopHeader: "1"},
		"a modern proxy":         {"Forwarded": "for=203.0.113.9", preStopHeader: "1"},
		"a cache":                {"Via": "1.1 varnish", preStopHeader: "1"},
	} {
		l := New(nil)
		r, w := httptest.NewRequest(http.MethodPost, "/prestop", strings.NewReader("x")), httptest.NewRecorder()
		r.RemoteAddr = "127.0.0.1:4000"
		for k, v := range headers {
			r.Header.Set(k, v)
		}
		l.ServeHTTP(w, r)
		if _, goes, _ := l.Notice(t.Context()); goes || w.Code != http.StatusForbidden {
			t.Errorf("%s: status %d, goes %v", name, w.Code, goes)
		}
	}
}

func TestPreStopURL(t *testing.T) {
	for addr, want := range map[string]string{
		":8080": "http://127.0.0.1:8080/prestop", "0.0.0.0:80": "http://127.0.0.1:80/prestop",
		"[::]:80": "http://127.0.0.1:80/prestop", "127.0.0.1:9": "http://127.0.0.1:9/prestop", "8080": "",
	} {
		if got, err := PreStopURL(addr); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s %v", addr, got, err)
		}
	}
}

// TestMessage: the summary is the container's termination message, cut to what the kubelet reads; outside of a pod no
// file is created.
func TestMessage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "termination-log")
	l := New(&Options{TerminationMessage: path})
	r := &drain.Report{Intent: drain.Drain, Outcome: drain.Incomplete, Trigger: "preStop", Errors: []string{strings.Repeat("é", 3000)}}
	if _, err := l.Finish(t.Context(), r); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("created outside of a pod")
	}
	if err := os.WriteFile(path, []byte("an earlier one"), 0o600); err != nil {
		t.Fatal(err)
	}
	retained, err := l.Finish(t.Context(), r)
	b, rerr := os.ReadFile(path)
	if err != nil || rerr != nil || retained || !strings.HasPrefix(string(b), "drain: incomplete after") || len(b) > maxMessage || len(b) < maxMessage-4 {
		t.Errorf("%v %v %v, %d bytes", retained, err, rerr, len(b))
	}
	r.Errors = []string{"put https://ops:hunter2@store/x: refused"}
	_, err = l.Finish(t.Context(), r)
	b, rerr = os.ReadFile(path)
	if err != nil || rerr != nil || strings.Contains(string(b), "hunter2") || !strings.Contains(string(b), "\n") || !strings.Contains(string(b), "refused") {
		t.Errorf("with a credential: %v %v %s", err, rerr, b)
	}
}

const mounts = `712 700 0:50 / / rw,relatime - overlay overlay rw
713 712 259:1 /var/lib/kubelet/pods/1-2/volumes/kubernetes.io~empty-dir/spool /var/spool/empty rw - ext4 /dev/root rw
714 712 259:7 / /var/spool/claim rw - ext4 /dev/nvme1n1 rw
715 712 0:60 / /mem rw,relatime - tmpfs tmpfs rw,size=65536k,inode64
odd line
`

func TestEmptyDir(t *testing.T) {
	for dir, want := range map[string]bool{
		"/var/spool/empty": true, "/var/spool/empty/vpn": true, "/var/spool/emptyish": false, "/var/spool/claim/x": false, "/": false,
		"/var/spool": false, "/mem/a/b": true,
	} {
		if got := onEmptyDir([]byte(mounts), dir); got != want {
			t.Errorf("%s: %v", dir, got)
		}
	}
	New(&Options{Dir: t.TempDir()}).Update(context.Background(), drain.Status{Phase: drain.PhaseRun})
}
