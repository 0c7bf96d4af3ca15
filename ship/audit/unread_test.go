package audit_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
)

var (
	errSector   = errors.New("input/output error")
	errArchived = ship.Permanent(errors.New("the object is in an archive class"))
)

// veiled is a place at which some keys cannot be read; also lists the operations that they refuse.
func veiled(d ship.Destination, is func(key string) bool, err error, also ...shiptest.Op) *shiptest.FaultyDestination {
	return shiptest.Faulty(d, func(c shiptest.Call) shiptest.Fault {
		if is(c.Key) && (c.Op == shiptest.Open || slices.Contains(also, c.Op)) {
			return shiptest.FailBefore(err)
		}
		return shiptest.Fault{}
	})
}

func only(key string) func(string) bool { return func(k string) bool { return k == key } }

// auditWith audits the places with another destination for s3.
func (p places) auditWith(t *testing.T, s3 ship.Destination, change ...func(*audit.Options)) (*audit.Result, error) {
	o := &audit.Options{Places: []audit.Place{{Name: "idc", Destination: p["idc"]}, {Name: "s3", Destination: s3}}, Workers: 4}
	for _, f := range change {
		f(o)
	}
	return audit.Run(t.Context(), o)
}

// TestUnreadDocuments: a document that cannot be read neither ends the audit of the others nor counts as right or damaged.
func TestUnreadDocuments(t *testing.T) {
	p := newPlaces()
	var head string
	for _, name := range []string{"idc", "s3"} {
		c := newChain(t, p, name, nil).add(2, nil).add(2, nil).add(2, nil).add(0, final)
		if name == "idc" {
			c.head(p["s3"], 0, true)
			head = object.HeadKey("vpn", testSpool, 1, "idc", c.number-1)
		}
	}
	closed := strings.Repeat("8", 26)
	for _, name := range []string{"idc", "s3"} {
		c := &chain{t: t, at: p[name], dest: name, spool: closed, data: "y", epoch: 1}
		c.add(2, nil)
	}
	p.closeSpool(t, "vpn", closed, nil, "idc", "s3")
	closings := slices.DeleteFunc(p["s3"].Keys(), func(k string) bool { return !isClosing.MatchString(k) })
	note := object.RepairPrefix + "vpn/x.json"
	stranger := "_manifest/x/" + strings.Repeat("z", 26) + "/000001/000000000000.jsonl"
	p["s3"].Set(note, []byte("{"))
	p["s3"].Set(stranger, []byte("{"))
	for what, c := range map[string]struct {
		key   string
		codes []string // besides Unread
	}{
		"the first manifest":    {object.ManifestKey("vpn", testSpool, 1, 0), nil},
		"a manifest":            {object.ManifestKey("vpn", testSpool, 1, 2), []string{audit.Uncovered}},
		"the last manifest":     {object.ManifestKey("vpn", testSpool, 1, 4), []string{audit.Open}},
		"a stranger's manifest": {stranger, nil},
		"a head":                {head, nil},
		"a closing":             {closings[0], []string{audit.Open}},
		"a note":                {note, nil},
	} {
		for how, d := range map[string]*shiptest.FaultyDestination{
			"a bad sector":   veiled(p["s3"], only(c.key), errSector),
			"an archive":     veiled(p["s3"], only(c.key), errArchived),
			"a customer key": veiled(p["s3"], only(c.key), errArchived, shiptest.Stat),
		} {
			synctest.Test(t, func(t *testing.T) {
				if c.key != note {
					p["s3"].Remove(note)
					defer p["s3"].Set(note, []byte("{"))
				}
				if c.key != stranger {
					p["s3"].Remove(stranger)
					defer p["s3"].Set(stranger, []byte("{"))
				}
				r, err := p.auditWith(t, d)
				if err != nil {
					t.Errorf("%s in %s: %v", what, how, err)
					return
				}
				wants(t, r, audit.Owed, append([]string{audit.Unread}, c.codes...)...)
				if f := finding(t, r, audit.Unread, "s3"); f.Key != c.key || !strings.Contains(f.Cure, "make the document readable again") {
					t.Errorf("%s in %s: %+v", what, how, f)
				}
				for _, ch := range r.Chains {
					if mine := strings.Contains(c.key, ch.Spool) && ch.Place == "s3"; (ch.Verdict == audit.Owed) != mine {
						t.Errorf("%s in %s: the chain of %s at %s is %s", what, how, ch.Spool, ch.Place, ch.Verdict)
					}
				}
			})
		}
	}
}

// TestUnreadPlace: if a place lets nothing be read, that is an outage, and the audit has no result. If somebody has added many documents
// that cannot be read, the others are judged.
func TestUnreadPlace(t *testing.T) {
	p := newPlaces()
	for _, name := range []string{"idc", "s3"} {
		newChain(t, p, name, nil).add(2, nil).add(0, final)
	}
	for i := range 350 {
		p["s3"].Set(fmt.Sprintf("_manifest/a/%026d/000001/000000000000.jsonl", i), []byte("{"))
	}
	strangers := func(k string) bool { return strings.HasPrefix(k, "_manifest/a/") }
	for _, err := range []error{errArchived, errSector} {
		synctest.Test(t, func(t *testing.T) {
			r, aerr := p.auditWith(t, veiled(p["s3"], strangers, err))
			if ship.IsPermanent(err) {
				if aerr != nil {
					t.Fatal(aerr)
				}
				wants(t, r, audit.Owed, audit.Unread)
				for _, c := range r.Chains {
					if c.Class == "vpn" && c.Verdict != audit.Complete {
						t.Errorf("%+v", c)
					}
				}
			} else if !errors.Is(aerr, err) { // a disk that fails
				t.Errorf("%v", aerr)
			}
			if _, aerr := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Destination: veiled(p["s3"], strangers, errArchived)}}}); aerr != nil {
				t.Errorf("of one place: %v", aerr)
			}
			all := func(k string) bool { return strings.HasPrefix(k, "_manifest/") }
			for _, ops := range [][]shiptest.Op{nil, {shiptest.Stat}} {
				if _, aerr := p.auditWith(t, veiled(p["s3"], all, err, ops...)); !errors.Is(aerr, err) {
					t.Errorf("of a place that lets nothing be read: %v", aerr)
				}
			}
		})
	}
}

// TestUnreadObjects: archived objects do not end a deep audit, unless none can be read. An object that is damage by its name remains so.
func TestUnreadObjects(t *testing.T) {
	p := newPlaces()
	for _, name := range []string{"idc", "s3"} {
		newChain(t, p, name, nil).add(9, nil).add(0, final)
	}
	var named string
	for _, k := range p["s3"].Keys() {
		if isData.MatchString(k) {
			named = k
			break
		}
	}
	r, err := p.auditWith(t, veiled(p["s3"], only(named), errArchived), deep)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, audit.Owed, audit.Unread)
	if f := finding(t, r, audit.Unread, "s3"); f.Key != named || !strings.Contains(f.Detail, "archive class") || !strings.Contains(f.Cure, "keep the object") {
		t.Errorf("%+v", f)
	}
	unknown := strings.Replace(named, testSpool, strings.Repeat("z", 26), 1)
	p["s3"].Set(unknown, []byte("x"))
	if r, err = p.auditWith(t, veiled(p["s3"], only(unknown), errArchived), deep); err != nil {
		t.Fatal(err)
	}
	wants(t, r, audit.Damaged, audit.ChainMissing)
	for i := range 250 {
		p["s3"].Set(fmt.Sprintf("%s/%s-000001-%016x-%016x.ndjson.gz", filepath.ToSlash(filepath.Dir(named)), strings.Repeat("z", 26), 1+i, 2+i), []byte("x"))
	}
	if r, err = p.auditWith(t, veiled(p["s3"], func(k string) bool { return strings.Contains(k, "zzz") }, errArchived), deep); err != nil {
		t.Fatal(err)
	}
	wants(t, r, audit.Damaged, audit.ChainMissing)
	if _, err = p.auditWith(t, veiled(p["s3"], isData.MatchString, errArchived), deep); !errors.Is(err, errArchived) {
		t.Errorf("of a place that lets no object be read: %v", err)
	}
}

// TestUnreadHidden: an object with an encryption key that only its writer has, of which S3 answers not even a Stat, is a finding. If no
// object can be read, or a hundred cannot, the audit has no result.
func TestUnreadHidden(t *testing.T) {
	p := newPlaces()
	for _, name := range []string{"idc", "s3"} {
		c := newChain(t, p, name, nil).add(9, nil)
		c.clock = testTime.Add(time.Hour)
		c.add(50, nil).add(50, nil).add(50, nil).add(50, nil).add(0, final)
	}
	var keys []string
	for _, k := range p["s3"].Keys() {
		if isData.MatchString(k) {
			keys = append(keys, k)
		}
	}
	none := func(*audit.Options) {}
	for mode, change := range map[string]func(*audit.Options){"shallow": none, "deep": deep} {
		one := func(o *audit.Options) { o.Workers = 1; change(o) }
		for _, n := range []int{0, 1, 50, len(keys) - 1} { // also the first, before any other was read
			r, err := p.auditWith(t, veiled(p["s3"], only(keys[n]), errArchived, shiptest.Stat), one)
			if err != nil {
				t.Errorf("%s, object %d: %v", mode, n, err)
				continue
			}
			wants(t, r, audit.Owed, audit.Unread)
			if f := finding(t, r, audit.Unread, "s3"); f.Key != keys[n] {
				t.Errorf("%s: %+v", mode, f)
			}
		}
		for what, c := range map[string]struct {
			is   func(string) bool
			fail bool
		}{
			"a policy that denies all objects": {isData.MatchString, true},
			"all but one":                      {func(k string) bool { return isData.MatchString(k) && k != keys[70] }, true},
			"100 objects":                      {func(k string) bool { i := slices.Index(keys, k); return i >= 0 && i < 100 }, false},
			"101 objects":                      {func(k string) bool { i := slices.Index(keys, k); return i >= 0 && i < 101 }, true},
		} {
			r, err := p.auditWith(t, veiled(p["s3"], c.is, errArchived, shiptest.Stat), change)
			switch {
			case c.fail && !errors.Is(err, errArchived):
				t.Errorf("%s, %s: %v", mode, what, err)
			case !c.fail && err != nil:
				t.Errorf("%s, %s: %v", mode, what, err)
			case !c.fail:
				wants(t, r, audit.Owed, audit.Unread)
			}
		}
	}
	// An audit of checksums does not notice that all others are in an archive.
	d := shiptest.Faulty(p["s3"], func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.Open && isData.MatchString(c.Key) || c.Op == shiptest.Stat && c.Key == keys[9] {
			return shiptest.FailBefore(errArchived)
		}
		return shiptest.Fault{}
	})
	r, err := p.auditWith(t, d)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, audit.Owed, audit.Unread)
}

// TestUnreadWatched: a manifest that could not be read is read again by each increment, and then its records are judged.
func TestUnreadWatched(t *testing.T) {
	p := newPlaces()
	for _, name := range []string{"idc", "s3"} {
		newChain(t, p, name, nil).add(2, nil).add(2, nil).add(0, final)
	}
	key := object.ManifestKey("vpn", testSpool, 1, 1)
	d := veiled(p["s3"], only(key), errArchived)
	w := p.watch(t, func(o *audit.WatchOptions) { o.Places[1].Destination = d })
	step := func() *audit.Result {
		s, err := w.Step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.Places[1].Err != "" || s.Places[1].LastSuccess.IsZero() {
			t.Errorf("%+v", s.Places)
		}
		return s.Result
	}
	worst := func(r *audit.Result) audit.Verdict {
		for _, h := range r.Hours {
			if h.Hour.Equal(testTime.Truncate(3600e9)) {
				return h.Verdict
			}
		}
		t.Fatal("the hour is not there")
		return ""
	}
	for range 2 {
		r := step()
		wants(t, r, audit.Owed, audit.Unread, audit.Uncovered)
		if v := worst(r); v != audit.Owed {
			t.Errorf("the hour is %s", v)
		}
	}
	d.SetPlan(nil)
	r := step()
	wants(t, r, audit.Complete)
	if v := worst(r); v != audit.Complete {
		t.Errorf("the hour is %s", v)
	}
}

// TestUnreadNotSkipped: an audit that continues an interrupted one examines the objects of a manifest that could not be read then.
func TestUnreadNotSkipped(t *testing.T) {
	for what, missing := range map[string]bool{"unreadable": false, "missing": true} {
		t.Run(what, func(t *testing.T) {
			p := newPlaces()
			newChain(t, p, "s3", nil).add(2, nil).add(2, nil).add(2, nil).add(0, final)
			key := object.ManifestKey("vpn", testSpool, 1, 2)
			var object string
			for _, k := range p["s3"].Keys() {
				if isData.MatchString(k) && strings.Contains(k, fmt.Sprintf("%016x-", 21)) {
					object = k
				}
			}
			b := p["s3"].Bytes(object)
			b[len(b)/2] ^= 1
			p["s3"].Set(object, b)
			path := filepath.Join(t.TempDir(), "checkpoint")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			manifest := p["s3"].Bytes(key)
			if missing {
				p["s3"].Remove(key)
			}
			d := shiptest.Faulty(p["s3"], func(c shiptest.Call) shiptest.Fault {
				if c.Op == shiptest.List && strings.HasPrefix(c.Key, "class=") {
					cancel() // all objects were read by then
				}
				if c.Op == shiptest.Open && c.Key == key && !missing {
					return shiptest.FailBefore(errArchived)
				}
				return shiptest.Fault{}
			})
			if _, err := audit.Run(ctx, &audit.Options{Places: []audit.Place{{Name: "s3", Destination: d}}, Deep: true, Checkpoint: path}); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			p["s3"].Set(key, manifest)
			r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Name: "s3", Destination: p["s3"]}}, Deep: true, Checkpoint: path})
			if err != nil {
				t.Fatal(err)
			}
			wants(t, r, audit.Damaged, audit.ObjectAltered)
		})
	}
}

// TestUnreadOwes: what a closed chain lacks stays owed as long as the manifest of the other place that names it cannot be read again.
func TestUnreadOwes(t *testing.T) {
	p := newPlaces()
	newChain(t, p, "s3", nil).add(2, nil).add(2, nil)
	newChain(t, p, "idc", nil).add(2, nil)
	p.closeSpool(t, "vpn", testSpool, nil, "idc", "s3")
	key, opened := object.ManifestKey("vpn", testSpool, 1, 2), 0
	d := shiptest.Faulty(p["s3"], func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.Open && c.Key == key {
			if opened++; opened > 1 {
				return shiptest.FailBefore(errArchived)
			}
		}
		return shiptest.Fault{}
	})
	r, err := p.auditWith(t, d)
	if err != nil {
		t.Fatal(err)
	}
	if f := finding(t, r, audit.Behind, "idc"); f.First != 20 || r.Verdict != audit.Owed {
		t.Errorf("%s: %+v", r.Verdict, f)
	}
}

// TestUnreadRelative: nobody makes the auditor less strict about a spool by adding a chain of a related one that cannot be read.
func TestUnreadRelative(t *testing.T) {
	key := newKey(3)
	sign := func(m *ship.Manifest) {
		if err := m.Sign(key); err != nil {
			t.Fatal(err)
		}
	}
	both := func(m *ship.Manifest) { final(m); sign(m) }
	p := newPlaces()
	newChain(t, p, "idc", sign).add(2, sign).add(0, both)
	x := newChain(t, p, "s3", sign)
	x.data = "y"
	x.add(2, sign).add(0, both)
	stranger := object.ManifestKey("vpn", relatedID(1), 1, 0)
	p["s3"].Set(stranger, []byte("{"))
	r, err := p.auditWith(t, veiled(p["s3"], only(stranger), errArchived), func(o *audit.Options) { o.Keys = []ed25519.PublicKey{public(key)} })
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, audit.Damaged, audit.PlacesDiffer, audit.Unread)
}

// TestUnreadCopies: an object that two copies of a volume are compared by, and that cannot be read, does not end the audit.
func TestUnreadCopies(t *testing.T) {
	x := withRests(t).finalize()
	for _, key := range x.places["s3"].Keys() {
		if !isData.MatchString(key) {
			continue
		}
		r, err := x.auditWith(t, veiled(x.places["s3"], only(key), errArchived), deep)
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		wants(t, r, audit.Owed, audit.Unread)
		if len(r.Findings) != 1 || r.Findings[0].Key != key {
			t.Errorf("%+v", r.Findings)
		}
	}
	// An audit that is not deep reads only the objects whose records it has to compare.
	p := newPlaces()
	newChain(t, p, "idc", nil).add(2, nil).add(0, final).branch(1, "b", 2, 20).by("b").whole(30, nil).add(0, final)
	c := newChain(t, p, "s3", nil).by("x")
	c.format = format.Lines
	c.whole(10, nil).whole(20, nil).add(0, final)
	b := c.branch(1, "b", 2, 20)
	b.whole(30, nil).add(0, final)
	wants(t, p.audit(t), audit.Complete)
	r, err := p.auditWith(t, veiled(p["s3"], func(k string) bool { return strings.HasSuffix(k, fmt.Sprintf("-%016x.log.gz", 10)) }, errArchived))
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, audit.Owed, audit.Unread, audit.Behind)
}

// TestUnreadReplay: Replay restores objects although a manifest at To cannot be read, as it does if the manifest is damaged. It does not
// if a related chain may name them.
func TestUnreadReplay(t *testing.T) {
	p := newPlaces()
	newChain(t, p, "idc", nil).add(2, nil).add(2, nil)
	newChain(t, p, "s3", nil).add(2, nil).add(2, nil)
	manifest := object.ManifestKey("vpn", testSpool, 1, 1)
	var lost string
	for _, k := range p["s3"].Keys() {
		if isData.MatchString(k) && strings.Contains(k, fmt.Sprintf("%016x-", 11)) {
			lost = k
		}
	}
	b := p["s3"].Bytes(lost)
	replay := func() ([]audit.Repair, error) {
		p["s3"].Remove(lost)
		return audit.Replay(t.Context(), &audit.ReplayOptions{
			From: audit.Place{Name: "idc", Destination: p["idc"]}, Class: "vpn", Spool: testSpool,
			To: audit.Place{Name: "s3", Destination: veiled(p["s3"], only(manifest), errArchived)},
		})
	}
	if done, err := replay(); err != nil || len(done) != 1 || done[0].Key != lost || string(p["s3"].Bytes(lost)) != string(b) {
		t.Errorf("%+v, %v", done, err)
	}
	other := strings.TrimSuffix(lost, path.Ext(lost)) + ".zst" // it may have been staged again
	p["s3"].Set(other, b)
	if done, err := replay(); !errors.Is(err, errArchived) || len(done) > 0 {
		t.Errorf("with an object of the same records: %+v, %v", done, err)
	}
	p["s3"].Remove(other)
	c := &chain{t: t, at: p["s3"], dest: "s3", spool: relatedID(1), data: "y", epoch: 1}
	c.add(0, nil)
	if done, err := replay(); !errors.Is(err, errArchived) || len(done) > 0 {
		t.Errorf("%+v, %v", done, err)
	}
}
