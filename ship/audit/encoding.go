package audit

import (
	"fmt"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool/object"
)

// encodingOf returns how a line says that its object is encoded. The error wraps errNotUnderstood.
func encodingOf(x format.Extra, s *ship.SegmentLine) (*format.Format, compress.Codec, error) {
	f, err := x.Format(s.Format)
	if err != nil {
		return nil, nil, fmt.Errorf("format %q: %w", s.Format, errNotUnderstood)
	}
	codec, err := x.Codec(s.Codec)
	if err != nil {
		return nil, nil, fmt.Errorf("codec %q: %w", s.Codec, errNotUnderstood)
	}
	return f, codec, nil
}

// encodingByKey returns how an object is encoded by the ending of its key. The error wraps errNotUnderstood.
func encodingByKey(x format.Extra, k *object.Key) (*format.Format, compress.Codec, error) {
	f, codec, err := x.ByKey(k.Ending())
	if err != nil || f.Ext+codec.Info().Ext != k.Ending() {
		return nil, nil, fmt.Errorf("the ending %q of its name: %w", k.Ending(), errNotUnderstood)
	}
	return f, codec, nil
}

// isPlain reports whether the content of a line's object has neither sequence numbers nor times: see
// format.Format.
func isPlain(x format.Extra, s *ship.SegmentLine) bool {
	f, err := x.Format(s.Format)
	return err == nil && f.Plain
}

// isCanonical reports whether the content of a line's object is the same for the same records: see format.Format.
func isCanonical(x format.Extra, s *ship.SegmentLine) bool {
	f, err := x.Format(s.Format)
	return err == nil && f.Canonical
}
