package monitor

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock-go/penstock/drain/status"
	"github.com/penstock-go/penstock/ship"
)

var ofDestination = []string{"class", "destination"}

// delivery has the metrics of one destination of a class.
var delivery = func() *table[status.Destination] {
	t := &table[status.Destination]{labels: ofDestination}
	t.counter("delivered_records_total", "Records that the destination's chain covers: verified there.", func(d *status.Destination) float64 { return float64(d.Delivered.Records) })
	t.counter("delivered_bytes_total", "Payload bytes of delivered records.", func(d *status.Destination) float64 { return float64(d.Delivered.Bytes) })
	t.gauge("pending_records", "Records that the destination does not have yet, sealed or not.", func(d *status.Destination) float64 { return float64(d.Pending.Records) })
	t.gauge("pending_bytes", "Payload bytes of pending records.", func(d *status.Destination) float64 { return float64(d.Pending.Bytes) })
	t.gauge("pending_segments", "Sealed segments that the destination does not have yet.", func(d *status.Destination) float64 { return float64(d.PendingSegments) })
	t.gauge("destination_lag_seconds", "Time since the oldest pending segment was begun; 0 if nothing is pending.", func(d *status.Destination) float64 { return optional(d.Lag) })
	t.gauge("destination_until_empty_seconds", "Time until nothing is pending at the present rate; left out while the backlog does not shrink.", func(d *status.Destination) float64 { return optional(d.UntilEmpty) })
	t.gauge("destination_bytes_per_second", "Payload delivered, over the last half minute.", func(d *status.Destination) float64 { return d.BytesPerSecond })
	t.counter("destination_sent_bytes_total", "Stored bytes that the destination has confirmed to this process.", func(d *status.Destination) float64 { return float64(d.SentBytes) })
	t.counter("destination_verified_total", "Objects and manifests that were asked about again, and confirmed.", func(d *status.Destination) float64 { return float64(d.Verified) })
	t.gauge("destination_last_success_timestamp_seconds", "When the destination last confirmed an object or a manifest to this process.", func(d *status.Destination) float64 { return at(d.LastSuccess) })
	t.gauge("destination_failing_since_timestamp_seconds", "When the first operation failed of those that still do; left out while all is well.", func(d *status.Destination) float64 { return at(d.Since) })
	t.gauge("chain_epoch", "Epoch of the destination's chain of manifests.", func(d *status.Destination) float64 { return float64(d.Chain.Epoch) })
	t.gauge("chain_next_manifest", "Number of the next manifest.", func(d *status.Destination) float64 { return float64(d.Chain.Next) })
	t.gauge("chain_segment", "Last segment that the chain covers.", func(d *status.Destination) float64 { return float64(d.Chain.Segment) })
	t.gauge("chain_through_sequence", "Last sequence number that the chain covers.", func(d *status.Destination) float64 { return float64(d.Chain.Through) })
	t.gauge("chain_joined_sequence", "First sequence number that the destination is owed; above 1 if it came later than the spool.", func(d *status.Destination) float64 { return float64(d.Chain.Joined) })
	t.gauge("chain_final", "Whether the last manifest was final: nothing follows in its epoch.", func(d *status.Destination) float64 { return is(d.Chain.Final) })
	t.counter("destination_panics_total", "Panics in the code of the destination, its signer or the hooks for it.", func(d *status.Destination) float64 { return float64(d.Panics) })
	return t
}()

var (
	destinationState = newFamily(gauge, "destination_state", "1 for the state that the destination is in, 0 for the others.", "class", "destination", "state")
	failures         = newFamily(counter, "destination_failures_total", "Operations that have failed, each attempt counted, by kind.", "class", "destination", "kind")
	putTimes         = newFamily(histogram, "put_seconds", "How long uploads took, their verification included, failed ones too.", ofDestination...)
	verifyTimes      = newFamily(histogram, "verify_seconds", "How long the questions took with which a drain verifies what was delivered.", ofDestination...)
)

// states and kinds are labels.
var (
	states = []ship.State{ship.StateOK, ship.StateRetrying, ship.StateParked, ship.StateConflict, ship.StateFenced}
	kinds  = []ship.Failure{
		ship.FailureTransient, ship.FailureRefused, ship.FailureIdentity, ship.FailureVerify, ship.FailureConflict, ship.FailureFenced,
		ship.FailureFull, ship.FailurePanic,
	}
)

func sendDestination(ch chan<- prometheus.Metric, class string, d *status.Destination) {
	labels := pairs(ofDestination, class, d.Destination)
	delivery.send(ch, labels, d)
	for _, s := range states {
		destinationState.send(ch, is(d.State == s), with(labels, "state", string(s)))
	}
	for _, k := range kinds {
		failures.send(ch, float64(d.Failures[k]), with(labels, "kind", string(k)))
	}
	putTimes.sendTimes(ch, d.Put.Buckets, labels)
	verifyTimes.sendTimes(ch, d.Verify.Buckets, labels)
}
