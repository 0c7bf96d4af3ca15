package monitor

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/penstock-go/penstock/drain/status"
)

// maxNamed is how many senders of a class a Collector ever names, because each name is two series that Prometheus keeps for
// weeks, and anyone can send datagrams from any number of addresses.
const maxNamed = 200

var (
	senderRecords = newFamily(counter, "sender_received_records_total", "Records that a sender has certainly sent, of the established senders of the most records.", "class", "sender")
	senderLast    = newFamily(gauge, "sender_last_record_timestamp_seconds", "When the newest record of one of these senders was read.", "class", "sender")
	unnamed       = newFamily(gauge, "senders_unnamed", "Established senders of the most records that have no metrics of their own, because the class has had as many as it may.", ofClass...)
)

// named are the senders that have been named. Each class has its own bound, so a flood in one takes no names from another.
type named struct {
	mu      sync.Mutex
	classes map[string]map[string]uint64 // records exported for each sender
}

// records returns what to export for a sender; false if it must not be named. The number never falls, even if a sender was
// forgotten and has come back: Prometheus would treat that as a reset of the counter, and count all of its records again.
func (n *named) records(class string, s *status.Sender) (records uint64, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	senders := n.classes[class]
	records, ok = senders[s.Sender]
	if !ok {
		if len(senders) >= maxNamed {
			return 0, false
		}
		if senders == nil {
			if n.classes == nil {
				n.classes = map[string]map[string]uint64{}
			}
			senders = map[string]uint64{}
			n.classes[class] = senders
		}
	}
	records = max(records, s.Received.Records)
	senders[s.Sender] = records
	return records, true
}

// send exports the established senders with the most records, and established ones that have stopped.
func (n *named) send(ch chan<- prometheus.Metric, class string, labels []*dto.LabelPair, s *status.Senders) {
	without, seen := 0, map[string]bool{}
	for _, list := range [][]status.Sender{s.Top, s.Silent} {
		for i := range list {
			x := &list[i]
			if seen[x.Sender] || !x.Established() {
				continue
			}
			seen[x.Sender] = true
			records, ok := n.records(class, x)
			if !ok {
				without++
				continue
			}
			l := with(labels, "sender", x.Sender)
			senderRecords.send(ch, float64(records), l)
			senderLast.send(ch, at(&x.LastRecord), l)
		}
	}
	unnamed.send(ch, float64(without), labels)
}
