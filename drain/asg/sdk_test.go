package asg_test

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// overHTTP makes the SDK reach the fakes.
func overHTTP(t *testing.T, g *draintest.Group, i *draintest.Instance) {
	t.Helper()
	api, meta := httptest.NewServer(g), httptest.NewServer(i)
	t.Cleanup(api.Close)
	t.Cleanup(meta.Close)
	for k, v := range map[string]string{
		"AWS_ENDPOINT_URL_AUTO_SCALING": api.URL, "AWS_EC2_METADATA_SERVICE_ENDPOINT": meta.URL,
		"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "", "AWS_DEFAULT_REGION": "",
		"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "",
	} {
		t.Setenv(k, v)
	}
}

// TestSDK: a complete scale-in through the AWS SDK, over IMDSv2 and the Query protocol.
func TestSDK(t *testing.T) {
	g := draintest.NewGroup(&draintest.GroupOptions{HeartbeatTimeout: time.Hour})
	i := g.Launch()
	overHTTP(t, g, i)
	if !asg.OnEC2() {
		t.Error("an endpoint of the metadata service is named, and nothing is to be asked")
	}
	l, err := asg.New(&asg.Options{Hook: "drain", Retry: 10 * time.Millisecond, Timeout: time.Hour, StallTimeout: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Check(t.Context()); err != nil {
		t.Errorf("a group that is set up well: %v", err)
	}
	if _, goes, err := l.Notice(t.Context()); goes || err != nil {
		t.Fatalf("in service: goes %v, %v", goes, err)
	}
	i.Terminate()
	n, goes, err := l.Notice(t.Context())
	if !goes || err != nil || !strings.Contains(n.Trigger, "Terminated") || n.Retained {
		t.Fatalf("%+v %v %v", n, goes, err)
	}
	l.Update(t.Context(), drain.Status{Phase: "ship"})
	retained, err := l.Finish(t.Context(), &drain.Report{Intent: drain.Drain, Outcome: drain.Incomplete})
	if err != nil || !retained {
		t.Fatalf("abandoned: retained %v, %v", retained, err)
	}
	calls := i.Calls()
	if len(calls) != 2 || calls[0].Answer != asg.Heartbeat || calls[1].Answer != asg.Abandon || calls[0].Err != nil || calls[1].Err != nil {
		t.Errorf("calls %+v", calls)
	}
	// A process that starts on the retained instance gets a Notice that says so.
	l, _ = asg.New(nil)
	if n, goes, err := l.Notice(t.Context()); !goes || err != nil || !n.Retained {
		t.Errorf("%+v %v %v", n, goes, err)
	}
	if retained, err := l.Finish(t.Context(), &drain.Report{Intent: drain.Drain, Outcome: drain.Incomplete}); err != nil || !retained {
		t.Errorf("abandoned once more: retained %v, %v", retained, err)
	}
}

// TestSDKRefused: the API's error for an action that does not wait is recognized by its text alone.
func TestSDKRefused(t *testing.T) {
	g := draintest.NewGroup(&draintest.GroupOptions{Fault: func(op string) error {
		if op == string(asg.Continue) {
			return asg.ErrNoAction
		}
		return nil
	}})
	i := g.Launch()
	overHTTP(t, g, i)
	l, err := asg.New(&asg.Options{Retry: 10 * time.Millisecond, CompleteTimeout: 6 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	i.Terminate()
	if _, err := l.Finish(t.Context(), complete()); !errors.Is(err, asg.ErrNoAction) {
		t.Error(err)
	}
}

// TestCheck: what is wrong with a group is named with its cure.
func TestCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		o    draintest.GroupOptions
		hook string
		want []string
	}{
		"well":        {draintest.GroupOptions{}, "", nil},
		"no hook":     {draintest.GroupOptions{Hook: "-"}, "", []string{"create a hook"}},
		"other hook":  {draintest.GroupOptions{Hook: "else"}, "drain", []string{`"drain"`, "[else]"}},
		"terminates":  {draintest.GroupOptions{Terminate: true}, "", []string{"TerminateHookAbandon to retain"}},
		"continues":   {draintest.GroupOptions{DefaultResult: asg.Continue}, "", []string{"DefaultResult to ABANDON"}},
		"impatient":   {draintest.GroupOptions{HeartbeatTimeout: time.Minute}, "", []string{"heartbeat timeout", "waits for 1h40m0s at most"}},
		"cannot tell": {draintest.GroupOptions{Fault: func(string) error { return errors.New("503") }}, "", []string{"503"}},
		"all at once": {draintest.GroupOptions{Terminate: true, DefaultResult: asg.Continue}, "", []string{"retain", "ABANDON"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := draintest.NewGroup(&tc.o)
			l, err := asg.New(&asg.Options{Hook: tc.hook, Metadata: g.Launch(), Service: g, StallTimeout: 10 * time.Minute, Timeout: 2 * time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			err = l.Check(t.Context())
			if (err == nil) != (tc.want == nil) {
				t.Fatalf("%v", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
		})
	}
}

func TestOptions(t *testing.T) {
	_, err := asg.New(&asg.Options{Hook: "a b", Retry: -1, Service: draintest.NewGroup(nil)})
	for _, want := range []string{`"a b"`, "negative", "or neither"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}
