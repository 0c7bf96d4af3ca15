package status

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/spool/segment"
)

// hostile tries to get out of text, attributes, styles, scripts and URLs.
const hostile = `"'><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}` + "\x1b[2J</style></title>javascript:alert(3)"

// fill puts something into every member: hostile text, and numbers that are not 0.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(7)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1_795_917_600, 0).UTC()))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	}
}

// TestHostile: whatever the texts of a snapshot contain, the page shows it as text, and a terminal does not interpret it.
func TestHostile(t *testing.T) {
	var s Snapshot
	var h History
	fill(reflect.ValueOf(&s).Elem())
	fill(reflect.ValueOf(&h).Elem())
	s.Classes[1].Down = "" // shows the level of its trouble instead
	var b bytes.Buffer
	check(t, pageTemplate.ExecuteTemplate(&b, "page", newPage(&s, &h)))
	page := b.String()
	if n := strings.Count(page, "<script"); n != 1 {
		t.Errorf("the page has %d scripts", n)
	}
	for _, bad := range []string{"<img", "onerror=alert(2)>", `"'><`, "ZgotmplZ", `href="javascript`} {
		if i := strings.Index(page, bad); i >= 0 {
			t.Errorf("the page has %q: %s", bad, page[max(0, i-100):min(len(page), i+100)])
		}
	}
	if !strings.Contains(page, "alert(1)") {
		t.Error("the page does not show the text at all")
	}
	var table strings.Builder
	check(t, s.WriteTable(&table))
	if strings.ContainsAny(table.String(), "\x1b\x00\r") {
		t.Errorf("the table moves the cursor: %q", table.String())
	}
}

// TestEveryCause: each cause of loss is on the page and in the table, with its number and its cure.
func TestEveryCause(t *testing.T) {
	now := time.Unix(1_795_917_600, 0).UTC()
	s := Snapshot{Time: now, Started: now.Add(-time.Hour), Drain: Drain{Phase: drain.PhaseRun}, Classes: []Class{emptyClass("vpn")}}
	c := &s.Classes[0]
	for cause := range segment.NumCauses {
		c.Balance.Lost[cause].Records = 1_000_000 + uint64(cause)
		c.LostLastHour[cause].Records = 2_000 + uint64(cause)
	}
	c.Balance.Unaccounted = []segment.Unaccounted{{From: now.Add(-time.Minute), To: now, Known: segment.Tally{Records: 4711}, AtMostBytes: 1 << 20}}
	c.Balance.Damaged.Records = 815
	c.Spool.Damages = []Damage{{Segment: 3, Records: 815, Why: "checksum"}}
	s.findTrouble(s.Adoptions)
	var page bytes.Buffer
	check(t, pageTemplate.ExecuteTemplate(&page, "page", newPage(&s, &History{})))
	var table strings.Builder
	check(t, s.WriteTable(&table))
	for cause := range segment.NumCauses {
		if cureOfLoss[cause] == "" {
			t.Errorf("%s has no cure", cause)
		}
		for _, want := range []string{cause.String(), fmt.Sprintf("1,000,%03d", cause), fmt.Sprintf("2,%03d", cause)} {
			if !strings.Contains(page.String(), want) {
				t.Errorf("%s: the page has no %s", cause, want)
			}
		}
		if want := fmt.Sprintf("2,%03d records lost in the last hour: %s", cause, cause); !strings.Contains(table.String(), want) {
			t.Errorf("the table has no %q", want)
		}
	}
	for _, want := range []string{"4,711", "815 records of segment 3"} {
		if !strings.Contains(page.String(), want) || !strings.Contains(table.String(), want) {
			t.Errorf("%q is not on the page and in the table", want)
		}
	}
	if s.State != Error {
		t.Errorf("the state is %s", s.State)
	}
}
