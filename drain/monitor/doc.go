// Package monitor exports how a service is doing as Prometheus metrics. No other package of this module outside of examples/
// imports a metrics library, so that a program without this package does not build one.
//
// A [Collector] exports what a [status.Watch] shows, under the same words. [Handler] serves it together with metrics of the Go
// runtime and the process; a program that has a registry of its own registers the Collector there:
//
//	watch, err := status.New(&status.Options{Drainer: d})
//	go watch.Run(ctx) // without it there is no history, and so no penstock_spool_until_full_seconds
//	mux.Handle("GET /metrics", monitor.Handler(watch)) // or:
//	registry.MustRegister(monitor.New(watch))
//
// # Conventions
//
// All names begin with penstock_. Counters end in _total, sizes in _bytes, durations in _seconds, times of the clock in
// _timestamp_seconds. Every size has its capacity beside it. A number that is not known is left out, and is never 0. The
// metrics of a class have the label class, those of its destinations destination too.
//
// The counters of the balance (penstock_received_, made_, kept_, filtered_, lost_, damaged_, unaccounted_, delivered_ and
// pending_records) are those of the ledger: they count over the whole life of a spool, and do not begin at 0 with the process.
// Every cause of loss is always there, so that the first loss is an increase. Two equations hold:
//
//	received + made = kept + buffered + filtered + sum(lost) + unaccounted + in hand
//	kept = delivered + pending + damaged           for each destination that is owed everything
//
// All terms are of one moment but the last one of the first line, penstock_listener_in_hand_records. A destination is owed everything
// if penstock_chain_joined_sequence is at most 1. Records that were damaged after their delivery are both delivered and damaged. The
// alert PenstockBalanceBroken (examples/deploy/monitoring) fires if either side of either equation has more than that allows.
//
// All other counters begin with the process.
//
// The number of series is bounded, also over time, whoever sends: a Collector names only established senders (see
// status.Sender.Established), and in its life at most 200 of each class. penstock_senders_unnamed counts those without metrics
// of their own; the status page has them. The count of a sender never falls.
//
// # OpenTelemetry
//
// OpenTelemetry's bridge for Prometheus (go.opentelemetry.io/contrib/bridges/prometheus) reads any Gatherer: give it a registry
// with the Collector, and its readers and exporters send the same metrics as OTLP. The module in internal/test/otel has an
// Example that does so.
//
// # The way through the files
//
// From the outside in. monitor.go has the Collector and the Handler. process.go, class.go, listener.go and destination.go have
// one table each: a metric is a line there, with its name, its help, and where in the snapshot its value is. senders.go names
// the senders of the most records, and table.go has what these lines are made of.
package monitor
