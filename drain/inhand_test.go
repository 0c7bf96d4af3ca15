package drain

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// handful is a listener with a record in hand, and some that it has not read, whose spool takes nothing.
type handful struct {
	in     *spool.Intake
	unread uint64
}

func (h *handful) Shutdown(ctx context.Context) error {
	if h.in == nil {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (h *handful) Close() error {
	in := h.in
	if h.in = nil; in == nil {
		return nil
	}
	in.Account(segment.Account{Received: segment.Tally{Records: 1, Bytes: 7}})
	if _, err := in.Keep([]segment.Record{{Time: 1, Data: []byte("in hand")}}); err != nil {
		return err
	}
	in.Account(segment.Account{
		Received: segment.Tally{Records: h.unread},
		Lost:     segment.Losses{segment.GivenUp: {Records: h.unread, BytesUnknown: true}},
	})
	return nil
}

// TestStopKeepsWhatIsInHand: a Stop ends listeners that would wait for room, keeps what they have in hand, and does not
// report records as kept that could not be. The next start finds an account that balances.
func TestStopKeepsWhatIsInHand(t *testing.T) {
	for unread, outcome := range map[uint64]Outcome{0: Stopped, 5: Incomplete} {
		w := newWorld(t)
		w.faulty.SetPlan(down)
		synctest.Test(t, func(t *testing.T) {
			w.t = t
			l := &handful{unread: unread}
			w.listeners = []Input{l}
			d, sp := w.start(Options{})
			l.in = sp.Intake()
			w.append(sp, 10)
			begin := time.Now()
			r, err := d.Stop(t.Context(), "test")
			c := r.Classes["vpn"]
			if err != nil || r.Outcome != outcome || time.Since(begin) > 30*time.Second {
				t.Errorf("%v after %v: %s", err, time.Since(begin), r.JSON())
			}
			if c.Kept.Records != 11 || c.Lost.Total().Records != unread || c.LostInEnd != unread || c.Received.Records != 11+unread || c.Err != "" {
				t.Errorf("with %d unread: %+v", unread, c)
			}
			w.listeners = nil
			d, sp = w.start(Options{})
			if l := sp.Ledger(); len(l.Unaccounted) != 0 || l.Buffered() != (segment.Tally{}) {
				t.Errorf("the next start finds %+v", l)
			}
			if _, err := d.Stop(t.Context(), "test"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDrainReportsWhatIsInHand: a Drain ends such listeners last, and its report includes what was kept and lost by that.
func TestDrainReportsWhatIsInHand(t *testing.T) {
	w := newWorld(t)
	w.faulty.SetPlan(down)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		l := &handful{unread: 5}
		w.listeners = []Input{l}
		d, sp := w.start(Options{Timeout: time.Minute})
		l.in = sp.Intake()
		w.append(sp, 10)
		r, err := d.Drain(t.Context(), "test")
		b, ferr := os.ReadFile(filepath.Join(w.dir, "report.json"))
		if err != nil || ferr != nil || r.Outcome != Incomplete || string(b) != string(r.JSON()) {
			t.Fatalf("%v, %v: %s; the file says %s", err, ferr, r.JSON(), b)
		}
		c := r.Classes["vpn"]
		if c.Received.Records != 16 || c.Kept.Records != 11 || c.LostInEnd != 5 || c.Buffered.Records != 0 || c.Err != "" {
			t.Errorf("%s", r.JSON())
		}
	})
}

// late is a listener that waits for room with a record in hand. It gets that room only when the spool has been shipped.
type late struct {
	in    *spool.Intake
	calls int
}

func (l *late) Shutdown(ctx context.Context) error {
	if l.calls++; l.calls == 1 {
		<-ctx.Done()
		return ctx.Err()
	}
	l.in.Account(segment.Account{Received: segment.Tally{Records: 1, Bytes: 7}})
	_, err := l.in.Keep([]segment.Record{{Time: 1, Data: []byte("in hand")}})
	return err
}

// TestDrainDeliversWhatIsInHand: shipping makes room for a listener that could not end before it. What that listener appends
// then belongs to the same drain, on every platform: only some of them leave an instance to a further round.
func TestDrainDeliversWhatIsInHand(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		l := &late{}
		w.listeners = []Input{l}
		d, sp := w.start(Options{Timeout: time.Minute})
		l.in = sp.Intake()
		w.append(sp, 10)
		r, err := d.Drain(t.Context(), "test")
		if err != nil || r.Outcome != Delivered || r.Classes["vpn"].Destinations["other"].Delivered.Records != 11 {
			t.Fatalf("%v: %s", err, r.JSON())
		}
		var names []string
		for _, p := range r.Phases {
			names = append(names, p.Name)
		}
		if got := strings.Join(names, " "); got != "announce close seal ship close seal ship verify" || r.Phases[1].Err == "" || r.Phases[4].Err != "" {
			t.Errorf("phases: %s", r.JSON())
		}
	})
}
