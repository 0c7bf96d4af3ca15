package audit_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
)

// TestMark: a marker is written once, for a complete hour only, and is what its documentation says.
func TestMark(t *testing.T) {
	p := newPlaces()
	for _, name := range []string{"idc", "s3"} {
		newChain(t, p, name, nil).add(2, nil).add(0, final)
	}
	r := p.audit(t, func(o *audit.Options) { o.Hour = testTime })
	at := shiptest.Memory()
	key, before, err := audit.Mark(t.Context(), at, r, r.Hours[0])
	if key != "_complete/vpn/dt=2026-11-22/hour=08.json" || before || err != nil {
		t.Error(key, before, err)
	}
	var m audit.Marker
	if err := json.Unmarshal(at.Bytes(key), &m); err != nil || m.Class != "vpn" || !m.Hour.Equal(r.Hours[0].Hour) || m.Verdict != audit.Complete || m.Records != 20 || m.Objects != 2 || len(m.Places) != 2 {
		t.Errorf("%+v, %v", m, err)
	}
	if _, before, err := audit.Mark(t.Context(), at, r, r.Hours[0]); before || err != nil { // the same one
		t.Error("again:", before, err)
	}
	later := p.audit(t, func(o *audit.Options) { o.Hour = testTime })
	if _, before, err := audit.Mark(t.Context(), at, later, later.Hours[0]); !before || err != nil {
		t.Error("by another audit:", before, err)
	}
	at.Set(key, []byte("something else"))
	if _, _, err := audit.Mark(t.Context(), at, later, later.Hours[0]); !errors.Is(err, audit.ErrMarkerTaken) {
		t.Error("another object has its key:", err)
	}
	owed := later.Hours[0]
	owed.Verdict = audit.Owed
	if _, _, err := audit.Mark(t.Context(), shiptest.Memory(), later, owed); !errors.Is(err, audit.ErrIncomplete) {
		t.Error("an hour that is owed was marked:", err)
	}
	if object.MarkerKey("vpn", object.HourOf(testTime)) != key {
		t.Error(key)
	}
	wants(t, places{"idc": at}.audit(t), audit.Owed) // no audit takes a marker for anything
}
