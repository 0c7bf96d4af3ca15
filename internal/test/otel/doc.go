// Package otel shows how the metrics of package monitor get to OpenTelemetry. It is a module of its own, so that no program has to
// build OpenTelemetry that does not use it.
package otel
