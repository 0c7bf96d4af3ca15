package drain

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestLateClass: a class that is added after the drain has begun is not drained, so the drain is not complete.
func TestLateClass(t *testing.T) {
	w := newWorld(t)
	late := newWorld(t)
	sp, err := spool.Open(filepath.Join(late.dir, "web"), &spool.Options{Class: "web", Destinations: []string{"good"}, SegmentBytes: 64 << 10, MaxBytes: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	sh, err := ship.New(sp, &ship.Options{Destinations: map[string]ship.Destination{"good": late.good}})
	if err != nil {
		t.Fatal(err)
	}
	var d *Drainer
	d, _ = w.start(Options{Timeout: time.Minute, Before: []Step{{"late", func(context.Context) error {
		if err := d.Add(Class{Shipper: sh}); !errors.Is(err, ErrEnding) {
			t.Errorf("added while ending: %v", err)
		}
		return nil
	}}}})
	r, err := d.Drain(t.Context(), "test")
	if err != nil || r.Outcome != Incomplete || r.Classes["web"].Err == "" {
		t.Errorf("%v %s", err, r.JSON())
	}
}

// TestNothingAfterReport: code of the embedder continues to append during a drain: the report has everything that Append
// has taken, and after a complete drain the spool has taken nothing more.
func TestNothingAfterReport(t *testing.T) {
	for name, at := range map[string]string{"after verify": phaseReport, "when it is over": phaseFinish} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := &fake{notice: notice()}
			var sp *spool.Spool
			taken := uint64(0)
			take := func() {
				rec := []segment.Record{{Time: time.Now().UnixNano(), Data: []byte("late")}}
				if _, err := sp.Append(context.Background(), rec); err == nil {
					taken++
				} else if !errors.Is(err, spool.ErrClosed) {
					t.Error(err)
				}
			}
			w.listeners = []Input{} // none of Penstock's
			d, s := w.start(Options{Lifecycles: []Lifecycle{p}, Timeout: time.Minute, Quiesce: -1})
			sp = s
			w.append(sp, 100)
			p.complete = func(*Report) (bool, error) {
				if at == phaseFinish {
					take()
				}
				return false, nil
			}
			d.o.Logger = logHook(func(msg string) {
				if at == phaseReport && msg == "drain: report" {
					take()
				}
			})
			r, err := d.RunWith(t.Context(), nil)
			if err != nil || r.Outcome != Delivered {
				t.Fatalf("%v %s", err, r.JSON())
			}
			if kept := r.Classes["vpn"].Kept.Records; kept != 100+taken {
				t.Errorf("%d records were taken, the report knows %d", 100+taken, kept)
			}
		})
	}
}

// TestOpenListener: on a retained instance, a listener that has not ended within the phase close is shut down again: what
// it still has in hand is delivered before the drain is complete.
func TestOpenListener(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		l := &reluctant{until: time.Now().Add(2 * time.Hour)}
		w.listeners = []Input{l}
		p := &fake{notice: notice(), complete: func(*Report) (bool, error) { return true, nil }}
		d, sp := w.start(Options{Lifecycles: []Lifecycle{p}, Timeout: 20 * time.Minute, Quiesce: -1})
		l.sp = sp
		w.append(sp, 100)
		r, err := d.RunWith(t.Context(), nil)
		if err != nil || r.Outcome != Delivered || !r.Retained || r.Classes["vpn"].Kept.Records != 101 {
			t.Errorf("%v %s", err, r.JSON())
		}
	})
}

// reluctant has a record in hand until a time.
type reluctant struct {
	until time.Time
	sp    *spool.Spool
	gone  bool
}

func (l *reluctant) Shutdown(ctx context.Context) error {
	t := time.NewTimer(time.Until(l.until))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.gone {
		return nil
	}
	_, err := l.sp.Append(context.Background(), []segment.Record{{Time: time.Now().UnixNano(), Data: []byte("in hand")}})
	l.gone = err == nil
	return err
}

// TestStopNotInOrder: a Stop whose listeners have not closed does not report that nothing is left.
func TestStopNotInOrder(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		w.listeners = []Input{&reluctant{until: time.Now().Add(time.Hour)}}
		d, _ := w.start(Options{})
		if r, err := d.Stop(t.Context(), "test"); err != nil || r.Outcome != Stopped || r.ExitCode() != 3 {
			t.Errorf("%v %s", err, r.JSON())
		}
	})
}

// logHook calls f for every record that is logged.
func logHook(f func(msg string)) *slog.Logger { return slog.New(hook(f)) }

type hook func(string)

func (hook) Enabled(context.Context, slog.Level) bool        { return true }
func (h hook) Handle(_ context.Context, r slog.Record) error { h(r.Message); return nil }
func (h hook) WithAttrs([]slog.Attr) slog.Handler            { return h }
func (h hook) WithGroup(string) slog.Handler                 { return h }

// TestOneDiskHangs: a call outside of the phases that hangs, such as freezing a spool on a dead disk, takes some seconds,
// and does not use up the time of the other classes.
func TestOneDiskHangs(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		d, _ := w.start(Options{})
		r := &run{d: d, log: d.o.Logger}
		never := make(chan struct{})
		defer close(never)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begin := time.Now()
		r.each(ctx, "freezing", func(*class) error { <-never; return nil })
		if took := time.Since(begin); took > 15*time.Second || len(r.report.Errors) != 1 {
			t.Errorf("%v, %q", took, r.report.Errors)
		}
		if _, err := d.Stop(t.Context(), "test"); err != nil {
			t.Error(err)
		}
	})
}
