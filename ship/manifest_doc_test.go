package ship

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/spool/segment"
)

// documented has the type that each table of MANIFEST.md describes, by the heading before the table or by its first cell. A
// test of package audit has those of its own types.
var documented = map[string]any{
	"Header": ManifestHeader{}, "Segment line": SegmentLine{}, "receipt": Receipt{}, "whole": Whole{}, "range": segment.Range{},
	"Loss line": LossLine{}, "tally": segment.Tally{}, "unaccounted": segment.Unaccounted{},
	"Footer": ManifestFooter{}, "closed_by": Owner{}, "Signature line": SignatureLine{}, "head": Head{}, "seal": sealLine{}, "closing": Closing{},
}

// TestManifestDocument: MANIFEST.md lists the members of each document, in order and with their presence, and no others.
func TestManifestDocument(t *testing.T) {
	b, err := os.ReadFile("MANIFEST.md")
	if err != nil {
		t.Fatal(err)
	}
	tables := docTables(string(b))
	for name, v := range documented {
		var want []string
		for i := range reflect.TypeOf(v).NumField() {
			tag := reflect.TypeOf(v).Field(i).Tag.Get("json")
			member, options, _ := strings.Cut(tag, ",")
			if member == "-" {
				continue
			}
			presence := "always"
			if options != "" {
				presence = "if not"
			}
			want = append(want, member+" "+presence)
		}
		if got := tables[name]; !slices.Equal(got, want) {
			t.Errorf("the table of %s has\n%q, the type\n%q", name, got, want)
		}
	}
	if got, want := tables["loss"], lossMembers(t); !slices.Equal(got, want) {
		t.Errorf("the table of loss has\n%q, the type\n%q", got, want)
	}
	for c := range segment.NumCauses {
		if !bytes.Contains(b, []byte("`"+c.String()+"`")) {
			t.Errorf("the cause %s is not in the document", c)
		}
	}
	for version, heading := range map[int]string{ManifestVersion: "## Manifest, version 4", HeadVersion: "## Head, version 2", ClosingVersion: "## Closing, version 1"} {
		if !bytes.Contains(b, []byte(heading+"\n")) || !strings.HasSuffix(heading, string(rune('0'+version))) {
			t.Errorf("%q is not the heading of version %d", heading, version)
		}
	}
}

// lossMembers returns the members of a loss, which writes its JSON itself.
func lossMembers(t *testing.T) (all []string) {
	least, err := json.Marshal(segment.Loss{})
	if err != nil {
		t.Fatal(err)
	}
	most, err := json.Marshal(segment.Loss{Records: 1, Bytes: 1, BytesUnknown: true, AtLeast: true, AtMost: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"(\w+)":`).FindAllSubmatch(most, -1) {
		presence := " if not"
		if bytes.Contains(least, m[0]) {
			presence = " always"
		}
		all = append(all, string(m[1])+presence)
	}
	return all
}

// docTables returns the members and presences of each table.
func docTables(text string) map[string][]string {
	tables := map[string][]string{}
	row := regexp.MustCompile("^\\| `(\\w+)` \\| [^|]+ \\| (always|if not)[^|]*\\|")
	heading, name := "", ""
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		case strings.HasPrefix(line, "| member |"):
			name = heading
		case strings.HasPrefix(line, "| ") && strings.Contains(line, "| type | presence |"):
			name = strings.TrimSpace(strings.Split(line, "|")[1])
		case !strings.HasPrefix(line, "|"):
			name = ""
		}
		if m := row.FindStringSubmatch(line); m != nil && name != "" {
			tables[name] = append(tables[name], m[1]+" "+m[2])
		}
	}
	return tables
}

// TestManifestDocumentExamples: the examples are documents in the only valid form, and are the golden files.
func TestManifestDocumentExamples(t *testing.T) {
	b, err := os.ReadFile("MANIFEST.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := map[string][]string{}
	for _, m := range regexp.MustCompile("(?s)```(manifest golden|manifest chain|head|closing)\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
		examples[m[1]] = append(examples[m[1]], m[2])
	}
	for name, file := range map[string]string{"manifest golden": "manifest-v4.jsonl", "head": "head-v2.json", "closing": "closing-v1.json"} {
		golden, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if len(examples[name]) != 1 || examples[name][0] != string(golden) {
			t.Errorf("the example %q is not %s:\n%s", name, file, examples[name])
		}
	}
	var prev *Manifest
	for _, text := range examples["manifest chain"] {
		m, err := DecodeManifest(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if prev != nil {
			if err := m.follows(prev); err != nil {
				t.Error(err)
			}
		}
		prev = m
	}
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	key := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	if prev == nil || !prev.Footer.Final {
		t.Fatal("there is no example of a complete chain")
	}
	if _, err := prev.CheckSignature(key); err != nil {
		t.Errorf("%v, the key is %s", err, hex.EncodeToString(key))
	}
	if n := "the 431 bytes of the first"; len(examples["manifest chain"][0]) != 431 || !bytes.Contains(b, []byte(n)) {
		t.Errorf("the first manifest has %d bytes", len(examples["manifest chain"][0]))
	}
}
