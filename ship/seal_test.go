package ship

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sealed lists the documents that have a seal, with their bytes and decoders.
func sealed(t *testing.T) map[string]struct {
	bytes  []byte
	decode func(io.Reader) (any, error)
} {
	t.Helper()
	_, key := newKey(t)
	h := &Head{
		Version: HeadVersion, Class: "vpn", Spool: strings.Repeat("0", 26), Epoch: 1, Destination: "idc", Number: 3,
		Hash: strings.Repeat("ab", 32), Last: 9, Time: time.Unix(1, 0).UTC(),
	}
	c := &Closing{
		Version: ClosingVersion, Class: "vpn", Spool: strings.Repeat("0", 26), Epoch: 1, Destination: "idc", Number: 3,
		Hash: strings.Repeat("ab", 32), Last: 9, By: "ops@noc", Reason: "the volume was deleted", Time: time.Unix(1, 0).UTC(),
	}
	all := map[string]struct {
		bytes  []byte
		decode func(io.Reader) (any, error)
	}{}
	for _, kind := range []string{"", ", signed"} {
		if kind != "" {
			if err := errors.Join(h.Sign(key), c.Sign(key)); err != nil {
				t.Fatal(err)
			}
		}
		head, err := h.Encode()
		if err != nil {
			t.Fatal(err)
		}
		closing, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		name := c.Key(closing)
		all["head"+kind] = struct {
			bytes  []byte
			decode func(io.Reader) (any, error)
		}{head, func(r io.Reader) (any, error) { return DecodeHead(r) }}
		all["closing"+kind] = struct {
			bytes  []byte
			decode func(io.Reader) (any, error)
		}{closing, func(r io.Reader) (any, error) { return DecodeClosing(r, name) }}
	}
	return all
}

// TestSealFormat: the bytes are those of the golden files, which fix the version.
func TestSealFormat(t *testing.T) {
	all := sealed(t)
	for name, file := range map[string]string{"head": "head-v2.json", "closing": "closing-v1.json"} {
		path := filepath.Join("testdata", file)
		if *update {
			if err := os.WriteFile(path, all[name].bytes, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(all[name].bytes, want) {
			t.Errorf("%s:\n%s\nwas\n%s", name, all[name].bytes, want)
		}
	}
}

// TestSealFlips: no bit of the document or of its seal changes unnoticed, and a damaged version is not taken for another one.
// Changes of the signature can be detected only with its key.
func TestSealFlips(t *testing.T) {
	for name, d := range sealed(t) {
		if _, err := d.decode(bytes.NewReader(d.bytes)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		lines := bytes.SplitAfter(d.bytes, []byte("\n"))
		for bit := range 8 * (len(lines[0]) + len(lines[1])) {
			b := bytes.Clone(d.bytes)
			b[bit/8] ^= 1 << (bit % 8)
			if _, err := d.decode(bytes.NewReader(b)); !errors.Is(err, ErrVerify) {
				t.Errorf("%s: bit %d of byte %d flipped: %v", name, bit%8, bit/8, err)
			} else if errors.Is(err, ErrVersion) {
				t.Errorf("%s: bit %d of byte %d flipped is taken for another version: %v", name, bit%8, bit/8, err)
			}
		}
		for n := range d.bytes {
			whole := strings.HasSuffix(name, "signed") && n == len(lines[0])+len(lines[1])
			if _, err := d.decode(bytes.NewReader(d.bytes[:n])); !errors.Is(err, ErrVerify) && !whole {
				t.Errorf("%s: cut to %d bytes: %v", name, n, err)
			}
		}
	}
}

// TestHeadVersions: heads of other versions are refused by name, and are not called damaged.
func TestHeadVersions(t *testing.T) {
	v1 := `{"version":1,"class":"vpn","spool":"00000000000000000000000000","epoch":1,"destination":"idc","number":3,"hash":"` +
		strings.Repeat("ab", 32) + `","last":9,"time":"1970-01-01T00:00:01Z"}` + "\n"
	_, v3, err := seal(struct {
		Version int  `json:"version"`
		More    bool `json:"more"`
	}{3, true})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{v1: "has version 1, and this program reads version 2", string(v3): "has version 3, and this program reads version 2"} {
		if _, err := DecodeHead(strings.NewReader(text)); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// TestSealedTimes: documents have times in UTC only.
func TestSealedTimes(t *testing.T) {
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.FixedZone("", 7200))
	h := &Head{Version: HeadVersion, Class: "vpn", Spool: strings.Repeat("0", 26), Epoch: 1, Destination: "idc", Hash: strings.Repeat("ab", 32), Time: at}
	b, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeHead(bytes.NewReader(b)); !errors.Is(err, ErrVerify) {
		t.Errorf("head: %v", err)
	}
	c := &Closing{Version: ClosingVersion, Class: h.Class, Spool: h.Spool, Epoch: 1, Destination: "idc", Hash: h.Hash, By: "x", Reason: "x", Time: at}
	if _, err := c.Encode(); err == nil {
		t.Error("closing: encoded")
	}
}
