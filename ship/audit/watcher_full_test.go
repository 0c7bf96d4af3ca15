package audit_test

import (
	"testing"

	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestWatcherHidden: an object that increments have found right is replaced by one that cannot be read. The next full audit says so.
func TestWatcherHidden(t *testing.T) {
	p := finished(t)
	var key string
	for _, k := range p["s3"].Keys() {
		if isData.MatchString(k) {
			key = k
		}
	}
	d := shiptest.Faulty(p["s3"], nil)
	w := p.watch(t, func(o *audit.WatchOptions) { o.Places[1].Destination = d })
	step := func() *audit.Status {
		s, err := w.Step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	wants(t, step().Result, audit.Complete)
	d.SetPlan(func(c shiptest.Call) shiptest.Fault {
		if c.Key == key && c.Op != shiptest.List {
			return shiptest.FailBefore(errArchived)
		}
		return shiptest.Fault{}
	})
	audit.FullAudit(t.Context(), w)()
	for range 2 {
		s := step()
		wants(t, s.Result, audit.Owed, audit.Unread)
		if s.Err != "" || s.Places[1].Err != "" {
			t.Errorf("%+v", s)
		}
	}
}
