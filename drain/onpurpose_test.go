package drain

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestChangedOnPurpose: records that were dropped and made on purpose are in the report, its log, the manifests and the
// audit, and a drain with them can be complete.
func TestChangedOnPurpose(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	d, sp := w.start(Options{Timeout: time.Minute, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	in := sp.Intake()
	// The account of a listener and of a Transform in front of the spool: 30 of 100 records are dropped, ten are split in
	// two.
	in.Account(segment.Account{Received: segment.Tally{Records: 100, Bytes: 1000}})
	in.Account(segment.Account{Filtered: segment.Tally{Records: 30, Bytes: 320}, Made: segment.Tally{Records: 10, Bytes: 120}})
	if l := sp.Ledger(); l.Buffered() != (segment.Tally{Records: 80, Bytes: 800}) {
		t.Errorf("%+v are buffered", l.Buffered())
	}
	for range 80 {
		if _, err := in.Append(t.Context(), []segment.Record{{Data: []byte("0123456789")}}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := d.Drain(t.Context(), "test")
	if err != nil || r.Outcome != Delivered || r.ExitCode() != 0 {
		t.Fatalf("%v %s", err, r.JSON())
	}
	c := w.written().Classes["vpn"]
	if c.Filtered != (segment.Tally{Records: 30, Bytes: 320}) || c.Made != (segment.Tally{Records: 10, Bytes: 120}) || c.Err != "" {
		t.Errorf("the report says %s", r.JSON())
	}
	if s := summary(t, r); !strings.Contains(s, "received 100 records, kept 80, lost 0, filtered 30, made 10\n") {
		t.Error(s)
	}
	if got := linesWith(log.String(), "drain: report: class", "received=100", "filtered=30", "made=10"); len(got) != 1 {
		t.Error(&log)
	}
	res, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Name: "good", Destination: w.good}, {Name: "other", Destination: w.other}}})
	if err != nil || res.Verdict != audit.Complete || len(res.Chains) != 2 {
		t.Fatalf("%+v, %v", res, err)
	}
	for _, chain := range res.Chains {
		if chain.Filtered != c.Filtered || chain.Made != c.Made {
			t.Errorf("the audit says %+v", chain)
		}
	}
	var text bytes.Buffer
	if err := res.WriteText(&text); err != nil || strings.Count(text.String(), ", 30 filtered on purpose, 10 more made of those received") != 2 {
		t.Errorf("%v %s", err, &text)
	}
	if js, err := json.Marshal(res); err != nil || strings.Count(string(js), `"filtered":{"records":30,"bytes":320},"made":{"records":10,"bytes":120}`) != 2 {
		t.Errorf("%v %s", err, js)
	}
}

// TestChangedSizes: a Sink in front of the spool makes records longer or shorter without accounting for the bytes. Only the
// numbers of records decide: nothing counts as lost, at the end and at the next start.
func TestChangedSizes(t *testing.T) {
	for name, size := range map[string]int{"longer": 20, "shorter": 4} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d, sp := w.start(Options{Timeout: time.Minute})
			in := sp.Intake()
			in.Account(segment.Account{Received: segment.Tally{Records: 1, Bytes: 10}})
			if _, err := in.Append(t.Context(), []segment.Record{{Data: make([]byte, size)}}); err != nil {
				t.Fatal(err)
			}
			if r, err := d.Stop(context.Background(), "test"); err != nil || r.Classes["vpn"].Err != "" || r.Classes["vpn"].Lost != (segment.Losses{}) {
				t.Fatalf("%v %s", err, r.JSON())
			}
			again, err := spool.Open(filepath.Join(w.dir, "vpn"), &spool.Options{Class: "vpn", Destinations: []string{"good", "other"}})
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if l := again.Ledger(); len(l.Unaccounted) > 0 || l.Lost != (segment.Losses{}) || l.Balance() != nil {
				t.Errorf("%+v, %v", l, l.Balance())
			}
		})
	}
}
