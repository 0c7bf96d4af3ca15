package format

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

var update = flag.Bool("update", false, "write the golden files again")

// TestGolden: objects that version 0.1 has written are read, in every format with every codec. The uncompressed content is
// the same as today's, since it is hashed in manifests; compressed bytes may change with a library.
func TestGolden(t *testing.T) {
	raw, err := os.ReadFile("../../spool/segment/testdata/sealed-v2.seg")
	if err != nil {
		t.Fatal(err)
	}
	src := func() *segment.Reader {
		r, err := segment.NewReader(bytes.NewReader(raw), int64(len(raw)), nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, name := range Names() {
		var plain bytes.Buffer
		enc, err := NewEncoder(object.Encoding{Format: name, Codec: "none"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := enc.Encode(t.Context(), &plain, src(), nil); err != nil {
			t.Fatal(err)
		}
		for _, codec := range compress.Names() {
			enc, err := NewEncoder(object.Encoding{Format: name, Codec: codec})
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			out, err := enc.Encode(t.Context(), &b, src(), nil)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", "object-v0.1."+name+"."+codec)
			if *update {
				if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			stored, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			content, err := enc.Decode(stored, out.Encoding)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(content)
			stored.Close()
			if err != nil || !bytes.Equal(got, plain.Bytes()) {
				t.Errorf("%s: %v, or it has another content than is written today", path, err)
			}
		}
	}
}
