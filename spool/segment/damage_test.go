package segment

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"
)

func TestDamageError(t *testing.T) {
	for _, tc := range []struct {
		d     DamageError
		text  string
		isGap bool
	}{
		{DamageError{First: 5, Last: 9, Offset: 64, End: 128}, "segment: damaged at [64, 128), lost sequence numbers 5 to 9", true},
		{DamageError{First: 5, Last: 4, Offset: 64, End: 128}, "segment: damaged at [64, 128), no record lost", false},
		{
			DamageError{First: 5, Last: Unbounded, Offset: 64, End: 64, Err: fs.ErrPermission},
			"segment: damaged at [64, 64), lost everything from sequence number 5 on: permission denied", true,
		},
	} {
		var err error = &tc.d
		if err.Error() != tc.text || !errors.Is(err, ErrCorrupt) || errors.Is(err, fs.ErrPermission) != (tc.d.Err != nil) {
			t.Errorf("%q, want %q", err, tc.text)
		}
		if r, ok := tc.d.Range(); ok != tc.isGap || r != (Range{tc.d.First, tc.d.Last}) {
			t.Errorf("%v: range %v, %v", err, r, ok)
		}
	}
}

// TestCopies: the bytes a stage record keeps say the same as the segment.
func TestCopies(t *testing.T) {
	m := mutants(t)["sealed"]
	r := m.open(t, ReadOptions{})
	h, err := DecodeHeader(r.HeaderBytes())
	if err != nil || h.Generation != m.header.Generation || h.Len != m.header.Len {
		t.Errorf("header %+v, %v", h, err)
	}
	f, err := DecodeFooter(r.FooterBytes())
	if err != nil || f.Next != m.next || !bytes.Equal(f.Header, r.HeaderBytes()) {
		t.Errorf("footer %+v, %v", f, err)
	}
	if r := mutants(t)["active"].open(t, ReadOptions{}); r.FooterBytes() != nil {
		t.Error("an active segment has a footer")
	}
}
