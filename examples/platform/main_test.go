package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
	"github.com/penstock-go/penstock/drain/ecs"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestPlatform: with the exports, the real packages use this platform, and the state shows their calls.
func TestPlatform(t *testing.T) {
	srv := httptest.NewServer(handler(&draintest.GroupOptions{}))
	defer srv.Close()
	var out strings.Builder
	exports(&out, srv.URL)
	for _, word := range strings.Fields(out.String()) {
		if k, v, ok := strings.Cut(word, "="); ok {
			t.Setenv(k, v)
		}
	}
	get := func() (s state) {
		t.Helper()
		resp, err := http.Get(srv.URL + "/state")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	post := func(path string) {
		t.Helper()
		resp, err := http.Post(srv.URL+path, "", nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	busy := drain.Status{Phase: drain.PhaseRun, Pending: segment.Tally{Bytes: 10}}
	group, err := asg.New(&asg.Options{ProtectAbove: 1})
	if err != nil {
		t.Fatal(err)
	}
	group.Update(t.Context(), busy)
	task, err := ecs.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	task.Update(t.Context(), busy)
	if s := get(); s.State != "InService" || !s.Protected || !s.TaskProtected {
		t.Errorf("%+v", s)
	}
	post("/terminate")
	if _, goes, err := group.Notice(t.Context()); !goes || err != nil {
		t.Error(goes, err)
	}
	if retained, err := group.Finish(t.Context(), &drain.Report{Intent: drain.Drain, Outcome: drain.Incomplete}); !retained || err != nil {
		t.Error(retained, err)
	}
	if s := get(); s.State != "Terminating:Retained" || s.Answer != "ABANDON" || s.TimedOut || len(s.Calls) != 1 || !s.Calls[0].Taken {
		t.Errorf("%+v", s)
	}
}
