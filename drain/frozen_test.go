package drain

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// alterOne makes the faulty destination alter the first object that it gets.
func (w *world) alterOne(key *string, want *[]byte) {
	w.faulty.SetPlan(func(c shiptest.Call) shiptest.Fault {
		if *key != "" || c.Op != shiptest.Put || !strings.HasPrefix(c.Key, "class=") {
			return shiptest.Fault{}
		}
		*key = c.Key
		return shiptest.Fault{After: func(context.Context) error {
			*want = w.other.Bytes(*key)
			w.other.Set(*key, []byte("other bytes"))
			return nil
		}}
	})
}

// fill appends until the spool refuses records, or has taken twice its quota because it deletes segments.
func fill(t *testing.T, sp *spool.Spool) {
	t.Helper()
	rec := []segment.Record{{Data: make([]byte, 48<<10)}}
	for range 512 {
		if sp.Stats().Full {
			return
		}
		_, err := sp.TryOffer(rec)
		if errors.Is(err, spool.ErrFull) { // or the memory is full
			err = sp.WaitDurable(t.Context(), sp.Stats().Appended)
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// TestFullAndFrozen: a spool that becomes full in quiesce deletes delivered segments, unless an earlier drain has left it
// frozen: then it has the only copy of an object that a destination has altered, and keeps it through the next drain.
func TestFullAndFrozen(t *testing.T) {
	for _, altered := range []bool{false, true} {
		w := newWorld(t)
		w.maxBytes = 8 << 20
		synctest.Test(t, func(t *testing.T) {
			w.t = t
			key, want := "", []byte(nil)
			if altered {
				w.alterOne(&key, &want)
				d, sp := w.start(Options{Timeout: time.Minute})
				freeze(t, sp) // so that it is still there when the drain begins
				w.append(sp, 1000)
				if r, err := d.Drain(t.Context(), "test"); err != nil || r.Outcome != Mismatch {
					t.Fatalf("%v %s", err, r.JSON())
				}
			}
			var log bytes.Buffer
			p := &fake{notice: notice()}
			d, sp := w.start(Options{Lifecycles: []Lifecycle{p}, Timeout: time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			first := uint64(1)
			if l := sp.Shelf().Sealed(0, 1); altered {
				first = l[0].Number
			}
			deleted := make(chan bool, 1)
			go func() {
				gone := false
				for range 60 { // what is encoded and delivered meanwhile may make some room
					fill(t, sp)
					time.Sleep(time.Second) // simulated: within quiesce
					l := sp.Shelf().Sealed(0, 1)
					if gone = len(l) == 0 || l[0].Number > first; gone {
						break
					}
				}
				deleted <- gone
			}()
			r, err := d.RunWith(t.Context(), nil)
			if err != nil || r.Outcome == Delivered == altered || altered && (r.Outcome != Mismatch || r.Left[0].Where != key) {
				t.Fatalf("altered %v: %v %s", altered, err, r.JSON())
			}
			if gone := <-deleted; gone == altered {
				t.Errorf("altered %v: deleted in quiesce %v", altered, gone)
			}
			if n := strings.Count(log.String(), "so records are refused"); (n == 1) != altered {
				t.Errorf("altered %v: logged %d times", altered, n)
			}
			if !altered {
				return
			}
			w.other.Set(key, want)
			d, sp = w.start(Options{Timeout: time.Minute})
			time.Sleep(time.Minute) // simulated: verified once more
			if st := sp.Stats(); st.Segments != 0 || d.all()[0].isUnverified() {
				t.Errorf("put right, and still %d segments", st.Segments)
			}
			if r, err := d.Drain(t.Context(), "test"); err != nil || r.Outcome != Delivered {
				t.Errorf("%v %s", err, r.JSON())
			}
		})
	}
}
