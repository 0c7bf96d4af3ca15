package ship

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// exampleManifest is the one in the package documentation: every kind of line.
func exampleManifest() *Manifest {
	at := time.Date(2026, 11, 22, 8, 0, 0, 123456789, time.UTC)
	sum := func(c string) string { return strings.Repeat(c, 64) }
	rec := &spool.StageRecord{
		Segment: 41, First: 4_000_001, Last: 4_100_000, Records: 99_990, Bytes: 51_200_000,
		Gaps:    []segment.Range{{First: 4_050_001, Last: 4_050_010}},
		MinTime: at, MaxTime: at.Add(time.Minute),
		Key:      "class=vpn/dt=2026-11-22/hour=08/4k7q0z1m9x2c3v5b6n8a0s1d2f-000001-00000000003d0901-00000000003e8fa0.ndjson.zst",
		Encoding: object.Encoding{Format: "ndjson", Codec: "zstd", Level: 3},
		RawBytes: 59_000_000, RawSHA256: sum("a"), Size: 9_800_000, SHA256: sum("b"), CRC64NVME: "0123456789abcdef",
	}
	m := &Manifest{
		Header: ManifestHeader{
			Class: "vpn", Spool: "4k7q0z1m9x2c3v5b6n8a0s1d2f", Epoch: 1, Number: 7, Prev: sum("c"), PrevLast: 4_000_000,
			Instance: "i-0abc", Destination: "idc", Time: at.Add(2 * time.Minute),
		},
		Segments: []SegmentLine{
			segmentLine(rec, Receipt{Size: 9_800_000, Checksum: "sha256:" + sum("b"), Method: "remote-sha256sum", Time: at.Add(90 * time.Second)}),
			{Segment: 43, First: 4_100_001, Last: 4_100_002, Gaps: []segment.Range{{First: 4_100_001, Last: 4_100_002}}, Whole: &Whole{
				First: 4_099_999, Gaps: []segment.Range{{First: 4_100_001, Last: 4_100_002}}, RawSHA256: sum("d"),
			}},
			{Segment: 44, First: 4_100_003, Last: 4_100_002, Whole: &Whole{First: 4_100_000, RawSHA256: sum("e")}},
		},
		Losses: []LossLine{{Segment: 41, After: 4_100_000}, {Segment: 42, After: 4_100_000}},
		Footer: ManifestFooter{Segment: 44, Last: 4_100_002, Final: true},
	}
	m.Losses[0].Lost[segment.KernelOverflow] = segment.Loss{Records: 12, BytesUnknown: true}
	m.Losses[1].Unaccounted = []segment.Unaccounted{{From: at, To: at.Add(time.Second), Known: segment.Tally{Records: 3, Bytes: 1000}, AtMostBytes: 128 << 20}}
	m.Losses[1].Filtered, m.Losses[1].Made = segment.Tally{Records: 80, Bytes: 4100}, segment.Tally{Records: 5, Bytes: 320}
	m.Losses[1].Lost[segment.FrameTooLong] = segment.Loss{Records: 1, Bytes: 70_000}
	return m
}

func encode(t testing.TB, m *Manifest) []byte {
	t.Helper()
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestManifestGolden(t *testing.T) {
	m := exampleManifest()
	got := encode(t, m)
	path := filepath.Join("testdata", "manifest-v4.jsonl")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the format has changed:\n%s", got)
	}
	// One byte at a time: the reader must not depend on how its bytes arrive.
	back, err := DecodeManifest(iotest.OneByteReader(bytes.NewReader(want)))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, m) {
		t.Errorf("decoded:\n%+v\nencoded:\n%+v", back, m)
	}
}

// TestManifestConnectionBreaks: if the connection breaks, the early end of the body is not reported as damage of the
// manifest, so the reader can retry.
func TestManifestConnectionBreaks(t *testing.T) {
	b := encode(t, exampleManifest())
	for i := range b {
		_, err := DecodeManifest(io.MultiReader(bytes.NewReader(b[:i]), iotest.ErrReader(io.ErrUnexpectedEOF)))
		if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrVerify) {
			t.Fatalf("broken after %d bytes: %v", i, err)
		}
	}
}

// TestManifestEveryByte changes each byte of a manifest, and cuts it at each place: every change must be detected.
func TestManifestEveryByte(t *testing.T) {
	m := exampleManifest()
	m.Signature = &SignatureLine{Algorithm: "ed25519", Key: "k", Signature: "AA=="}
	b := encode(t, m)
	unsigned := bytes.LastIndex(b, []byte(`{"type":"signature"`))
	for i := range b {
		if _, err := DecodeManifest(bytes.NewReader(b[:i])); i != unsigned && !errors.Is(err, ErrVerify) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
		flipped := bytes.Clone(b)
		flipped[i] ^= 4
		got, err := DecodeManifest(bytes.NewReader(flipped))
		if i >= unsigned {
			// A signature is proven by its key, and by the next manifest's hash.
			if err == nil && got.Hash == m.Hash {
				t.Fatalf("byte %d (%q) changed, and the hash has not", i, b[i])
			}
		} else if err == nil || errors.Is(err, ErrVersion) {
			t.Fatalf("byte %d (%q) changed unnoticed: %v", i, b[i], err)
		}
	}
}

func TestManifestStrict(t *testing.T) {
	good := string(encode(t, exampleManifest()))
	for name, bad := range map[string]string{
		"empty":           "",
		"newline":         "\n",
		"carriage return": strings.Replace(good, "\n", "\r\n", 1),
		"trailing line":   good + "\n",
		"twice":           good + good,
		"no last newline": strings.TrimSuffix(good, "\n"),
		"version altered": strings.Replace(good, `"version":4`, `"version":5`, 1),
		"long line":       strings.Replace(good, `"instance":"`, `"instance":"`+strings.Repeat("x", maxManifestLine), 1),
		"no header":       good[strings.IndexByte(good, '\n')+1:],
	} {
		if _, err := DecodeManifest(strings.NewReader(bad)); !errors.Is(err, ErrVerify) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A complete manifest of another version was written by another program: that is no damage.
	other := exampleManifest()
	lines := strings.SplitAfter(string(encode(t, other)), "\n")
	for version, advice := range map[int]string{3: "to drain what it still owes", 5: "use a newer program"} {
		lines[0] = strings.Replace(lines[0], `"version":4`, fmt.Sprintf(`"version":%d`, version), 1)
		_, err := DecodeManifest(strings.NewReader(lines[0] + `{"type":"something else"}` + "\n"))
		if !errors.Is(err, ErrVersion) || !errors.Is(err, ErrVerify) || !strings.Contains(err.Error(), advice) {
			t.Errorf("version %d: %v", version, err)
		}
		lines[0] = strings.Replace(lines[0], fmt.Sprintf(`"version":%d`, version), `"version":4`, 1)
	}
	broken := errors.New("broken")
	if _, err := DecodeManifest(io.MultiReader(strings.NewReader(good[:100]), iotest.ErrReader(broken))); !errors.Is(err, broken) || errors.Is(err, ErrVerify) {
		t.Errorf("a reader's own error: %v", err)
	}
}

// elsewhere is the same time in another zone.
func elsewhere(t time.Time) time.Time { return t.In(time.FixedZone("", 7200)) }

// TestManifestValidate: a manifest that contradicts itself is neither written nor read.
func TestManifestValidate(t *testing.T) {
	for name, change := range map[string]func(*Manifest){
		"class":          func(m *Manifest) { m.Header.Class = "../x" },
		"spool":          func(m *Manifest) { m.Header.Spool = "short" },
		"epoch":          func(m *Manifest) { m.Header.Epoch = 0 },
		"prev":           func(m *Manifest) { m.Header.Prev = "xyz" },
		"no prev":        func(m *Manifest) { m.Header.Prev = noPrev },
		"joined at 1":    func(m *Manifest) { m.Header.Joined = 1 },
		"joined ahead":   func(m *Manifest) { m.Header.Joined = 4_000_002 },
		"instance":       func(m *Manifest) { m.Header.Instance = "a\"b" },
		"destination":    func(m *Manifest) { m.Header.Destination = "" },
		"forgotten":      func(m *Manifest) { m.Header.Forgotten = []string{"A"} },
		"hole":           func(m *Manifest) { m.Segments[1].First++ },
		"overlap":        func(m *Manifest) { m.Segments[1].First-- },
		"records":        func(m *Manifest) { m.Segments[0].Records++ },
		"gap order":      func(m *Manifest) { m.Segments[0].Gaps[0].Last = 4_050_000 },
		"gap outside":    func(m *Manifest) { m.Segments[0].Gaps[0].Last = 4_100_001 },
		"segment order":  func(m *Manifest) { m.Segments[1].Segment = 41 },
		"key":            func(m *Manifest) { m.Segments[0].Key = "/x" },
		"no receipt":     func(m *Manifest) { m.Segments[0].Receipt = nil },
		"empty receipt":  func(m *Manifest) { m.Segments[0].Receipt.Checksum = "" },
		"hash":           func(m *Manifest) { m.Segments[0].RawSHA256 = "" },
		"whole begins":   func(m *Manifest) { m.Segments[1].Whole.First = m.Segments[1].First },
		"whole gap":      func(m *Manifest) { m.Segments[1].Whole.Gaps[0].Last++ },
		"whole hash":     func(m *Manifest) { m.Segments[1].Whole.RawSHA256 = "x" },
		"empty line":     func(m *Manifest) { m.Segments[2].Whole = nil },
		"emptier line":   func(m *Manifest) { m.Segments[2].Last-- },
		"ghost":          func(m *Manifest) { m.Segments[1].Key = "x" },
		"loss order":     func(m *Manifest) { m.Losses[1].Segment = 41 },
		"loss after":     func(m *Manifest) { m.Losses[1].After = 4_100_003 },
		"last":           func(m *Manifest) { m.Footer.Last++ },
		"footer segment": func(m *Manifest) { m.Footer.Segment = 42 },
		"final twice":    func(m *Manifest) { m.Footer.ClosedBy = &Owner{Instance: "x", Epoch: 2} },
		"closed by past": func(m *Manifest) { m.Footer.Final, m.Footer.ClosedBy = false, &Owner{Instance: "x", Epoch: 1} },
		"claim": func(m *Manifest) {
			m.Footer.Final, m.Footer.ClosedBy = false, &Owner{Instance: "x", Epoch: 2, Claim: "mine"}
		},
		"time":            func(m *Manifest) { m.Header.Time = elsewhere(m.Header.Time) },
		"passed":          func(m *Manifest) { m.Footer.Passed = elsewhere(m.Header.Time) },
		"min_time":        func(m *Manifest) { m.Segments[0].MinTime = elsewhere(m.Segments[0].MinTime) },
		"max_time":        func(m *Manifest) { m.Segments[0].MaxTime = elsewhere(m.Segments[0].MaxTime) },
		"receipt time":    func(m *Manifest) { m.Segments[0].Receipt.Time = elsewhere(m.Header.Time) },
		"from":            func(m *Manifest) { m.Losses[1].Unaccounted[0].From = elsewhere(m.Header.Time) },
		"to":              func(m *Manifest) { m.Losses[1].Unaccounted[0].To = elsewhere(m.Header.Time) },
		"method":          func(m *Manifest) { m.Segments[0].Receipt.Method = "" },
		"degraded":        func(m *Manifest) { m.Segments[0].Receipt.Degraded = []string{"<"} },
		"many segments":   func(m *Manifest) { m.Footer.Segment = 1<<53 + 1 },
		"many bytes":      func(m *Manifest) { m.Segments[0].Bytes = 1<<53 + 1 },
		"large":           func(m *Manifest) { m.Segments[0].Size = 1<<53 + 1 },
		"large content":   func(m *Manifest) { m.Segments[0].RawBytes = 1<<53 + 1 },
		"large receipt":   func(m *Manifest) { m.Segments[0].Receipt.Size = 1<<53 + 1 },
		"many lost":       func(m *Manifest) { m.Losses[0].Lost[segment.KernelOverflow].Records = 1<<53 + 1 },
		"many filtered":   func(m *Manifest) { m.Losses[1].Filtered.Bytes = 1<<53 + 1 },
		"many made":       func(m *Manifest) { m.Losses[1].Made.Records = 1<<53 + 1 },
		"unaccounted":     func(m *Manifest) { m.Losses[1].Unaccounted[0].AtMostBytes = 1<<53 + 1 },
		"beyond 2^53":     func(m *Manifest) { m.Segments[1].Last = 1<<53 + 1 },
		"unbounded range": func(m *Manifest) { m.Segments[0].First, m.Segments[0].Last = 0, 1<<64-1 },
	} {
		m := exampleManifest()
		change(m)
		if _, err := m.Encode(); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
	m := exampleManifest()
	m.Segments = make([]SegmentLine, maxManifestSegments+1)
	if _, err := m.Encode(); err == nil {
		t.Error("too many segments: encoded")
	}
}

// TestSegmentLineClean: a destination's strings must not be able to stop the chain.
func TestSegmentLineClean(t *testing.T) {
	m := exampleManifest()
	line := segmentLine(&spool.StageRecord{}, Receipt{Checksum: "sha256:\xff", Method: "<ü>", Version: "\"\n", Degraded: []string{"\\", "ok"}})
	if nameless := segmentLine(&spool.StageRecord{}, Receipt{}); nameless.Receipt.Method == "" {
		t.Error("a driver that names no method stops the chain")
	}
	if r := line.Receipt; r.Method != "???" || r.Version != "??" || r.Degraded[0] != "?" || r.Degraded[1] != "ok" {
		t.Errorf("%+v", r)
	}
	line.Receipt.Size = m.Segments[0].Receipt.Size
	m.Segments[0].Receipt = line.Receipt
	if _, err := DecodeManifest(bytes.NewReader(encode(t, m))); err != nil {
		t.Error(err)
	}
}

func FuzzDecodeManifest(f *testing.F) {
	b := encode(f, exampleManifest())
	f.Add(b)
	f.Add(b[:len(b)/2])
	m := exampleManifest()
	m.Signature, m.Losses, m.Segments[0].Gaps = &SignatureLine{}, nil, nil
	m.Segments[0].Records += 10
	f.Add(encode(f, m))
	f.Add([]byte(`{"type":"header","version":4}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeManifest(bytes.NewReader(b))
		if err != nil {
			if m != nil {
				t.Fatal("a manifest beside an error")
			}
			return
		}
		hash := m.Hash
		if again := encode(t, m); !bytes.Equal(again, b) || m.Hash != hash {
			t.Fatalf("two spellings of one manifest:\n%q\n%q", b, again)
		}
	})
}
