package fileship_test

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// hostile are parts of names that somebody far away may choose.
var hostile = []string{
	"..", "../x", "../../x", "a/../../x", "/x", "//x", "./x", ".", "", "x/", "a//x", `..\x`, `a\x`, "x\x00", "x\n", "x\r", "x\x7f", "\x1b[2J", "\xff\xfe",
	strings.Repeat("x", 1025), strings.Repeat("../", 300) + "x",
}

// TestHostileKeys: no key reaches a file outside of the destination's directory, and nothing that is read at a destination or in a spool
// becomes a part of a key that does.
func TestHostileKeys(t *testing.T) {
	root := t.TempDir()
	outside := filepath.Join(root, "x")
	if err := os.WriteFile(outside, []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := fileship.New(filepath.Join(root, "a", "dest"), nil)
	if err != nil {
		t.Fatal(err)
	}
	put := func(key string) error {
		b := []byte("inside")
		_, err := d.Put(t.Context(), ship.BytesObject(key, "x", b), io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))))
		return err
	}
	if err := put("class=vpn/x"); err != nil {
		t.Fatal(err)
	}
	before := tree(t, root)
	const id = "4k7q0z1m9x2c3v5b6n8a0s1d2f"
	for _, h := range hostile {
		for _, key := range []string{h, "class=vpn/" + h + "/../../../../x", h + "/x"} {
			if ship.CheckKey(key) == nil {
				continue // harmless: a part of a name below
			}
			if err := put(key); err == nil {
				t.Errorf("Put of %.60q", key)
			}
			if body, err := d.Open(t.Context(), key); err == nil {
				t.Errorf("Open of %.60q", key)
				body.Close()
			}
			if _, err := d.Stat(t.Context(), key); err == nil {
				t.Errorf("Stat of %.60q", key)
			}
		}
		for e, err := range d.List(t.Context(), h) {
			if err == nil && ship.CheckKey(e.Key) != nil {
				t.Errorf("List of %.60q shows %q", h, e.Key)
			}
		}
		// What keys are made of, and what is read back from them.
		if segment.CheckClass(h) == nil || segment.CheckSpoolID(h) == nil || segment.CheckDestination(h) == nil {
			t.Errorf("%.60q is a name", h)
		}
		k := object.Key{Origin: object.Origin{Class: "vpn", Spool: id}, Epoch: 1, First: 1, Last: 2, Ext: ".ndjson"}
		for _, made := range []func(h string){func(h string) { k.Class = h }, func(h string) { k.Class, k.Spool = "vpn", h }} {
			made(h)
			if _, ok := object.ParseKey(k.String()); ok {
				t.Errorf("%.90q is the key of an object", k.String())
			}
		}
		for _, key := range []string{object.ManifestKey(h, id, 1, 0), object.ManifestKey("vpn", h, 1, 0)} {
			if _, ok := object.ParseChainKey(key); ok {
				t.Errorf("%.90q is the key of a manifest", key)
			}
		}
		if _, ok := object.ParseClosingKey(object.ClosingKey("vpn", h, 1, 0, [32]byte{})); ok {
			t.Errorf("%.60q is the spool of a closing", h)
		}
		refusesLine(t, h)
	}
	if after := tree(t, root); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// refusesLine: a manifest whose line names a hostile key, or whose header has a hostile name, is not read.
func refusesLine(t *testing.T, h string) {
	t.Helper()
	golden, err := os.ReadFile("../testdata/manifest-v4.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(m *ship.Manifest){
		"key": func(m *ship.Manifest) { m.Segments[0].Key = h }, "class": func(m *ship.Manifest) { m.Header.Class = h },
		"spool": func(m *ship.Manifest) { m.Header.Spool = h }, "destination": func(m *ship.Manifest) { m.Header.Destination = h },
	} {
		m, err := ship.DecodeManifest(bytes.NewReader(golden))
		if err != nil {
			t.Fatal(err)
		}
		change(m)
		if _, err := m.Encode(); err == nil { // it checks what DecodeManifest checks
			t.Errorf("a manifest with the %s %.60q", what, h)
		}
	}
}

// tree lists everything below a directory, with contents.
func tree(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			text, _ := os.ReadFile(path)
			b.WriteString(path + ": " + string(text) + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
