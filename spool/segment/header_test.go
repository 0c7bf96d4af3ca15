package segment

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestHeaderRoundTrip(t *testing.T) {
	for _, pad := range []int{0, 16, 512, 4096} {
		h := testHeader()
		b, err := EncodeHeader(h, pad)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) != h.Len || len(b)%max(pad, 16) != 0 {
			t.Errorf("pad %d: %d bytes, Len %d", pad, len(b), h.Len)
		}
		for what, b := range map[string][]byte{"whole": b, "with more": append(bytes.Clone(b), 1, 2, 3), "trimmed": trimHeader(b)} {
			got, err := DecodeHeader(b)
			if err != nil || !reflect.DeepEqual(got, h) {
				t.Errorf("pad %d, %s: %+v, %v\nwant %+v", pad, what, got, err, h)
			}
		}
		for cut := range trimHeader(b) {
			if _, err := DecodeHeader(b[:cut]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("cut at %d: %v", cut, err)
			}
		}
	}
}

func TestHeaderInvalid(t *testing.T) {
	h := &Header{Generation: 1 << 32, Spool: "A", Class: strings.Repeat("a", 33)}
	_, err := EncodeHeader(h, 0)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"generation", "segment numbers", "sequence numbers", "epochs", "created", "spool id", "class"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if _, err := EncodeHeader(testHeader(), 20); err == nil {
		t.Error("padding to 20 bytes was accepted")
	}
	h = testHeader()
	h.Instance = strings.Repeat("x", MaxHeader)
	if _, err := EncodeHeader(h, 0); err == nil {
		t.Error("a header over MaxHeader was accepted")
	}
}

// reseal makes a header's checksum right again after a change.
func reseal(b []byte) []byte {
	le.PutUint32(b[16:], headerSum(b, int(le.Uint32(b[12:]))))
	return b
}

func TestHeaderVersions(t *testing.T) {
	b, err := EncodeHeader(testHeader(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for version, cure := range map[byte]string{Version + 1: "use a newer program", Version - 1: "drain it with the program that wrote it"} {
		other := bytes.Clone(b)
		other[8] = version
		if _, err := DecodeHeader(other); !errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) {
			t.Errorf("a flipped version: %v", err)
		}
		reseal(other)
		for _, open := range []func() error{
			func() error { _, err := DecodeHeader(other); return err },
			func() error { _, err := NewReader(bytes.NewReader(other), int64(len(other)), nil); return err },
			func() error { _, err := Scan(bytes.NewReader(other), int64(len(other)), nil); return err },
		} {
			if err := open(); !errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt) ||
				!strings.Contains(err.Error(), fmt.Sprintf("version %d, ", version)) || !strings.Contains(err.Error(), cure) {
				t.Errorf("version %d: %v", version, err)
			}
		}
	}
	for what, change := range map[string]func(b []byte){
		"version 0":    func(b []byte) { b[8] = 0 },
		"zero at 10":   func(b []byte) { b[10] = 1 },
		"zero at 83":   func(b []byte) { b[83] = 1 },
		"class pad":    func(b []byte) { b[100] = 'a' },
		"zero at 127":  func(b []byte) { b[127] = 1 },
		"class length": func(b []byte) { b[88] = 33 },
		"JSON length":  func(b []byte) { le.PutUint32(b[20:], 1<<31) },
		"JSON":         func(b []byte) { b[128] = 'x' },
		"epoch":        func(b []byte) { le.PutUint32(b[84:], 0) },
	} {
		b := bytes.Clone(b)
		change(b)
		if _, err := DecodeHeader(reseal(b)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestNewGeneration(t *testing.T) {
	seen := map[uint64]bool{}
	for range 1000 {
		g := NewGeneration()
		if uint32(g) == 0 || seen[g] {
			t.Fatalf("generation %x", g)
		}
		seen[g] = true
	}
}

func TestFooterRoundTrip(t *testing.T) {
	want := Footer{
		Records: 5, Bytes: 50, First: 10, Next: 20, Earliest: -4, Latest: 9, Digest: [32]byte{1, 2},
		Header: []byte("header"), Ledger: testLedger(), Index: []IndexEntry{{4096, 10}, {69632, 10}, {135168, 20}},
	}
	b, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeFooter(b)
	if err != nil || !reflect.DeepEqual(*got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
	for cut := range b {
		if _, err := DecodeFooter(b[:cut]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	for what, f := range map[string]Footer{
		"first 0":         {First: 0, Next: 1},
		"next < first":    {First: 5, Next: 4},
		"too many":        {First: 5, Next: 6, Records: 2},
		"latest":          {First: 5, Next: 6, Earliest: 1},
		"index backwards": {First: 5, Next: 9, Index: []IndexEntry{{64, 5}, {64, 6}}},
		"index first":     {First: 5, Next: 9, Index: []IndexEntry{{64, 4}}},
		"index next":      {First: 5, Next: 9, Index: []IndexEntry{{64, 10}}},
		"index order":     {First: 5, Next: 9, Index: []IndexEntry{{64, 8}, {128, 7}}},
		"index alignment": {First: 5, Next: 9, Index: []IndexEntry{{65, 5}}},
	} {
		b, err := f.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeFooter(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := (&Footer{Header: make([]byte, MaxBlock)}).Encode(); err == nil {
		t.Error("a footer over MaxBlock was encoded")
	}
}

func TestHeaderJSONNames(t *testing.T) {
	h := testHeader()
	b, err := EncodeHeader(h, 0)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(trimHeader(b)[headerFixed:], &m); err != nil || m["instance"] != h.Instance || m["ledger"] == nil {
		t.Errorf("%v, %v", m, err)
	}
}
