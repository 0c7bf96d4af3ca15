package drain

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestStats: a Drainer says which phase it is in, since when, until when, and how it ended.
func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		in := make(chan struct{})
		d, _ := w.start(Options{Before: []Step{{Name: "hold", Run: func(context.Context) error { <-in; return nil }}}, Timeout: time.Hour})
		d.Down("web", errors.New("no disk"))
		if st := d.Stats(); st.Phase != PhaseRun || len(st.Classes) != 1 || st.Down["web"] == nil || !st.Started.IsZero() || st.Outcome != "" {
			t.Errorf("before the end: %+v", st)
		}
		began, ended := time.Now(), make(chan error, 1)
		go func() {
			_, err := d.Drain(context.Background(), "a test")
			ended <- err
		}()
		time.Sleep(5 * time.Second)
		st := d.Stats()
		if st.Phase != phaseAnnounce || st.Intent != Drain || st.Trigger != "a test" || !st.Started.Equal(began) || !st.Deadline.Equal(began.Add(time.Hour)) {
			t.Errorf("in the first phase: %+v", st)
		}
		if st.Idle < 3*time.Second || st.Idle > 5*time.Second {
			t.Errorf("nothing has moved for 5 s, Idle is %v", st.Idle)
		}
		close(in)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if st := d.Stats(); st.Outcome != Incomplete || len(st.Phases) < 5 || st.Phases[0].Name != phaseAnnounce { // "web" is down
			t.Errorf("after the end: %+v", st)
		}
	})
}
