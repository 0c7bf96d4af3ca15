// Package monitor exports the state of a service as Prometheus metrics. No other package of this module outside of examples/
// imports a metrics library, so that a program without this package does not build one.
//
// A [Collector] exports the contents of a [status.Watch], with the same terms. [Handler] serves it together with metrics of
// the Go runtime and the process; a program with its own registry registers the Collector there:
//
//	watch, err := status.New(&status.Options{Drainer: d})
//	go watch.Run(ctx) // without it there is no history, and so no penstock_spool_until_full_seconds
//	mux.Handle("GET /metrics", monitor.Handler(watch)) // or:
//	registry.MustRegister(monitor.New(watch))
//
// # Conventions
//
// All names begin with penstock_. Counters end in _total, sizes in _bytes, durations in _seconds, times of the clock in
// _timestamp_seconds. Every size is exported together with its capacity. An unknown number is omitted, never exported as
// 0. The metrics of a class have the label class, those of its destinations also the label destination.
//
// The counters of the balance (penstock_received_, made_, kept_, filtered_, lost_, damaged_, unaccounted_, delivered_ and
// pending_records) are those of the ledger: they count over the whole life of a spool, and do not begin at 0 with the process.
// Every cause of loss is always exported, so that the first loss is an increase. Two equations hold:
//
//	received + made = kept + buffered + filtered + sum(lost) + unaccounted + in hand
//	kept = delivered + pending + damaged           for each destination that is owed everything
//
// All terms are from one snapshot, except the last one of the first line, penstock_listener_in_hand_records. A destination is owed
// everything if penstock_chain_joined_sequence is at most 1. Records that were damaged after their delivery are both delivered and
// damaged. The alert PenstockBalanceBroken (examples/deploy/monitoring) fires if the two sides of either equation differ by more
// than that.
//
// All other counters begin with the process.
//
// The number of series is bounded, even over time and whoever sends: a Collector names only established senders (see
// status.Sender.Established), and in its life at most 200 for each class. penstock_senders_unnamed counts the senders without
// metrics of their own; the status page lists them. The count of a sender never falls.
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
// tables: each line is a metric, with its name, its help, and where in the snapshot its value is. senders.go names the senders
// of the most records, and table.go has the types of the tables.
package monitor
