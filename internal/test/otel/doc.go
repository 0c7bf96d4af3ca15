// Package otel shows how to send the metrics of package monitor to OpenTelemetry. It is a separate module, so that only
// programs that use OpenTelemetry have to build it.
package otel
