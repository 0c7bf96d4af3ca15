package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
)

// longest returns the spool that has lived longest, and its objects in the order of its sequence numbers.
func longest(p places) (spool string, objects []string) {
	by := map[string][]string{}
	for _, key := range p["s3"].Keys() {
		if isData.MatchString(key) {
			id := strings.Split(strings.Split(key, "/")[3], "-")[0]
			by[id] = append(by[id], key)
		}
	}
	for id, keys := range by {
		if len(keys) > len(objects) {
			spool, objects = id, keys
		}
	}
	slices.SortFunc(objects, func(a, b string) int { return strings.Compare(strings.Split(a, "-")[4], strings.Split(b, "-")[4]) })
	return spool, objects
}

func replay(p places, spool string, first, last uint64) ([]audit.Repair, error) {
	return audit.Replay(bg, &audit.ReplayOptions{
		From: audit.Place{Name: "s3", Destination: p["s3"]}, To: audit.Place{Name: "idc", Destination: p["idc"]},
		Class: "vpn", Spool: spool, First: first, Last: last,
	})
}

func TestReplay(t *testing.T) {
	p := finished(t)
	spool, objects := longest(p)
	for _, i := range []int{0, 3, 14} {
		p["idc"].Remove(objects[i])
	}
	var text strings.Builder
	want := fmt.Sprintf("\n    audit replay -from URL -to URL -class vpn -spool %s -first 61 -last 80\n", spool)
	if err := p.audit(t).WriteText(&text); err != nil || !strings.Contains(text.String(), want) {
		t.Errorf("%v: no %q in\n%s", err, want, &text)
	}
	// Only what was asked for: object 3 has records 61 to 80.
	done, err := replay(p, spool, 80, 80)
	if err != nil || len(done) != 1 || done[0].Key != objects[3] || done[0].First != 61 || done[0].Last != 80 || done[0].Uncovered {
		t.Fatalf("%+v, %v", done, err)
	}
	if !bytes.Equal(p["idc"].Bytes(objects[3]), p["s3"].Bytes(objects[3])) {
		t.Error("other bytes were restored")
	}
	if done, err = replay(p, spool, 0, 0); err != nil || len(done) != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	wants(t, p.audit(t, deep), audit.Complete)
	if done, err = replay(p, spool, 0, 0); err != nil || len(done) != 0 {
		t.Errorf("again: %+v, %v", done, err)
	}
	var notes []audit.Repair
	for _, key := range p["idc"].Keys() {
		if strings.HasPrefix(key, object.RepairPrefix+"vpn/"+spool+"/") {
			var n audit.Repair
			if err := json.Unmarshal(p["idc"].Bytes(key), &n); err != nil {
				t.Error(err)
			}
			notes = append(notes, n)
		}
	}
	if len(notes) != 3 || notes[0].From != "s3" || notes[0].Key != objects[0] || notes[0].Receipt.Checksum == "" {
		t.Errorf("notes: %+v", notes)
	}
}

// TestReplayRefuses: nothing is overwritten, and nothing restored that is not proven.
func TestReplayRefuses(t *testing.T) {
	p := finished(t)
	spool, objects := longest(p)
	change := func(name, key string) {
		b := p[name].Bytes(key)
		b[len(b)/2] ^= 1
		p[name].Set(key, b)
	}
	change("idc", objects[1])
	before := p["idc"].Bytes(objects[1])
	if _, err := replay(p, spool, 1, 0); !errors.Is(err, ship.ErrConflict) {
		t.Errorf("an altered object: %v", err)
	}
	if !bytes.Equal(p["idc"].Bytes(objects[1]), before) {
		t.Error("it was overwritten")
	}
	p["idc"].Remove(objects[2])
	change("s3", objects[2])
	if _, err := replay(p, spool, 41, 60); !errors.Is(err, ship.ErrVerify) || p["idc"].Bytes(objects[2]) != nil {
		t.Errorf("a damaged source: %v", err)
	}
	for _, key := range p["idc"].Keys() {
		if strings.HasPrefix(key, "_manifest/web/") {
			web := strings.Split(key, "/")[2]
			to := shiptest.Memory()
			_, err := audit.Replay(bg, &audit.ReplayOptions{From: audit.Place{Destination: p["s3"]}, To: audit.Place{Destination: to}, Class: "web", Spool: web})
			if err == nil || len(to.Keys()) > 0 {
				t.Errorf("to a place without a chain: %v, %q", err, to.Keys())
			}
			break
		}
	}
	p["s3"].Remove(objects[2])
	if _, err := replay(p, spool, 41, 60); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no source: %v", err)
	}
	if _, err := replay(p, spool, 1e6, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("records that do not exist: %v", err)
	}
	p["s3"].Remove(object.ManifestKey("vpn", spool, 1, 3))
	if _, err := replay(p, spool, 1, 0); !errors.Is(err, ship.ErrVerify) && !errors.Is(err, ship.ErrConflict) {
		t.Errorf("a source whose chain has a hole: %v", err)
	}
	if _, err := replay(p, spool, 200, 0); !errors.Is(err, ship.ErrVerify) {
		t.Errorf("a source whose chain has a hole in front of the range: %v", err)
	}
	if _, err := replay(p, "x", 7, 3); err == nil || !strings.Contains(err.Error(), `spool "x"`) || !strings.Contains(err.Error(), "7 to 3") {
		t.Errorf("mistakes: %v", err)
	}
}

// TestReplayRecompressed: an object that has another compression of the same records there, by its own receipt, is right
// and does not keep the others from being restored.
func TestReplayRecompressed(t *testing.T) {
	p := newPlaces()
	newChain(t, p, "s3", nil).add(2, nil).add(0, final)
	lost := ""
	newChain(t, p, "idc", nil).add(2, func(m *ship.Manifest) {
		again(t, p, func(raw []byte) []byte { return compressed(t, raw, 9) })(m)
		lost = m.Segments[1].Key
	}).add(0, final)
	p["idc"].Remove(lost)
	done, err := replay(p, testSpool, 0, 0)
	if err != nil || len(done) != 1 || done[0].Key != lost {
		t.Errorf("%+v, %v", done, err)
	}
	wants(t, p.audit(t, deep), audit.Complete)
}

// TestReplayBehind: a place whose sender is gone gets the objects that it never had.
func TestReplayBehind(t *testing.T) {
	p := newPlaces()
	running(t, p)
	var spool string
	for _, key := range p["s3"].Keys() {
		if strings.HasPrefix(key, "class=web/") {
			spool = strings.Split(strings.Split(key, "/")[3], "-")[0]
		}
	}
	done, err := audit.Replay(bg, &audit.ReplayOptions{
		From: audit.Place{Destination: p["s3"]}, To: audit.Place{Destination: p["idc"]}, Class: "web", Spool: spool,
	})
	if err != nil || len(done) != 3 || !done[0].Uncovered {
		t.Fatalf("%+v, %v", done, err)
	}
	wants(t, p.audit(t, deep), audit.Owed, audit.Open, audit.Behind, audit.Uncovered)
}

// TestReplayNothing: a spool that has kept no records needs no replay. Every other way to name no records is a mistake.
func TestReplayNothing(t *testing.T) {
	p := newPlaces()
	newChain(t, p, "s3", nil)
	if _, err := replay(p, testSpool, 0, 0); err == nil || !strings.Contains(err.Error(), "has no chain") {
		t.Errorf("no chain to restore objects for: %v", err)
	}
	p = newPlaces()
	newChain(t, p, "idc", nil)
	if _, err := replay(p, testSpool, 0, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no chain to restore objects from: %v", err)
	}
	from := newChain(t, p, "s3", nil)
	for _, first := range []uint64{0, 1} {
		if done, err := replay(p, testSpool, first, 0); err != nil || len(done) != 0 {
			t.Errorf("no records: %+v, %v", done, err)
		}
	}
	for _, r := range [][2]uint64{{2, 0}, {0, 1}, {1, 10}} {
		if _, err := replay(p, testSpool, r[0], r[1]); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("records %d to %d of none: %v", r[0], r[1], err)
		}
	}
	before := p.clone()
	from.add(0, nil).add(0, nil)
	p["s3"].Remove(object.ManifestKey("vpn", testSpool, 1, 1))
	if _, err := replay(p, testSpool, 0, 0); !errors.Is(err, ship.ErrVerify) {
		t.Errorf("a source whose chain has a hole: %v", err)
	}
	p = before
	newChain(t, p, "idc", nil).add(1, nil)
	if _, err := replay(p, testSpool, 0, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the place that lacks nothing has the records: %v", err)
	}
	p["idc"].Remove(object.ManifestKey("vpn", testSpool, 1, 0))
	if _, err := replay(p, testSpool, 0, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the place that may have the records has a damaged chain: %v", err)
	}
}

// TestRepairNotes: the audit counts what was put back, and names notes that are none.
func TestRepairNotes(t *testing.T) {
	p := finished(t)
	spool, objects := longest(p)
	p["idc"].Remove(objects[0])
	p["idc"].Remove(objects[3])
	if _, err := replay(p, spool, 0, 0); err != nil {
		t.Fatal(err)
	}
	r := p.audit(t)
	wants(t, r, audit.Complete)
	for _, c := range r.Chains {
		if want := map[bool]uint64{true: 2}[c.Spool == spool && c.Place == "idc"]; c.Restored != want {
			t.Errorf("%s at %s: %d restored, want %d", c.Spool, c.Place, c.Restored, want)
		}
	}
	for _, key := range p["idc"].Keys() {
		if strings.HasPrefix(key, object.RepairPrefix) {
			p["idc"].Set(strings.Replace(key, "000001-", "000002-", 1), p["idc"].Bytes(key)) // another's
			p["idc"].Set(key, []byte("{"))
			break
		}
	}
	wants(t, p.audit(t), audit.Damaged, audit.ObjectUnknown)
}
