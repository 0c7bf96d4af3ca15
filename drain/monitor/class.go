package monitor

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock-go/penstock/drain/status"
	"github.com/penstock-go/penstock/spool/segment"
)

var ofClass = []string{"class"}

// balance has the metrics of the balance of a class: see the package documentation.
var balance = func() *table[status.Class] {
	t := &table[status.Class]{labels: ofClass}
	for _, x := range []struct {
		kind       kind
		name, help string
		tally      func(*status.Balance) segment.Tally
	}{
		{counter, "received", "that reached the listeners, lost ones included", func(b *status.Balance) segment.Tally { return b.Received }},
		{counter, "made", "that were made on purpose beyond those received", func(b *status.Balance) segment.Tally { return b.Made }},
		{counter, "kept", "that were written to the spool", func(b *status.Balance) segment.Tally { return b.Kept }},
		{gauge, "buffered", "that are in memory and not in the spool yet", func(b *status.Balance) segment.Tally { return b.Buffered }},
		{counter, "filtered", "that were dropped on purpose", func(b *status.Balance) segment.Tally { return b.Filtered }},
		{gauge, "damaged", "that were kept and that the disk no longer returns", func(b *status.Balance) segment.Tally { return b.Damaged }},
		{counter, "unaccounted", "that were received and lost with a process or machine that died", unaccounted},
	} {
		suffix := map[kind]string{counter: "_total"}[x.kind]
		t.add(x.kind, x.name+"_records"+suffix, "Records "+x.help+".", func(c *status.Class) float64 { return float64(x.tally(&c.Balance).Records) })
		t.add(x.kind, x.name+"_bytes"+suffix, "Payload bytes of records "+x.help+".", func(c *status.Class) float64 { return float64(x.tally(&c.Balance).Bytes) })
	}
	t.counter("unaccounted_at_most_bytes_total", "Upper bound of the payload bytes that died with a process or machine beyond those known.", func(c *status.Class) (n float64) {
		for _, u := range c.Balance.Unaccounted {
			n += float64(u.AtMostBytes)
		}
		return n
	})
	t.counter("unaccounted_periods_total", "Sudden deaths of a process or machine after which the balance can only be bounded.", func(c *status.Class) float64 {
		return float64(len(c.Balance.Unaccounted))
	})
	return t
}()

func unaccounted(b *status.Balance) (t segment.Tally) {
	for _, u := range b.Unaccounted {
		t.Add(u.Known)
	}
	return t
}

var (
	lostRecords = newFamily(counter, "lost_records_total", "Records that were received and could not be kept, by cause.", "cause", "class")
	lostBytes   = newFamily(counter, "lost_bytes_total", "Payload bytes of lost records, as far as they were seen, by cause.", "cause", "class")
	appendTimes = newFamily(histogram, "append_seconds", "How long appends to the spool took, waiting for room included.", ofClass...)
	syncTimes   = newFamily(histogram, "sync_seconds", "How long the syncs (fdatasync) of the spool's log took.", ofClass...)
)

// ofSpool has the other metrics of a class, without those of its listeners and destinations.
var ofSpool = func() *table[status.Class] {
	t := &table[status.Class]{labels: ofClass}
	t.gauge("class_up", "Whether the class runs.", func(c *status.Class) float64 { return is(c.Down == "") })
	t.gauge("last_record_timestamp_seconds", "When the newest record of the class arrived.", func(c *status.Class) float64 { return at(c.LastRecord) })
	t.gauge("spool_used_bytes", "Bytes of the spool's directory that count against its quota.", func(c *status.Class) float64 { return float64(c.Spool.Used) })
	t.gauge("spool_quota_bytes", "Bytes that the spool may use.", func(c *status.Class) float64 { return known(c.Spool.Quota) })
	t.gauge("spool_full", "Whether appends wait, or are rejected, for want of room.", func(c *status.Class) float64 { return is(c.Spool.Full) })
	t.gauge("spool_until_full_seconds", "Time until the quota or the disk is used up at the present rate; left out if the spool is not growing.", func(c *status.Class) float64 { return optional(c.Spool.UntilFull) })
	t.gauge("spool_failing", "Whether the spool refuses records because its disk fails.", func(c *status.Class) float64 { return is(c.Spool.Err != "") })
	t.gauge("spool_frozen", "Whether nothing is deleted although it was delivered.", func(c *status.Class) float64 { return is(c.Spool.Frozen != "") })
	t.gauge("spool_segments", "Sealed segments in the spool.", func(c *status.Class) float64 { return float64(c.Spool.Segments) })
	t.gauge("spool_staged_segments", "Sealed segments that are encoded for their destinations.", func(c *status.Class) float64 { return float64(c.Spool.Staged) })
	t.gauge("spool_appended_sequence", "Last sequence number that was given.", func(c *status.Class) float64 { return float64(c.Spool.Appended) })
	t.gauge("spool_written_sequence", "Last sequence number that was written to the log.", func(c *status.Class) float64 { return float64(c.Spool.Written) })
	t.gauge("spool_durable_sequence", "Last sequence number that is on stable storage.", func(c *status.Class) float64 { return float64(c.Spool.Durable) })
	t.gauge("spool_memory_used_bytes", "Memory of records that are not on stable storage yet.", func(c *status.Class) float64 { return float64(c.Spool.MemoryUsed) })
	t.gauge("spool_memory_quota_bytes", "Memory that such records may use.", func(c *status.Class) float64 { return known(c.Spool.MemoryQuota) })
	t.gauge("spool_damages", "Damages of kept records that the operator has not given up.", func(c *status.Class) (n float64) {
		for _, d := range c.Spool.Damages {
			n += is(!d.GivenUp)
		}
		return n
	})
	t.counter("spool_panics_total", "Panics in the program's own encoder or hooks.", func(c *status.Class) float64 { return float64(c.Spool.Panics) })
	return t
}()

// causes are the labels of the causes of loss, made once.
var causes = func() (names []string) {
	for c := range segment.NumCauses {
		names = append(names, c.String())
	}
	return names
}()

func sendClass(ch chan<- prometheus.Metric, c *status.Class, senders *named) {
	labels := pairs(ofClass, c.Class)
	if c.Down != "" && c.Spool.Spool == "" { // nothing else is known
		ofSpool.rows[0].send(ch, 0, labels)
		return
	}
	balance.send(ch, labels, c)
	ofSpool.send(ch, labels, c)
	for i, cause := range causes {
		l := with(labels, "cause", cause)
		lostRecords.send(ch, float64(c.Balance.Lost[i].Records), l)
		lostBytes.send(ch, float64(c.Balance.Lost[i].Bytes), l)
	}
	appendTimes.sendTimes(ch, c.Spool.Append.Buckets, labels)
	syncTimes.sendTimes(ch, c.Spool.Sync.Buckets, labels)
	senders.send(ch, c.Class, labels, &c.Senders)
	seen := map[string]int{}
	for i := range c.Listeners {
		sendListener(ch, labels, &c.Listeners[i], seen)
	}
	for i := range c.Destinations {
		sendDestination(ch, c.Class, &c.Destinations[i])
	}
}
