package otel_test

import (
	"strings"

	"go.opentelemetry.io/otel/attribute"
)

// labels writes attributes as Prometheus' users know them.
type labels struct{}

var id = attribute.NewEncoderID()

// Encode implements attribute.Encoder.
func (labels) Encode(i attribute.Iterator) string {
	var all []string
	for i.Next() {
		kv := i.Attribute()
		all = append(all, string(kv.Key)+"="+kv.Value.Emit())
	}
	return strings.Join(all, ",")
}

// ID implements attribute.Encoder.
func (labels) ID() attribute.EncoderID { return id }
