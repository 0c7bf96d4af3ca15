package format

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/penstock-go/penstock/spool/segment"
)

const testSpoolID = "0123456789abcdefghijklmnop"

func TestNDJSONExactly(t *testing.T) {
	v4 := netip.MustParseAddrPort("192.0.2.7:514")
	v6 := netip.MustParseAddrPort("[2001:db8::1]:65535")
	when := time.Date(2026, 11, 22, 8, 0, 0, 1, time.UTC).UnixNano()
	for _, tc := range []struct {
		seq  uint64
		rec  segment.Record
		want string
	}{
		{17, segment.Record{Time: when, Src: v4, Data: []byte("the payload")}, `{"seq":17,"ts":"2026-11-22T08:00:00.000000001Z","src":"192.0.2.7:514","data":"the payload","spool":"` + testSpoolID + `"}`},
		{1, segment.Record{Src: v6}, `{"seq":1,"ts":"1970-01-01T00:00:00.000000000Z","src":"[2001:db8::1]:65535","data":"","spool":"` + testSpoolID + `"}`},
		{math.MaxUint64, segment.Record{Time: math.MaxInt64}, `{"seq":18446744073709551615,"ts":"2262-04-11T23:47:16.854775807Z","src":"","data":"","spool":"` + testSpoolID + `"}`},
		{2, segment.Record{Time: math.MinInt64}, `{"seq":2,"ts":"1677-09-21T00:12:43.145224192Z","src":"","data":"","spool":"` + testSpoolID + `"}`},
		{3, segment.Record{Time: -1, Data: []byte("\x00\x1f\"\\/\b\f\n\r\t\x7f<>&")}, `{"seq":3,"ts":"1969-12-31T23:59:59.999999999Z","src":"","data":"\u0000\u001f\"\\/\b\f\n\r\t` + "\x7f" + `<>&","spool":"` + testSpoolID + `"}`},
		{4, segment.Record{Data: []byte("grün 雪 \u2028\u2029 🚰")}, `{"seq":4,"ts":"1970-01-01T00:00:00.000000000Z","src":"","data":"grün 雪 ` + "\u2028\u2029" + ` 🚰","spool":"` + testSpoolID + `"}`},
		{5, segment.Record{Data: []byte("abc\xff")}, `{"seq":5,"ts":"1970-01-01T00:00:00.000000000Z","src":"","data_b64":"YWJj/w==","spool":"` + testSpoolID + `"}`},
		{6, segment.Record{Data: []byte("\xed\xa0\x80")}, `{"seq":6,"ts":"1970-01-01T00:00:00.000000000Z","src":"","data_b64":"7aCA","spool":"` + testSpoolID + `"}`},
		{
			8,
			segment.Record{Src: v4, Data: []byte("x"), Attrs: attrs(t, map[string]string{"b": `"é\`, "aws.vpce": "vpce-1"})},
			`{"seq":8,"ts":"1970-01-01T00:00:00.000000000Z","src":"192.0.2.7:514","attrs":{"aws.vpce":"vpce-1","b":"\"é\\"},"data":"x","spool":"` + testSpoolID + `"}`,
		},
		{
			9,
			segment.Record{Data: []byte("\xff"), Attrs: attrs(t, map[string]string{"b": ""})},
			`{"seq":9,"ts":"1970-01-01T00:00:00.000000000Z","src":"","attrs":{"b":""},"data_b64":"/w==","spool":"` + testSpoolID + `"}`,
		},
		{7, segment.Record{Data: []byte("12345678ü\xc3")}, `{"seq":7,"ts":"1970-01-01T00:00:00.000000000Z","src":"","data_b64":"MTIzNDU2NzjDvMM=","spool":"` + testSpoolID + `"}`},
	} {
		got, err := newNDJSONWriter(testSpoolID).Record(nil, tc.seq, &tc.rec)
		if err != nil || string(got) != tc.want+"\n" {
			t.Errorf("%q: %v\n got %s\nwant %s", tc.rec.Data, err, got, tc.want)
		}
	}
}

// checkLine compares a line with what encoding/json reads in it, and with what our own reader does.
func checkLine(t *testing.T, line []byte, seq uint64, rec segment.Record) {
	t.Helper()
	var v struct {
		Seq  *uint64
		TS   *string
		Src  *string
		Data *string
		B64  []byte `json:"data_b64"`

		Spool string
		Attrs map[string]string
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if v.Seq == nil || *v.Seq != seq || v.TS == nil || v.Src == nil || v.Spool != testSpoolID {
		t.Fatalf("%s: sequence number %d of %s expected", line, seq, testSpoolID)
	}
	if got, err := segment.NewAttrs(v.Attrs); err != nil || !got.Equal(rec.Attrs) {
		t.Fatalf("%s: attributes %v expected, %v", line, rec.Attrs, err)
	}
	at, err := time.Parse(time.RFC3339Nano, *v.TS)
	if err != nil || at.UnixNano() != rec.Time || len(*v.TS) != len("2006-01-02T15:04:05.000000000Z") {
		t.Fatalf("%s: time %d expected, %v", line, rec.Time, err)
	}
	if want := map[bool]string{true: rec.Src.String()}[rec.Src.IsValid()]; *v.Src != want {
		t.Fatalf("%s: source %s expected", line, want)
	}
	valid := utf8.Valid(rec.Data)
	if valid != (v.Data != nil) || valid == (v.B64 != nil) {
		t.Fatalf("%s: data and data_b64 for %q", line, rec.Data)
	}
	if valid && *v.Data != string(rec.Data) || !valid && !bytes.Equal(v.B64, rec.Data) {
		t.Fatalf("%s: data %q expected", line, rec.Data)
	}
	if bytes.Count(line, []byte("\n")) != 1 || line[len(line)-1] != '\n' {
		t.Fatalf("%q is not one line", line)
	}
	got, err := readRecords(t, NDJSON, bytes.NewReader(line))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	sameRecords(t, got, []numbered{{seq, rec}})
}

// TestNDJSONEveryPlace puts each byte at each position in and after a word, so that both paths through escape are taken.
func TestNDJSONEveryPlace(t *testing.T) {
	f := newNDJSONWriter(testSpoolID)
	for c := range 256 {
		for at := range 19 {
			data := []byte("0123456789abcdefghi")
			data[at] = byte(c)
			rec := segment.Record{Data: data}
			line, err := f.Record(nil, 9, &rec)
			if err != nil {
				t.Fatal(err)
			}
			if c < 0x80 && bytes.Contains(line, []byte("b64")) {
				t.Fatalf("%s", line)
			}
			if at%5 == 0 {
				checkLine(t, line, 9, rec)
				continue
			}
			var v struct {
				Data string
				B64  []byte `json:"data_b64"`
			}
			if err := json.Unmarshal(line, &v); err != nil || v.Data != string(data) && string(v.B64) != string(data) {
				t.Fatalf("%s: %v", line, err)
			}
		}
	}
}

// TestNDJSONChunks puts escapes and characters of several bytes across the positions where long payloads are cut.
func TestNDJSONChunks(t *testing.T) {
	f := newNDJSONWriter(testSpoolID)
	for shift := range 9 {
		for _, s := range []string{"ü", "\"", "🚰", "\x00", "a"} {
			data := []byte(strings.Repeat("x", textChunk-shift) + strings.Repeat(s, textChunk) + "end")
			rec := segment.Record{Time: 5, Data: data}
			line, err := f.Record(nil, 9, &rec)
			if err != nil {
				t.Fatal(err)
			}
			checkLine(t, line, 9, rec)
		}
	}
}

func FuzzNDJSON(f *testing.F) {
	f.Add([]byte("payload"), int64(0), uint64(1), []byte{127, 0, 0, 1}, uint16(514))
	f.Add([]byte("\"\\\x00\xff"), int64(math.MinInt64), uint64(math.MaxUint64), make([]byte, 16), uint16(0))
	f.Add([]byte("01234567ü\u2028\xed\xa0\x80"), int64(-1), uint64(2), []byte(nil), uint16(1))
	f.Fuzz(func(t *testing.T, data []byte, at int64, seq uint64, addr []byte, port uint16) {
		rec := segment.Record{Time: at, Data: data}
		if a, ok := netip.AddrFromSlice(addr); ok {
			rec.Src = netip.AddrPortFrom(a.Unmap(), port)
		}
		seq = max(seq, 1)
		line, err := newNDJSONWriter(testSpoolID).Record(nil, seq, &rec)
		if err != nil {
			t.Fatal(err)
		}
		checkLine(t, line, seq, rec)
	})
}

// TestNDJSONStrict: a line has only one valid form.
func TestNDJSONStrict(t *testing.T) {
	good := `{"seq":17,"ts":"2026-11-22T08:00:00.000000001Z","src":"192.0.2.7:514","data":"a\nb","spool":"` + testSpoolID + `"}` + "\n"
	if _, err := readRecords(t, NDJSON, strings.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	change := func(old, new string) string {
		changed := strings.Replace(good, old, new, 1)
		if changed == good {
			t.Fatalf("%q does not occur", old)
		}
		return changed
	}
	withAttrs := func(inside string) string { return change(`,"data":`, `,"attrs":{`+inside+`},"data":`) }
	if got, err := readRecords(t, NDJSON, strings.NewReader(withAttrs(`"k":"v"`))); err != nil || !got[0].rec.Attrs.Equal(attrs(t, map[string]string{"k": "v"})) {
		t.Fatalf("%v, %v", got, err)
	}
	for _, bad := range []string{
		"\n", "{}\n", "x\n", strings.TrimSuffix(good, "\n"), good + "\n", good + "{", good + good, change("\n", "\r\n"), " " + good,
		change(`17`, `017`), change(`17`, `0`), change(`17`, `-1`), change(`17`, `1.0`), change(`17`, `18446744073709551616`), change(`17`, `"17"`),
		change(`T`, ` `), change(`000000001Z`, `1Z`), change(`000000001Z`, `000000001+00:00`), change(`2026-11-22`, `2026-02-30`),
		change(`2026`, `1600`), change(`2026`, `2300`), change(`08:00:00`, `24:00:00`), change(`000000001`, `00000000x`),
		change(`192.0.2.7`, `192.0.2.07`), change(`:514`, ``), change(`:514`, `:0514`), change(`192.0.2.7`, `host`), change(`192.0.2.7`, `192.0.2.7\u0000`),
		change(`a\nb`, `a\u000ab`), change(`a\nb`, `a\/b`), change(`a\nb`, `a\`), change(`a\nb`, `a"b`), change(`a\nb`, "a\tb"), change(`a\nb`, "\xff"),
		change(`a\nb`, `\u00`), change(`a\nb`, `\ud800`), change(`a\nb`, `\u0041`), change(`a\nb`, `\x`), change(`a\nb`, `","x":"`),
		change(`"data":"a\nb"`, `"data_b64":"YQ=="`), change(`"data":"a\nb"`, `"data_b64":"/x=="`), change(`"data":"a\nb"`, `"data_b64":"/w="`), change(`"data":"a\nb"`, `"data_b64":"_w=="`),
		change(`"src"`, `"host"`), change(`"ts"`, `"TS"`), change(`"}`, `","more":1}`), change(`,"spool":"`+testSpoolID+`"`, ``), change(`nop"`, `NOP"`), change(`nop"`, `no"`), change(`nop"`, `nopq"`),
		withAttrs(``), withAttrs(`"k":"v",`), withAttrs(`"b":"","a":""`), withAttrs(`"a":"","a":""`), withAttrs(`"A":""`), withAttrs(`"k":1`), withAttrs(`"k":null`),
		withAttrs(`"k": "v"`), withAttrs(`"k":"\u0076"`), withAttrs(`"k":"\n"`), withAttrs(`"k":"v`), withAttrs(`"k":"v\`), withAttrs(`"k"`), withAttrs(`"k":`), withAttrs(`"":""`),
		withAttrs(`"k":"` + strings.Repeat("v", segment.MaxAttrsSize) + `"`), change(`,"data":`, `,"attrs":{"k":"v"},"attrs":{"k":"v"},"data":`), change(`,"data":`, `,"attrs":null,"data":`),
		change(`,"spool"`, `,"attrs":{"k":"v"},"spool"`), change(`"src"`, `"attrs":{"k":"v"},"src"`),
		change(`"spool"`, `"pool"`), change(`nop"`, `nop" `), good + strings.Replace(strings.Replace(good, `17`, `18`, 1), `nop"`, `noq"`, 1), change(`"src":"192.0.2.7:514"`, `"src":null`),
	} {
		if got, err := readRecords(t, NDJSON, strings.NewReader(bad)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
	wrapped := fmt.Errorf("cable pulled")
	if _, err := readRecords(t, NDJSON, iotest.ErrReader(wrapped)); !errors.Is(err, wrapped) || errors.Is(err, ErrCorrupt) {
		t.Errorf("a failing source gives %v", err)
	}
}

// FuzzNDJSONReader: whatever is accepted is what the encoder writes for the records that came out.
func FuzzNDJSONReader(f *testing.F) {
	f.Add([]byte(`{"seq":17,"ts":"2026-11-22T08:00:00.000000001Z","src":"192.0.2.7:514","data":"a\nb","spool":"` + testSpoolID + `"}` + "\n"))
	f.Add([]byte(`{"seq":1,"ts":"1969-12-31T23:59:59.999999999Z","src":"","attrs":{"k":"\"","x":""},"data":"","spool":"` + testSpoolID + `"}` + "\n"))
	f.Add([]byte(`{"seq":1,"ts":"1969-12-31T23:59:59.999999999Z","src":"[2001:db8::1]:1","data_b64":"/w==","spool":"` + testSpoolID + `"}` + "\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		all, err := readRecords(t, NDJSON, bytes.NewReader(in))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		var again []byte
		var format *ndjsonWriter
		for _, n := range all {
			if format == nil {
				format = newNDJSONWriter(string(in[len(in)-len(testSpoolID)-3 : len(in)-3]))
			}
			if again, err = format.Record(again, n.seq, &n.rec); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again, in) {
			t.Fatalf("accepted %q, which is written as %q", in, again)
		}
	})
}

// TestEscapeEverywhere puts each kind of byte at each position of a payload, alone and in pairs, since escape handles sixteen
// bytes at a time.
func TestEscapeEverywhere(t *testing.T) {
	reference := func(p []byte) (dst []byte) {
		for _, c := range p {
			dst = append(dst, binary.LittleEndian.AppendUint64(nil, escapeWord[c])[:escapeLen[c]]...)
		}
		return dst
	}
	for n := range 50 {
		for at := range n {
			for _, c := range []byte("\"\\\x00\x1f\n !#~\x7f") {
				for _, then := range []int{0, 1, 7, 8, 15} {
					p := bytes.Repeat([]byte{'x'}, n)
					p[at], p[min(at+then, n-1)] = c, '"'
					if got, ok := appendText(nil, p); !ok || !bytes.Equal(got, reference(p)) {
						t.Fatalf("%q is written as %q", p, got)
					}
				}
			}
			p := append(bytes.Repeat([]byte{'x'}, n), "ü\""...)
			if got, ok := appendText(nil, p); !ok || !bytes.Equal(got, reference(p)) {
				t.Fatalf("%q is written as %q", p, got)
			}
			p[at] = 0xff
			if _, ok := appendText(nil, p); ok {
				t.Fatalf("%q passes for UTF-8", p)
			}
		}
	}
}
