package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain/status"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestStatusCommand: the exit code is the severity, and the table says what is wrong and where.
func TestStatusCommand(t *testing.T) {
	now := time.Date(2026, 11, 29, 2, 0, 0, 0, time.UTC)
	lag := 125.0
	snap := status.Snapshot{
		Version: 1, Time: now, Started: now.Add(-3 * time.Hour), Instance: "edge-1", State: status.OK, Drain: status.Drain{Phase: "run"},
		Classes: []status.Class{{Class: "vpn", Destinations: []status.Destination{
			{Destination: "idc", State: "ok"},
			{Destination: "s3", State: "retrying", Pending: segment.Tally{Records: 7, Bytes: 3 << 20}, Lag: &lag},
		}}},
	}
	trouble := status.Trouble{Class: "vpn", Destination: "s3", What: "deliveries fail\x1b[2J", Cure: "Start the server."}
	var answer []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/status.json" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(answer)
	}))
	defer server.Close()
	ask := func(args ...string) (code int, out, errs string) {
		t.Helper()
		var stdout, stderr strings.Builder
		code = showStatus(args, &stdout, &stderr)
		return code, stdout.String(), stderr.String()
	}
	for _, c := range []struct {
		level status.Level
		code  int
		says  string
	}{{status.OK, 0, "all well"}, {status.Warning, 3, "1 warning"}, {status.Error, 4, "1 error"}} {
		snap.State, snap.Trouble = c.level, nil
		if trouble.Level = c.level; c.level != status.OK {
			snap.Trouble = []status.Trouble{trouble}
		}
		var err error
		if answer, err = json.Marshal(snap); err != nil {
			t.Fatal(err)
		}
		code, out, errs := ask("-http", strings.TrimPrefix(server.URL, "http://"))
		if code != c.code || errs != "" {
			t.Errorf("%s: exit code %d, want %d; %s", c.level, code, c.code, errs)
		}
		want := []string{"edge-1: " + c.says, "up 3h", "vpn", "s3", "retrying", "3.0 MiB", "2m 5s"}
		if c.level != status.OK {
			want = append(want, "vpn → s3: deliveries fail·[2J", "Start the server.")
		}
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: no %q in\n%s", c.level, w, out)
			}
		}
	}
	if code, out, _ := ask("-http", server.URL, "-json"); code != 4 || out != string(answer) {
		t.Errorf("-json: exit code %d, %s", code, out)
	}
	answer = []byte(`{"version":2}`)
	if code, _, errs := ask("-http", server.URL); code != 1 || !strings.Contains(errs, "not the status of a collector") {
		t.Errorf("another version: exit code %d, %s", code, errs)
	}
	server.Close()
	if code, _, errs := ask("-http", server.URL); code != 1 || !strings.Contains(errs, "is the collector running") {
		t.Errorf("no answer: exit code %d, %s", code, errs)
	}
	for _, bad := range [][]string{{"-http", "nonsense"}, {"-http", "ftp://x"}, {"extra"}, {"-no-such-flag"}} {
		if code, _, errs := ask(bad...); code != exitUsage || errs == "" {
			t.Errorf("%v: exit code %d, %q", bad, code, errs)
		}
	}
}

// TestStatusURL: an address in the form of -http is queried on this host.
func TestStatusURL(t *testing.T) {
	for addr, want := range map[string]string{
		":8080": "http://127.0.0.1:8080/status.json", "0.0.0.0:80": "http://127.0.0.1:80/status.json", "[::]:80": "http://127.0.0.1:80/status.json",
		"edge-1:8080": "http://edge-1:8080/status.json", "https://edge-1/penstock/": "https://edge-1/penstock/status.json",
	} {
		if got, err := statusURL(addr); got != want || err != nil {
			t.Errorf("%s: %s %v, want %s", addr, got, err, want)
		}
	}
}
