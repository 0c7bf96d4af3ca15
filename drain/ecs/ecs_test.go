package ecs

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/draintest"
	"github.com/penstock-go/penstock/spool/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, task *draintest.ECSTask, o Options) *Lifecycle {
	t.Helper()
	o.Agent, o.Client = "http://agent/api/x", &http.Client{Transport: task}
	l, err := New(&o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// drive calls Update each second for a time, as a Drainer does, and returns how long the task was not protected.
func drive(ctx context.Context, l *Lifecycle, task *draintest.ECSTask, p drain.Status, d time.Duration) (open time.Duration) {
	for range d / time.Second {
		l.Update(ctx, p)
		if !task.Protected() {
			open += time.Second
		}
		time.Sleep(time.Second)
	}
	return open
}

func owing(n uint64) drain.Status {
	return drain.Status{Phase: drain.PhaseRun, Pending: segment.Tally{Bytes: n}}
}

// TestProtection: a backlog is protected for a day, with renewals, by an agent that fails every third call; there is no
// protection without a backlog, and none after a complete end.
func TestProtection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		task := &draintest.ECSTask{Fault: func() error {
			if calls++; calls%3 == 0 {
				return errors.New("throttled")
			}
			return nil
		}}
		l := open(t, task, Options{ProtectAbove: 1000, Expires: 10 * time.Minute})
		if d := drive(t.Context(), l, task, owing(1000), time.Hour); d < time.Hour || task.Updates() != 1 {
			t.Errorf("little to deliver: unprotected for %v, %d updates", d, task.Updates())
		}
		if d := drive(t.Context(), l, task, owing(1001), 24*time.Hour); d > 5*time.Second {
			t.Errorf("a backlog: unprotected for %v", d)
		}
		if n := task.Updates(); n < 24*12-5 || n > 24*13 {
			t.Errorf("%d updates in a day", n)
		}
		if d := drive(t.Context(), l, task, owing(900), time.Hour); d > 0 {
			t.Errorf("little less of a backlog: unprotected for %v", d)
		}
		if d := drive(t.Context(), l, task, owing(500), time.Hour); d < time.Hour-10*time.Second {
			t.Errorf("half the bound: protected for %v", time.Hour-d)
		}
		if d := drive(t.Context(), l, task, drain.Status{Phase: "ship"}, time.Hour); d > 5*time.Second {
			t.Errorf("while it drains: unprotected for %v", d)
		}
		for range 2 { // one of two calls may fail
			_, err := l.Finish(t.Context(), &drain.Report{Intent: drain.Drain, Outcome: drain.Incomplete})
			if err != nil || !task.Protected() {
				t.Errorf("incomplete: %v, protected %v", err, task.Protected())
			}
		}
		for range 2 {
			_, _ = l.Finish(t.Context(), &drain.Report{Intent: drain.Drain, Outcome: drain.Delivered})
		}
		if task.Protected() {
			t.Error("empty, and still protected")
		}
	})
}

// TestExpires: a process that dies leaves a task that is protected for a bounded time.
func TestExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		task := &draintest.ECSTask{}
		l := open(t, task, Options{})
		drive(t.Context(), l, task, owing(1), time.Second)
		if !task.Protected() {
			t.Fatal("one byte to deliver, and not protected")
		}
		time.Sleep(2 * time.Hour)
		if task.Protected() {
			t.Error("still protected after two hours")
		}
	})
}

// TestIllAgent: an agent that always fails is called less and less often.
func TestIllAgent(t *testing.T) {
	for name, task := range map[string]*draintest.ECSTask{
		"standalone": {Standalone: true}, "fails": {Fault: func() error { return errors.New("ill") }},
	} {
		synctest.Test(t, func(t *testing.T) {
			var calls int
			l := open(t, task, Options{})
			l.o.Client.Transport = counting{task, &calls}
			drive(t.Context(), l, task, owing(1), time.Hour)
			if calls < 30 || calls > 40 {
				t.Errorf("%s: %d calls in an hour", name, calls)
			}
		})
	}
}

type counting struct {
	http.RoundTripper
	n *int
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	*c.n++
	return c.RoundTripper.RoundTrip(r)
}

// TestOverHTTP: as in a container, where the environment names the agent.
func TestOverHTTP(t *testing.T) {
	task := &draintest.ECSTask{}
	srv := httptest.NewServer(task)
	defer srv.Close()
	t.Setenv("ECS_AGENT_URI", srv.URL+"/api/0123")
	if !OnECS() {
		t.Error("the environment of a container, and it is none")
	}
	l, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint64{1, 0} {
		l.Update(t.Context(), owing(n))
		if task.Protected() != (n > 0) {
			t.Errorf("%d bytes: protected %v", n, task.Protected())
		}
	}
	if _, goes, err := l.Notice(t.Context()); goes || err != nil {
		t.Error(goes, err)
	}
}

// TestJudge: only an answer that confirms counts, and every other answer gives an error that says what is wrong.
func TestJudge(t *testing.T) {
	for body, want := range map[string]string{
		`{"protection":{"ProtectionEnabled":true,"ExpirationDate":"2026-01-02T03:04:05.678Z","TaskArn":"x"}}`: "",
		`{"protection":{"ProtectionEnabled":true,"ExpirationDate":1767323045,"TaskArn":"x"}}`:                 "",
		`{"protection":{"ProtectionEnabled":false,"ExpirationDate":null,"TaskArn":"x"}}`:                      "without confirming",
		`{"failure":{"Arn":"x","Detail":null,"Reason":"TASK_NOT_VALID"}}`:                                     "a service runs",
		`{"failure":{"Arn":"x","Detail":"wait","Reason":"DEPLOYMENT_BLOCKED"}}`:                               "DEPLOYMENT_BLOCKED: wait: the service has more protected tasks",
		`{"error":{"Arn":"x","Code":"AccessDeniedException","Message":"no"}}`:                                 "ecs:UpdateTaskProtection",
		`{"error":{"Arn":"x","Code":"ServerException","Message":"no"}}`:                                       "ServerException: no",
		`{}`:     "without confirming",
		`<html>`: "answers 200",
	} {
		err := judge(200, []byte(body), true)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}

func FuzzJudge(f *testing.F) {
	f.Add(200, []byte(`{"protection":{"ProtectionEnabled":true,"ExpirationDate":"2026-01-02T03:04:05.678Z"}}`), true)
	f.Add(200, []byte(`{"failure":{"Reason":"TASK_NOT_VALID"}}`), false)
	f.Fuzz(func(t *testing.T, status int, body []byte, on bool) {
		if err := judge(status, body, on); err == nil && status != 200 {
			t.Errorf("status %d is believed", status)
		}
	})
}

func TestOptions(t *testing.T) {
	t.Setenv("ECS_AGENT_URI", "")
	_, err := New(&Options{ProtectAbove: -1, Expires: time.Second})
	for _, want := range []string{"ECS_AGENT_URI", "ProtectAbove", "Expires"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}
