package format

import (
	"io"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// renamed is a codec under another name.
type renamed struct {
	compress.Codec
	name, ext string
}

func (r renamed) Info() compress.Info {
	i := r.Codec.Info()
	i.Name, i.Ext = r.name, r.ext
	return i
}

// TestExtraCheck: names and endings that could be confused later are refused at the start, all at once.
func TestExtraCheck(t *testing.T) {
	gzip, err := compress.ByName("gzip")
	if err != nil {
		t.Fatal(err)
	}
	write := func(*segment.Reader) (Writer, error) { return nil, nil }
	read := func(io.Reader) (Reader, error) { return nil, nil }
	x := Extra{
		Formats: []*Format{
			nil,
			{Name: "ndjson", Ext: ".own", Write: write, Read: read},
			{Name: "Bad Name", Ext: ".x", Write: write, Read: read},
			{Name: "half", Ext: ".half", Write: write},
			{Name: "gzip", Ext: ".zst", Write: write, Read: read},
		},
		Codecs: []compress.Codec{nil, (*renamed)(nil), renamed{gzip, "gzip", ".gzz"}, renamed{gzip, "mine", ".ndjson"}, renamed{gzip, "no-ext", ""}},
	}
	err = x.Check()
	for _, want := range []string{
		"Extra.Formats[0] is nil", `format "ndjson": the name is taken`, `format "Bad Name": a name has`, `format "half" needs Write and Read`,
		`codec "mine": its ending ".ndjson" is taken`, "Extra.Codecs[0]: ", "Extra.Codecs[1]: ", `codec "gzip": the name is taken`,
		`format "gzip": its ending ".zst" is taken`, `codec "no-ext": its ending "" is not`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	ok := Extra{Formats: []*Format{{Name: "own", Ext: ".own", Write: write, Read: read}}, Codecs: []compress.Codec{renamed{gzip, "mine", ".mine"}}}
	if err := ok.Check(); err != nil {
		t.Error(err)
	}
	if f, c, err := ok.ByKey("class=x/0.own.mine"); err != nil || f.Name != "own" || c.Info().Name != "mine" {
		t.Errorf("%v, %v, %v", f, c, err)
	}
	if _, err := NewEncoder(object.Encoding{Format: "own"}); err == nil || !strings.Contains(err.Error(), "add it to format.Extra") {
		t.Errorf("a format that is not given: %v", err)
	}
	if _, err := (Extra{}).Codec("mine"); err == nil || !strings.Contains(err.Error(), "add it to format.Extra") {
		t.Errorf("a codec that is not given: %v", err)
	}
}
