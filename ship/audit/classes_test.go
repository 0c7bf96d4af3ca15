package audit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
)

// makeClass adds a class whose only chain is final and names nothing.
func makeClass(t *testing.T, at *shiptest.MemoryDestination, class string) (key string) {
	m := &ship.Manifest{Header: ship.ManifestHeader{
		Class: class, Spool: testSpool, Epoch: 1, Prev: strings.Repeat("0", 64), Instance: "host", Destination: "s3", Time: testTime,
	}}
	final(m)
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	key = object.ManifestKey(class, testSpool, 1, 0)
	at.Set(key, b)
	return key
}

// TestCrowded: a place that has too many classes of its own does not have them judged hour by hour, and none of those is complete. A
// class that other places have too is not affected.
func TestCrowded(t *testing.T) {
	p := newPlaces()
	for _, name := range []string{"idc", "s3"} {
		newChain(t, p, name, nil).add(2, nil).add(0, final)
	}
	for i := range 5 {
		makeClass(t, p["s3"], fmt.Sprintf("a%d", i))
	}
	verdicts := func(r *audit.Result) (v audit.Verdict, hours int) {
		for _, h := range r.Hours {
			if hours++; h.Class == "vpn" && h.Hour.Equal(testTime.Truncate(time.Hour)) {
				v = h.Verdict
			}
		}
		return v, hours
	}
	alone := places{"s3": p["s3"]}
	wants(t, alone.audit(t), audit.Complete)
	r := alone.audit(t, audit.FewClasses)
	wants(t, r, audit.Owed, audit.Crowded)
	if f := finding(t, r, audit.Crowded, "s3"); f.Class != "a3" || !strings.Contains(f.Detail, "6 classes") || !strings.Contains(f.Detail, "last 3 of them") {
		t.Errorf("%+v", f)
	}
	// One hour with objects, and the current one of each class.
	if v, hours := verdicts(r); v != audit.Owed || hours > 1+6 {
		t.Errorf("%s, %d hours", v, hours)
	}
	for _, c := range r.Chains {
		if good := c.Verdict == audit.Complete; good != (c.Class < "a3") {
			t.Errorf("the chain of %s is %s", c.Class, c.Verdict)
		}
	}
	hour := alone.audit(t, audit.FewClasses, func(o *audit.Options) { o.Hour = testTime })
	wants(t, hour, audit.Owed, audit.Crowded)
	r = p.audit(t, audit.FewClasses)
	wants(t, r, audit.Owed, audit.Crowded, audit.Absent)
	if v, _ := verdicts(r); v != audit.Complete {
		t.Errorf("the hour of a class that two places have is %s", v)
	}
}

// TestStrangeClasses: a Watcher keeps nothing of the idle hours of a class without a manifest that can be read, or that is gone.
func TestStrangeClasses(t *testing.T) {
	p := places{"s3": shiptest.Memory()}
	newChain(t, p, "s3", nil).add(2, nil).add(0, final)
	w := p.watch(t)
	folders := func() int {
		if _, err := w.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		return audit.Folders(w)
	}
	folders()
	before := folders()
	strange := "_manifest/x/" + testSpool + "/000001/000000000000.jsonl"
	p["s3"].Set(strange, []byte("{"))
	folders()
	if n := folders(); n != before {
		t.Errorf("%d folders more, of a class without a manifest that can be read", n-before)
	}
	p["s3"].Remove(strange)
	key := makeClass(t, p["s3"], "y")
	folders()
	if n := folders(); n <= before {
		t.Error("no folders of a class with a manifest")
	}
	p["s3"].Remove(key)
	folders()
	if n := folders(); n != before {
		t.Errorf("%d folders more, of a class that is gone", n-before)
	}
}
