package asg_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
)

// stated shows an instance in a state of the test's choice.
type stated struct {
	*draintest.Group
	state string
	err   error
}

func (s *stated) Instance(ctx context.Context, id string) (asg.Instance, error) {
	i, err := s.Group.Instance(ctx, id)
	i.State = s.state
	return i, errors.Join(err, s.err)
}

// TestRestartOnTheWayToThePool: a process that is restarted while its instance returns to a warm pool drains, as the previous
// one would have. One that is started when the instance has arrived in the pool, or has left it, runs normally.
func TestRestartOnTheWayToThePool(t *testing.T) {
	const target = "autoscaling/target-lifecycle-state"
	g := draintest.NewGroup(nil)
	i := g.Launch()
	api := &stated{Group: g, state: "InService"}
	dir := t.TempDir()
	start := func(dir string) (bool, error) {
		t.Helper()
		l, err := asg.New(&asg.Options{Metadata: i, Service: api, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		_, goes, err := l.Notice(t.Context())
		return goes, err
	}
	i.Set(target, "Warmed:Stopped")
	api.state = "Warmed:Pending:Wait"
	if goes, err := start(dir); goes || err != nil {
		t.Fatalf("first brought up in the pool: goes %v, %v", goes, err)
	}
	i.Set(target, "InService")
	api.state = "InService"
	if goes, err := start(dir); goes || err != nil {
		t.Fatalf("in service: goes %v, %v", goes, err)
	}
	i.Set(target, "Warmed:Running")
	for _, state := range []string{"Warmed:Pending", "Warmed:Pending:Wait", "Warmed:Pending:Proceed"} {
		api.state = state
		if goes, err := start(dir); !goes || err != nil {
			t.Errorf("restarted in %s: goes %v, %v", state, goes, err)
		}
	}
	api.err = errors.New("503")
	if goes, err := start(dir); goes || err == nil {
		t.Errorf("nobody knows: goes %v, %v", goes, err)
	}
	api.err, api.state = nil, "Pending" // the metadata is late
	if goes, err := start(dir); goes || err != nil {
		t.Errorf("on the way out of the pool: goes %v, %v", goes, err)
	}
	if other := g.Launch(); other != nil { // the disk was copied
		other.Set(target, "Warmed:Running")
		l, _ := asg.New(&asg.Options{Metadata: other, Service: api, Dir: dir})
		api.state = "Warmed:Pending"
		if _, goes, err := l.Notice(t.Context()); goes || err != nil {
			t.Errorf("another instance, first brought up: goes %v, %v", goes, err)
		}
	}
	api.state = "Warmed:Running"
	if goes, err := start(dir); goes || err != nil {
		t.Errorf("arrived: goes %v, %v", goes, err)
	}
	api.state = "Warmed:Pending:Wait" // the note was removed when the instance arrived
	if goes, err := start(dir); goes || err != nil {
		t.Errorf("after it had arrived: goes %v, %v", goes, err)
	}
}

// TestNoteUnreadable: a note that cannot be read now is read later. Until then it is unknown whether the instance leaves.
func TestNoteUnreadable(t *testing.T) {
	const target = "autoscaling/target-lifecycle-state"
	g := draintest.NewGroup(nil)
	i := g.Launch()
	api := &stated{Group: g, state: "InService"}
	dir := t.TempDir()
	start := func() *asg.Lifecycle {
		t.Helper()
		l, err := asg.New(&asg.Options{Metadata: i, Service: api, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	i.Set(target, "InService")
	if _, goes, err := start().Notice(t.Context()); goes || err != nil {
		t.Fatalf("in service: goes %v, %v", goes, err)
	}
	note := filepath.Join(dir, "asg.json")
	if err := errors.Join(os.Rename(note, note+".away"), os.Mkdir(note, 0o755)); err != nil {
		t.Fatal(err)
	}
	i.Set(target, "Warmed:Stopped")
	api.state = "Warmed:Pending:Wait"
	l := start()
	for range 2 {
		if _, goes, err := l.Notice(t.Context()); goes || err == nil || !strings.Contains(err.Error(), "in service before") {
			t.Errorf("the note cannot be read: goes %v, %v", goes, err)
		}
	}
	if err := errors.Join(os.Remove(note), os.Rename(note+".away", note)); err != nil {
		t.Fatal(err)
	}
	if _, goes, err := l.Notice(t.Context()); !goes || err != nil {
		t.Errorf("the note can be read again: goes %v, %v", goes, err)
	}
}

// TestArrived: no action waits for an answer when the instance is in the pool already.
func TestArrived(t *testing.T) {
	g := draintest.NewGroup(nil)
	i := g.Launch()
	api := &stated{Group: g, state: "Warmed:Running"}
	l, err := asg.New(&asg.Options{Metadata: i, Service: api})
	if err != nil {
		t.Fatal(err)
	}
	i.Terminate()
	if retained, err := l.Finish(t.Context(), complete()); err != nil || retained || len(i.Calls()) > 0 {
		t.Errorf("complete: retained %v, %v, %+v", retained, err, i.Calls())
	}
	if _, err := l.Finish(t.Context(), &drain.Report{Intent: drain.Drain, Outcome: drain.Incomplete}); err == nil || !strings.Contains(err.Error(), "no longer waits") {
		t.Errorf("incomplete: %v", err)
	}
}
