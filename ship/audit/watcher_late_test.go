package audit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/spool/object"
)

// manyHours returns places with a finished spool of one object in each of 60 hours, more folders than an increment lists in turn. A second
// spool has written no manifest since the first of these hours: pass makes its chains pass all of them.
func manyHours(t *testing.T) (p places, pass func()) {
	p = newPlaces()
	var open []*chain
	for _, name := range []string{"idc", "s3"} {
		c := newChain(t, p, name, nil)
		for i := range 60 {
			c.clock = testTime.Add(time.Duration(i) * time.Hour)
			if c.segment%3 == 2 {
				c.add(1, nil) // the segment with a loss and no object
			}
			c.add(1, nil)
		}
		c.add(0, final)
		o := &chain{t: t, at: p[name], dest: name, spool: strings.Repeat("b", 26), data: "x", epoch: 1}
		open = append(open, o.add(0, nil).add(1, nil))
	}
	return p, func() {
		for _, o := range open {
			o.clock = time.Now().UTC()
			o.add(0, func(m *ship.Manifest) { m.Footer.Passed = time.Now().UTC().Truncate(time.Hour) })
		}
	}
}

// objectIn returns the key of an object of an hour.
func (p places) objectIn(t *testing.T, name string, hour time.Time) string {
	t.Helper()
	for _, key := range p[name].Keys() {
		if strings.HasPrefix(key, object.HourPrefix("vpn", object.HourOf(hour))) {
			return key
		}
	}
	t.Fatalf("no object of %v", hour)
	return ""
}

// hourAfter makes a step and returns the verdict on an hour.
func hourAfter(t *testing.T, w *audit.Watcher, hour time.Time) audit.Verdict {
	t.Helper()
	s, err := w.Step(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range s.Result.Hours {
		if h.Hour.Equal(hour.Truncate(time.Hour)) {
			return h.Verdict
		}
	}
	return ""
}

// TestLateHourIsListed: an hour that becomes complete long after it has ended is listed before that is announced. Its objects may have
// disappeared while it was owed, and no chain names them again.
func TestLateHourIsListed(t *testing.T) {
	p, pass := manyHours(t)
	w := p.watch(t)
	hour := testTime.Add(30 * time.Hour)
	if v := hourAfter(t, w, hour); v != audit.Owed {
		t.Fatal(v)
	}
	p["s3"].Remove(p.objectIn(t, "s3", hour))
	pass()
	if v := hourAfter(t, w, hour); v != audit.Damaged {
		t.Errorf("an object of the hour is gone, and the Watcher says %s", v)
	}
	if v := hourAfter(t, w, hour.Add(time.Hour)); v != audit.Complete {
		t.Errorf("the next hour is %s", v)
	}
}

// TestAdoptedMemory: changes that increments have found while a full audit was running are not forgotten when the Watcher continues with
// the memory of the full audit.
func TestAdoptedMemory(t *testing.T) {
	for _, c := range []struct {
		what  string
		where func(t *testing.T, p places, hour time.Time) string
	}{
		{"an object", func(t *testing.T, p places, hour time.Time) string { return p.objectIn(t, "s3", hour) }},
		{"a manifest", func(*testing.T, places, time.Time) string { return object.ManifestKey("vpn", testSpool, 1, 40) }},
	} {
		t.Run(c.what, func(t *testing.T) {
			p, pass := manyHours(t)
			pass()
			w := p.watch(t)
			hour := testTime.Add(30 * time.Hour)
			if v := hourAfter(t, w, hour); v != audit.Complete {
				t.Fatal(v)
			}
			audit.JumpInTurn(w)
			adopt := audit.FullAudit(t.Context(), w)
			key := c.where(t, p, hour)
			b := p["s3"].Bytes(key)
			p["s3"].Remove(key)
			found := func() audit.Verdict {
				s, err := w.Step(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return s.Result.Verdict
			}
			for n := 0; found() != audit.Damaged; n++ {
				if n > 100 {
					t.Fatal("never found")
				}
			}
			adopt()
			audit.JumpInTurn(w)
			if v := found(); v != audit.Damaged {
				t.Errorf("after the full audit it is %s again", v)
			}
			// The other way round: what was put back meanwhile is not damage again.
			adopt = audit.FullAudit(t.Context(), w)
			p["s3"].Set(key, b)
			for n := 0; found() == audit.Damaged; n++ {
				if n > 100 {
					t.Fatal("never found")
				}
			}
			adopt()
			audit.JumpInTurn(w)
			if v := found(); v == audit.Damaged {
				t.Error("after the full audit it is damaged again")
			}
		})
	}
}

// TestAdoptedMemoryOfStranger: an unknown object that was removed while a full audit was running is not reported again.
func TestAdoptedMemoryOfStranger(t *testing.T) {
	p, pass := manyHours(t)
	pass()
	w := p.watch(t)
	hour := testTime.Add(30 * time.Hour)
	key := object.HourPrefix("vpn", object.HourOf(hour)) + strings.Repeat("z", 26) + "-000001-0000000000000001-0000000000000002.ndjson.gz"
	p["s3"].Set(key, []byte("x"))
	if v := hourAfter(t, w, hour); v != audit.Damaged {
		t.Fatal(v)
	}
	adopt := audit.FullAudit(t.Context(), w)
	p["s3"].Remove(key)
	if v := hourAfter(t, w, hour); v != audit.Complete {
		t.Fatal(v)
	}
	adopt()
	if v := hourAfter(t, w, hour); v != audit.Complete {
		t.Errorf("after the full audit the hour is %s again", v)
	}
}
