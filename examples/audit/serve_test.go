package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/spool/object"
)

// lines collects the log of a command.
type lines struct {
	out chan string
}

func (l *lines) Write(b []byte) (int, error) {
	for line := range strings.Lines(string(b)) {
		l.out <- line
	}
	return len(b), nil
}

// served is a running audit serve.
type served struct {
	t    *testing.T
	url  string
	log  *lines
	stop func() int
}

// start runs audit serve on a free port until the test ends.
func start(t *testing.T, args ...string) *served {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &served{t: t, log: &lines{make(chan string, 1000)}}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"serve", "-http=127.0.0.1:0", "-interval=50ms"}, args...), io.Discard, s.log)
	}()
	s.stop = func() int {
		cancel()
		return <-code
	}
	s.url = regexp.MustCompile(`http://[0-9.:]+`).FindString(s.wait("audit: watching"))
	return s
}

// wait waits for a line of the log.
func (s *served) wait(text string) string {
	s.t.Helper()
	end := time.After(time.Minute)
	for {
		select {
		case line := <-s.log.out:
			if strings.Contains(line, text) {
				return line
			}
		case <-end:
			s.t.Fatalf("the log never said %q", text)
		}
	}
}

func (s *served) get(path string) (code int, body string, header http.Header) {
	s.t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Get(s.url + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return r.StatusCode, string(b), r.Header
}

// status waits for a status that ok accepts.
func (s *served) status(ok func(*audit.Status) bool) *audit.Status {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		_, body, _ := s.get("/status.json")
		var st audit.Status
		if err := json.Unmarshal([]byte(body), &st); err != nil {
			s.t.Fatal(err)
		}
		if st.Result != nil && ok(&st) {
			return &st
		}
	}
	s.t.Fatal("the status never came")
	return nil
}

// TestServe: a service announces what is delivered, what is removed and what is overdue, on the page, as JSON and as metrics.
func TestServe(t *testing.T) {
	urls, dirs := directories(t)
	id := deliver(t, urls, 3, false)
	expect := filepath.Join(t.TempDir(), "expect")
	if err := os.WriteFile(expect, []byte("host\nhost-z # never began\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, "-at="+urls[0], "-at="+urls[1], "-expect="+expect, "-overdue=1ms")
	st := s.status(func(st *audit.Status) bool { return st.Audits > 2 })
	if st.Result.Verdict != audit.Owed || len(st.Overdue) != 3 || st.Overdue[0].Name != "host-z" || st.Overdue[1].Spool != id || st.Places[1].LastSuccess.IsZero() {
		t.Errorf("%+v", st)
	}
	code, text, header := s.get("/")
	for _, want := range []string{"owed", "host-z", "3 collectors overdue", urls[0], "default-src"} {
		if !strings.Contains(text+header.Get("Content-Security-Policy"), want) || code != http.StatusOK {
			t.Errorf("the page (%d) lacks %q", code, want)
		}
	}
	if err := os.Remove(filepath.Join(dirs[1], firstObject(t, dirs[1]))); err != nil {
		t.Fatal(err)
	}
	s.wait("audit: damage")
	st = s.status(func(st *audit.Status) bool { return st.Result.Verdict == audit.Damaged })
	h := st.Result.Hours[0]
	for path, want := range map[string]string{
		"/": "object-missing", fmt.Sprintf("/?class=vpn&hour=%s", h.Hour.Format("2006-01-02T15")): "object-missing",
		fmt.Sprintf("/?class=vpn&day=%s", h.Hour.Format(time.DateOnly)): "id=\"selected\"", "/metrics": `penstock_audit_findings{code="object-missing",class="vpn",destination="` + urls[1] + `",verdict="damaged"} 1`,
	} {
		if code, text, _ := s.get(path); code != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s (%d) lacks %q\n%s", path, code, want, text)
		}
	}
	for path, want := range map[string]int{"/readyz": 200, "/livez": 200, "/nothing": 404, "/?class=%00&hour=x": 200} {
		if code, _, _ := s.get(path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestOneRequestEach: a client cannot keep a slot by sending a request now and then.
func TestOneRequestEach(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := newServer(http.NotFoundHandler(), silent().log)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	transport := new(http.Transport)
	r, err := (&http.Client{Transport: transport}).Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if !r.Close {
		t.Error("the server keeps the connection")
	}
	transport.CloseIdleConnections()
	if err := errors.Join(srv.Close(), ignoreClosed(<-served)); err != nil {
		t.Error(err)
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// TestDriversLog: log lines of a driver are written to the log that the flags describe.
func TestDriversLog(t *testing.T) {
	dir := t.TempDir()
	manifests := filepath.Join(dir, "_manifest")
	if err := os.Mkdir(manifests, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(manifests, "loop")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err) // Windows requires a privilege
	}
	s := start(t, "-at=file://"+filepath.ToSlash(dir), "-log-format=json")
	if line := s.wait("passed over in lists"); !strings.HasPrefix(line, "{") {
		t.Error(line)
	}
	s.stop()
}

// firstObject returns the path of an object with records.
func firstObject(t *testing.T, dir string) (path string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "class=*/*/*/*"))
	if err != nil || len(all) == 0 {
		t.Fatal("no object", err)
	}
	path, err = filepath.Rel(dir, all[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMetrics: promtool accepts the metrics, with names that need to be escaped.
func TestMetrics(t *testing.T) {
	now := time.Now().UTC()
	s := &audit.Status{
		Audits: 3, Failures: 1, Attempt: now, Seconds: .5, Full: now, FullSeconds: 2,
		Places:  []audit.PlaceStatus{{Place: "file:///a \"b\"\n\\c\xff", LastSuccess: now, Requests: 7}, {Place: "s3://x", Err: "no"}},
		Overdue: []audit.Overdue{{Name: "host-z"}, {Class: "vpn", Place: "s3://x"}},
		Result: &audit.Result{
			Chains:   []audit.ChainReport{{Class: "vpn"}, {Class: "web"}},
			Findings: []audit.Finding{{Code: audit.Open, Class: "vpn", Place: "s3://x", Verdict: audit.Owed}},
			Hours: []audit.HourReport{
				{Class: "vpn", Hour: now.Add(-5 * time.Hour), Verdict: audit.Complete},
				{Class: "vpn", Hour: now.Add(-3 * time.Hour), Verdict: audit.Owed},
				{Class: "vpn", Hour: now.Add(-time.Hour / 2), Verdict: audit.Owed},
			},
		},
	}
	var x exposition
	x.metrics(s, now)
	for _, want := range []string{
		`penstock_audit_hour_verdicts{class="vpn",verdict="owed"} 2`, `penstock_audit_oldest_incomplete_hour_seconds{class="vpn",verdict="owed"} 7200`,
		`penstock_audit_overdue{class=""} 1`, `penstock_audit_overdue{class="vpn"} 1`, `penstock_audit_overdue{class="web"} 0`,
		`penstock_audit_up{destination="s3://x"} 0`, `penstock_audit_requests{destination="file:///a \"b\"\n\\c` + "\uFFFD" + `"} 7`,
	} {
		if !strings.Contains(x.String(), want+"\n") {
			t.Errorf("lacks %s:\n%s", want, x.String())
		}
	}
	var empty exposition
	empty.metrics(nil, now)
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("promtool is not installed")
		}
		t.Skip("promtool is not installed")
	}
	for _, x := range []*exposition{&x, &empty} {
		c := exec.Command(promtool, "check", "metrics")
		c.Stdin = bytes.NewReader(x.Bytes())
		if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// TestWait: a job waits for an hour, and the exit code says how the wait ended.
func TestWait(t *testing.T) {
	urls, dirs := directories(t)
	deliver(t, urls, 2, true)
	marks := t.TempDir()
	now := time.Now().UTC()
	wait := func(hour time.Time, args ...string) (int, string) {
		var out, log bytes.Buffer
		args = append([]string{"wait", "-at=" + urls[0], "-at=" + urls[1], "-class=vpn", "-hour=" + hour.Format("2006-01-02T15"), "-interval=10ms"}, args...)
		code := run(t.Context(), args, &out, &log)
		return code, out.String() + log.String()
	}
	// inVain waits for an hour that does not become complete. It waits longer if no audit was finished in time.
	inVain := func(hour time.Time, args ...string) (code int, out string) {
		for timeout := 2 * time.Second; timeout <= 64*time.Second; timeout *= 2 {
			if code, out = wait(hour, append(args, "-timeout="+timeout.String())...); code != exitFailed {
				break
			}
		}
		return code, out
	}
	// An hour is not complete before it ends, whatever the chains promise, and the next hour begins too late to end during the
	// test. The last hour has ended.
	if code, out := inVain(now.Add(time.Hour)); code != exitOwed || !strings.Contains(out, "hour-open") || !strings.Contains(out, "not complete in time") {
		t.Errorf("%d %s", code, out)
	}
	code, out := wait(now.Add(-time.Hour), "-mark=file://"+filepath.ToSlash(marks))
	if code != 0 || !strings.Contains(out, "is complete") {
		t.Errorf("%d %s", code, out)
	}
	var m audit.Marker
	key := fmt.Sprintf("_complete/vpn/dt=%s/hour=%s.json", now.Add(-time.Hour).Format(time.DateOnly), now.Add(-time.Hour).Format("15"))
	b, err := os.ReadFile(filepath.Join(marks, key))
	if err != nil || json.Unmarshal(b, &m) != nil || m.Verdict != audit.Complete {
		t.Errorf("%s, %v", b, err)
	}
	// A class without any chain is not complete.
	if code, out := inVain(now.Add(-time.Hour), "-class=web"); code != exitOwed {
		t.Errorf("%d %s", code, out)
	}
	missing := firstObject(t, dirs[0])
	if err := os.Remove(filepath.Join(dirs[0], missing)); err != nil {
		t.Fatal(err)
	}
	hour, err := time.Parse("class=vpn/dt=2006-01-02/hour=15", filepath.ToSlash(filepath.Dir(missing)))
	if err != nil {
		t.Fatal(err)
	}
	if code, out := wait(hour, "-timeout=1m"); code != exitDamaged || !strings.Contains(out, "object-missing") {
		t.Errorf("%d %s", code, out)
	}
	if code, out := wait(now, "-hour=tomorrow"); code != exitUsage || !strings.Contains(out, "hour") {
		t.Errorf("%d %s", code, out)
	}
	var log bytes.Buffer
	if code := run(t.Context(), []string{"wait"}, io.Discard, &log); code != exitUsage || !strings.Contains(log.String(), "-class") || !strings.Contains(log.String(), "-hour") || !strings.Contains(log.String(), "-at") {
		t.Errorf("%d %s", code, &log)
	}
}

// TestServeMarks: serve writes the markers of hours that were complete when it started, for the last two days.
func TestServeMarks(t *testing.T) {
	urls, _ := directories(t)
	begin := object.HourOf(time.Now())
	deliver(t, urls, 2, true)
	marks := t.TempDir()
	s := start(t, "-at="+urls[0], "-at="+urls[1], "-mark=file://"+filepath.ToSlash(marks))
	s.status(func(st *audit.Status) bool { return st.Audits > 1 })
	s.stop()
	// The spool has records of this hour only. If the hour has ended meanwhile, it may be marked.
	if all, _ := filepath.Glob(filepath.Join(marks, "_complete/*/*/*")); len(all) != 0 && object.HourOf(time.Now()) == begin {
		t.Errorf("%q", all)
	}
}

// TestServeRefuses: mistakes in the flags are reported at once.
func TestServeRefuses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, args := range [][]string{{}, {"-at=gopher://x"}, {"-at=file://" + filepath.ToSlash(t.TempDir()), "-interval=-1s"}, {"-at=file://" + filepath.ToSlash(t.TempDir()), "-http=" + l.Addr().String()}, {"-at=file:///x", "stray"}} {
		var log bytes.Buffer
		if code := run(t.Context(), append([]string{"serve"}, args...), io.Discard, &log); code != exitUsage || log.Len() == 0 {
			t.Errorf("%q: %d %s", args, code, &log)
		}
	}
	var help bytes.Buffer
	if code := run(t.Context(), []string{"serve", "-h"}, &help, io.Discard); code != 0 || !strings.Contains(help.String(), "_complete/") {
		t.Errorf("%d %s", code, &help)
	}
}
