package segment

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestCauses(t *testing.T) {
	for c := range NumCauses {
		got, err := parseCause(c.String())
		if err != nil || got != c || c.String() == "" || strings.Contains(c.String(), "(") {
			t.Errorf("%d: %q, %v, %v", c, c, got, err)
		}
	}
	if s := NumCauses.String(); s != fmt.Sprintf("Cause(%d)", uint8(NumCauses)) {
		t.Errorf("no cause: %q", s)
	}
	if _, err := parseCause("gremlins"); err == nil {
		t.Error("an unknown cause was parsed")
	}
}

func TestLossesJSON(t *testing.T) {
	for _, tc := range []struct {
		losses Losses
		json   string
	}{
		{Losses{}, `{}`},
		{Losses{KernelOverflow: {Records: 3, BytesUnknown: true}}, `{"kernel_overflow":{"records":3,"bytes":null}}`},
		{Losses{KernelOverflow: {Records: 3, BytesUnknown: true, AtLeast: true}}, `{"kernel_overflow":{"records":3,"bytes":null,"at_least":true}}`},
		{
			Losses{Reset: {Records: 1, Bytes: 9}, SpoolFull: {Records: 7, Bytes: 100, BytesUnknown: true}},
			`{"reset":{"records":1,"bytes":9},"spool_full":{"records":7,"bytes":null,"bytes_seen":100}}`,
		},
		{Losses{Malformed: {Records: math.MaxUint64, Bytes: 1<<53 + 1}}, `{"malformed":{"records":18446744073709551615,"bytes":9007199254740993}}`},
	} {
		b, err := json.Marshal(tc.losses)
		if err != nil || string(b) != tc.json {
			t.Errorf("%s, %v\nwant %s", b, err, tc.json)
		}
		got := Losses{Truncated: {Records: 1}} // what was there before goes
		if err := json.Unmarshal(b, &got); err != nil || got != tc.losses {
			t.Errorf("%+v, %v\nwant %+v", got, err, tc.losses)
		}
	}
	var got Losses
	newer := `{"gremlins":{"records":2,"bytes":5,"hue":"green"},"other":{"records":1,"bytes":1},"elves":{"records":1,"bytes":null}}`
	want := Losses{Other: {Records: 4, Bytes: 6, BytesUnknown: true}}
	if err := json.Unmarshal([]byte(newer), &got); err != nil || got != want {
		t.Errorf("unknown causes: %+v, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`{"reset":{"records":-1}}`), &got); err == nil {
		t.Error("a negative count was accepted")
	}
}

func TestLossesText(t *testing.T) {
	l := Losses{SpoolFull: {Records: 12, Bytes: 9}, KernelOverflow: {Records: 3, BytesUnknown: true, AtLeast: true}, GivenUp: {Records: 7, AtMost: true}}
	if got, want := l.Text(), "kernel_overflow at least 3, spool_full 12, given_up at most 7"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := new(Losses).Text(); got != "" {
		t.Errorf("nothing lost: %q", got)
	}
}

func TestLossesArithmetic(t *testing.T) {
	earlier := Losses{KernelOverflow: {Records: 3, BytesUnknown: true, AtLeast: true}, Reset: {Records: 5, Bytes: 50}, Malformed: {Records: 9, Bytes: 9}}
	more := Losses{KernelOverflow: {Records: 2, BytesUnknown: true}, Reset: {Records: 1, Bytes: 7}, SpoolFull: {Records: 4, Bytes: 4}}
	l := earlier
	l.Add(more)
	want := more
	want[KernelOverflow].AtLeast = true // sticks
	if got := l.Sub(earlier); got != want {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if got := l.Sub(l); got != (Losses{}) {
		t.Errorf("nothing new: %+v", got)
	}
	if got := (Losses{}).Sub(l); got != (Losses{}) {
		t.Errorf("backwards: %+v", got)
	}
	if got, want := l.Total(), (Tally{24, 70}); got != want {
		t.Errorf("total %v, want %v", got, want)
	}
}

func TestLedger(t *testing.T) {
	l := testLedger()
	if err := l.Balance(); err != nil {
		t.Error(err)
	}
	if got, want := l.Buffered(), (Tally{5, 530}); got != want {
		t.Errorf("buffered %v, want %v", got, want)
	}
	l.Unaccounted = []Unaccounted{{Known: Tally{5, 30}}}
	if got, want := l.Buffered(), (Tally{0, 500}); got != want {
		t.Errorf("buffered %v, want %v", got, want)
	}

	b, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	var back Ledger
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, l) {
		t.Errorf("%+v, %v\nwant %+v", back, err, l)
	}

	c := l.Clone()
	if !reflect.DeepEqual(*c, l) {
		t.Errorf("clone %+v\nwant %+v", c, l)
	}
	c.Sockets[9]++
	c.Unaccounted[0].Known.Records++
	c.Destinations["idc"] = Delivery{}
	if !reflect.DeepEqual(back, l) {
		t.Error("the clone shares memory")
	}

	l.Received.Records--
	l.Damaged.Bytes = l.Kept.Bytes + 1
	l.Destinations["s3"] = Delivery{Tally: Tally{Records: l.Kept.Records + 1}}
	err = l.Balance()
	for _, want := range []string{"received and made 1021", "damaged 49951 bytes", "delivered to s3 1000 records"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if got := l.Buffered().Records; got != 0 {
		t.Errorf("buffered %d records", got)
	}
}
