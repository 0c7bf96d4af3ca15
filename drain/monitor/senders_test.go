package monitor_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/penstock-go/penstock/drain/monitor"
	"github.com/penstock-go/penstock/drain/status"
	"github.com/penstock-go/penstock/spool/segment"
)

// fixed is a Source of one Snapshot.
type fixed struct{ s status.Snapshot }

func (f *fixed) Snapshot() *status.Snapshot { return &f.s }

// scraped has the senders of one scrape: records by class and sender, and the number of unnamed ones by class.
type scraped struct {
	records map[string]float64
	unnamed map[string]float64
}

func scrape(t *testing.T, c prometheus.Collector) scraped {
	t.Helper()
	s := scraped{map[string]float64{}, map[string]float64{}}
	ch := make(chan prometheus.Metric, 1000)
	c.Collect(ch)
	close(ch)
	for m := range ch {
		var v dto.Metric
		if err := m.Write(&v); err != nil {
			t.Fatal(err)
		}
		class, sender := "", ""
		for _, l := range v.Label {
			switch l.GetName() {
			case "class":
				class = l.GetValue()
			case "sender":
				sender = l.GetValue()
			}
		}
		switch {
		case sender != "" && v.Counter != nil:
			s.records[class+" "+sender] = v.Counter.GetValue()
		case strings.Contains(m.Desc().String(), `"penstock_senders_unnamed"`):
			s.unnamed[class] = v.Gauge.GetValue()
		}
	}
	return s
}

func sender(name string, records, over uint64) status.Sender {
	return status.Sender{Sender: name, Received: segment.Tally{Records: records}, Over: over, LastRecord: time.Unix(1, 0)}
}

// TestSendersBounded: a million forged addresses, of which each has sent as much as a source does, have no more than 200 names; the
// senders that were named before them keep theirs, and another class has names left. Addresses that were forged a few times
// get none.
func TestSendersBounded(t *testing.T) {
	f := &fixed{status.Snapshot{Classes: []status.Class{{Class: "internet"}, {Class: "vpn"}}}}
	c := monitor.New(f)
	internet, vpn := &f.s.Classes[0].Senders, &f.s.Classes[1].Senders
	seen := map[string]bool{}
	look := func() scraped {
		s := scrape(t, c)
		for name := range s.records {
			seen[name] = true
		}
		return s
	}
	internet.Top = []status.Sender{sender("10.0.0.1", 5000, 0), sender("10.0.0.2", 999, 0), sender("10.0.0.3", 9999, 9999)}
	if s := look(); len(s.records) != 1 || s.records["internet 10.0.0.1"] != 5000 {
		t.Errorf("%+v", s)
	}
	for i := 0; i < 1_000_000; i += 2000 {
		internet.Top, internet.Silent = internet.Top[:0], internet.Silent[:0]
		for j := i; j < i+1000; j++ {
			internet.Top = append(internet.Top, sender(fmt.Sprintf("forged-%d", j), 1000, 0))
			internet.Silent = append(internet.Silent, sender(fmt.Sprintf("forged-%d", j+1000), 1000, 0))
		}
		look()
	}
	if len(seen) != 200 {
		t.Errorf("%d senders have had a name", len(seen))
	}
	internet.Silent = internet.Silent[:0]
	internet.Top = []status.Sender{sender("10.0.0.1", 4000, 0), sender("10.0.0.4", 5000, 0)}
	vpn.Top = []status.Sender{sender("10.1.0.1", 3000, 7)}
	// Prometheus would treat a count that has fallen, because the sender was forgotten for a while, as a reset.
	s := look()
	if s.records["internet 10.0.0.1"] != 5000 || s.records["vpn 10.1.0.1"] != 3000 || len(s.records) != 2 || s.unnamed["internet"] != 1 || s.unnamed["vpn"] != 0 {
		t.Errorf("%+v", s)
	}
}
