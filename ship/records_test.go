package ship

import (
	"io"
	"net/netip"
	"testing"

	"github.com/penstock-go/penstock/spool/segment"
)

// listed gives records, numbered from 1.
type listed []segment.Record

func (l *listed) Next() (seq uint64, rec segment.Record, err error) {
	if len(*l) == 0 {
		return 0, rec, io.EOF
	}
	rec, *l = (*l)[0], (*l)[1:]
	return 9 - uint64(len(*l)), rec, nil
}

// TestPrefixAttrs: records of two copies of a volume differ if their attributes differ, provided that the object's format has
// attributes.
func TestPrefixAttrs(t *testing.T) {
	a, err := segment.NewAttrs(map[string]string{"k": "v"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := segment.NewAttrs(map[string]string{"k": "w"})
	if err != nil {
		t.Fatal(err)
	}
	rec := func(at int64, attrs *segment.Attrs) segment.Record {
		return segment.Record{Time: at, Data: []byte("x"), Attrs: attrs}
	}
	from := func(r segment.Record, src string) segment.Record {
		r.Src = netip.MustParseAddrPort(src)
		return r
	}
	payload := func(data string) segment.Record { return segment.Record{Data: []byte(data)} }
	for what, c := range map[string]struct {
		there []segment.Record
		plain bool
		want  uint64
	}{
		"equal":              {[]segment.Record{rec(1, a), rec(2, a)}, false, 9},
		"other value":        {[]segment.Record{rec(1, a), rec(2, b)}, false, 8},
		"missing there":      {[]segment.Record{rec(1, a), rec(2, nil)}, false, 8},
		"other time":         {[]segment.Record{rec(1, a), rec(0, a)}, false, 8},
		"other source":       {[]segment.Record{rec(1, a), from(rec(2, a), "10.0.0.1:514")}, false, 8},
		"plain":              {[]segment.Record{payload("x"), payload("x")}, true, 9},
		"plain, other":       {[]segment.Record{payload("x"), payload("y")}, true, 8},
		"plain, a newline":   {[]segment.Record{payload("x"), payload("x\n")}, true, 9},
		"plain, two of them": {[]segment.Record{payload("x"), payload("x\n\n")}, true, 8},
	} {
		there, here := listed(c.there), listed([]segment.Record{rec(1, a), rec(2, a)})
		if got, err := prefix(&there, &here, 8, 9, c.plain); err != nil || got != c.want {
			t.Errorf("%s: up to %d, %v; want %d", what, got, err, c.want)
		}
	}
}
