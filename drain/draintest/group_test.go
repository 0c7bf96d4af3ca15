package draintest_test

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
)

func action(i *draintest.Instance) asg.Action {
	return asg.Action{Group: "group", Hook: "drain", Instance: i.ID()}
}

// TestStates walks through the life cycle with its time-outs.
func TestStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, terminate := range []bool{false, true} {
			g := draintest.NewGroup(&draintest.GroupOptions{
				HeartbeatTimeout: 10 * time.Minute, GlobalTimeout: 25 * time.Minute, Deregistration: 5 * time.Minute, Terminate: terminate,
			})
			end := map[bool]string{false: "Terminating:Retained", true: "Terminating:Proceed"}[terminate]
			is := func(i *draintest.Instance, want string) {
				t.Helper()
				if s := i.State(); s != want {
					t.Errorf("%s, want %s", s, want)
				}
			}
			beat := func(i *draintest.Instance, ok bool) {
				t.Helper()
				err := g.Answer(t.Context(), action(i), asg.Heartbeat)
				if (err == nil) != ok || err != nil && !errors.Is(err, asg.ErrNoAction) {
					t.Errorf("heartbeat: %v", err)
				}
			}
			i, silent, abandoned := g.Launch(), g.Launch(), g.Launch()
			is(i, "InService")
			beat(i, false)
			for _, i := range []*draintest.Instance{i, silent, abandoned} {
				i.Terminate()
			}
			is(i, "Terminating")
			beat(i, false)
			time.Sleep(5 * time.Minute)
			is(i, "Terminating:Wait")
			if err := g.Answer(t.Context(), action(abandoned), asg.Abandon); err != nil {
				t.Error(err)
			}
			is(abandoned, "Terminating:Proceed")
			time.Sleep(time.Second)
			is(abandoned, end)
			beat(abandoned, false)
			for range 3 {
				time.Sleep(8 * time.Minute)
				beat(i, true)
			}
			if answer, expired := silent.Answered(); answer != asg.Abandon || !expired {
				t.Errorf("never heard of: %q, expired %v", answer, expired)
			}
			time.Sleep(61 * time.Second) // beyond the global time-out
			is(i, end)
			beat(i, false)
			time.Sleep(time.Minute)
			if terminate {
				end = "Terminated"
			}
			is(i, end)
		}
	})
}

// TestMetadata: the token is required, and a missing path is 404 over HTTP and fs.ErrNotExist in process.
func TestMetadata(t *testing.T) {
	i := draintest.NewGroup(nil).Launch()
	get := func(path, token string) (int, string) {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("X-Aws-Ec2-Metadata-Token", token)
		w := httptest.NewRecorder()
		i.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	if code, _ := get("/latest/meta-data/instance-id", ""); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", code)
	}
	r := httptest.NewRequest(http.MethodPut, "/latest/api/token", nil)
	r.Header.Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
	w := httptest.NewRecorder()
	i.ServeHTTP(w, r)
	if code, body := get("/latest/meta-data/instance-id", w.Body.String()); code != http.StatusOK || body != i.ID() {
		t.Errorf("%d %s", code, body)
	}
	const spot = "spot/instance-action"
	if code, _ := get("/latest/meta-data/"+spot, w.Body.String()); code != http.StatusNotFound {
		t.Errorf("absent: %d", code)
	}
	if _, err := i.Get(t.Context(), spot); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	i.Reclaim()
	if v, err := i.Get(t.Context(), spot); err != nil || v == "" {
		t.Errorf("%q %v", v, err)
	}
}
