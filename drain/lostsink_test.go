package drain_test

import (
	"testing"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestLostSink: the report has a class that never had a spool, with what it received and lost, and its Outcome is not Stopped.
func TestLostSink(t *testing.T) {
	for _, intent := range []drain.Intent{drain.Stop, drain.Drain} {
		d, err := drain.New(&drain.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		hold := ingest.NewHold(&ingest.HoldOptions{MemoryBytes: 1 << 20})
		hold.Account(segment.Account{Received: segment.Tally{Records: 2, Bytes: 3}})
		if _, err := hold.Offer(t.Context(), []segment.Record{{Data: []byte("a")}, {Data: []byte("bc")}}); err != nil {
			t.Fatal(err)
		}
		sink := d.LostSink("vpn")
		if err := hold.Attach(t.Context(), sink); err != nil {
			t.Fatal(err)
		}
		if _, err := hold.Append(t.Context(), []segment.Record{{Data: []byte("x")}}); err == nil {
			t.Error("a sender is told that a record is kept")
		}
		end := d.Stop
		if intent == drain.Drain {
			end = d.Drain
		}
		r, err := end(t.Context(), "test")
		if err != nil {
			t.Fatal(err)
		}
		c := r.Classes["vpn"]
		if lost := c.Lost[segment.GivenUp]; lost.Records != 2 || lost.Bytes != 3 || c.Received.Records != 2 || c.LostInEnd != 2 || r.Outcome != drain.Incomplete {
			t.Errorf("%s: %s", intent, r.JSON())
		}
		if n := sink.Lost(); n.Total().Records != 2 {
			t.Errorf("%v", n)
		}
	}
}
