package audit_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
)

var isClosing = regexp.MustCompile(`/closed/`)

// closeSpool closes a spool of class vpn at the places.
func (p places) closeSpool(t testing.TB, class, id string, signer crypto.Signer, names ...string) []audit.Closure {
	t.Helper()
	o := &audit.CloseOptions{Class: class, Spool: id, By: "ops@noc", Reason: "the volume was deleted", Signer: signer}
	for _, name := range names {
		o.Places = append(o.Places, audit.Place{Name: name, Destination: p[name]})
	}
	done, err := audit.Close(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// gone is a spool whose host ended without a drain. It returns the directory too, in case it comes back.
func gone(t *testing.T, p places, change func(*ship.Options)) (id, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "a")
	x := send(t, dir, "vpn", "host-a", p.destinations(), change)
	x.segments(3)
	x.flush()
	id = x.sp.Stats().Spool
	x.end()
	return id, dir
}

// TestClose: a spool that is permanently gone is owed until somebody closes it, and then Closed, not Complete.
func TestClose(t *testing.T) {
	p := finished(t)
	id, _ := gone(t, p, nil)
	wants(t, p.audit(t), audit.Owed, audit.Open)
	before := len(p["idc"].Keys())
	done := p.closeSpool(t, "vpn", id, nil, "idc", "s3")
	r := p.audit(t, deep)
	wants(t, r, audit.Closed)
	closed := 0
	for _, c := range r.Chains {
		if (c.Verdict == audit.Closed) != (c.Spool == id) || (c.Closed != nil) != (c.Spool == id) {
			t.Errorf("%+v", c)
		}
		if c.Closed != nil {
			closed++
			if c.Closed.After != c.Last || c.Closed.By != "ops@noc" || c.Closed.Reason != "the volume was deleted" || c.Closed.Key != done[0].Key && c.Closed.Key != done[1].Key {
				t.Errorf("%+v", c.Closed)
			}
		}
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || closed != 2 || !strings.Contains(text.String(), "closed by ops@noc") || !strings.Contains(text.String(), "records that the spool kept after record 60 are lost unless another place has them") {
		t.Errorf("%d, %v\n%s", closed, err, &text)
	}
	again := p.closeSpool(t, "vpn", id, nil, "idc", "s3")
	if !again[0].Before || again[0].Key != done[0].Key || len(p["idc"].Keys()) != before+1 {
		t.Errorf("closed again: %+v", again)
	}
}

// TestCloseCommand: an adopter has ended permanently, and its volume has delivered the rest as a copy of itself. Nobody ends the chain of
// the adopter: the finding names the command that does, and the spool that has delivered since.
func TestCloseCommand(t *testing.T) {
	p := newPlaces()
	for _, at := range []string{"idc", "s3"} {
		c := newChain(t, p, at, nil).add(3, nil)
		c.branch(1, "a", c.segment, c.last).whole(c.last+8, nil).add(0, final)
	}
	r := p.audit(t)
	wants(t, r, audit.Owed, audit.Open)
	for _, f := range r.Findings {
		if f.Spool != testSpool || !strings.Contains(f.Detail, "also delivers here as spool "+relatedID(1)) ||
			!strings.Contains(f.Cure, "nobody ends this chain") || !strings.Contains(f.Cure, "audit close -class vpn -spool "+testSpool+" -reason TEXT -at URL") {
			t.Errorf("%+v", f)
		}
	}
	p.closeSpool(t, "vpn", testSpool, nil, "idc", "s3")
	wants(t, p.audit(t, deep), audit.Closed)

	// For a spool without copies, the cure names the spool too.
	p = newPlaces()
	newChain(t, p, "idc", nil).add(3, nil)
	newChain(t, p, "s3", nil).add(3, nil)
	for _, f := range p.audit(t).Findings {
		if strings.Contains(f.Detail, "delivers here as") || !strings.Contains(f.Cure, "audit close -class vpn -spool "+testSpool) {
			t.Errorf("%+v", f)
		}
	}
}

// TestCloseApart: at each place, the spool is closed after its own chain's end. What one has and the other lacks stays owed until it is
// replayed; the chain does not grow by that.
func TestCloseApart(t *testing.T) {
	for _, deeply := range []bool{false, true} {
		p := newPlaces()
		running(t, p)
		r := p.audit(t)
		var id string
		for _, f := range r.Findings {
			if f.Code == audit.Behind {
				id = f.Spool
			}
		}
		only := func(o *audit.Options) { o.Class, o.Deep = "web", deeply }
		p.closeSpool(t, "web", id, nil, "idc", "s3")
		r = p.audit(t, only)
		wants(t, r, audit.Owed, audit.Behind)
		f := r.Findings[0]
		o := &audit.ReplayOptions{
			From: audit.Place{Name: "s3", Destination: p["s3"]}, To: audit.Place{Name: "idc", Destination: p["idc"]},
			Class: "web", Spool: id, First: f.First, Last: f.Last - 20,
		}
		if _, err := audit.Replay(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		r = p.audit(t, only)
		wants(t, r, audit.Owed, audit.Behind)
		if g := r.Findings[0]; g.First != f.Last-19 || g.Last != f.Last {
			t.Errorf("a part was replayed: %+v", g)
		}
		o.Last = 0
		if _, err := audit.Replay(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		wants(t, p.audit(t, only), audit.Closed)
		key := keysOf(p["idc"], func(k string) bool { return isData.MatchString(k) })
		last := key[len(key)-1]
		b := p["idc"].Bytes(last)
		b[len(b)-1] ^= 1
		p["idc"].Set(last, b)
		wants(t, p.audit(t, only), audit.Damaged, audit.ObjectAltered)
		p["idc"].Remove(last)
		wants(t, p.audit(t, only), audit.Owed, audit.Behind)
	}
}

// TestReopened: a closed spool that delivers again is a finding, even if its chain then becomes final, until somebody closes it again.
func TestReopened(t *testing.T) {
	p := newPlaces()
	id, dir := gone(t, p, nil)
	p.closeSpool(t, "vpn", id, nil, "idc", "s3")
	for _, final := range []bool{false, true} {
		x := send(t, dir, "vpn", "host-b", p.destinations(), nil)
		x.segments(1)
		x.flush()
		want := []string{audit.Reopened, audit.Open}
		if final {
			x.finalize("idc", "s3")
			want = want[:1]
		}
		x.end()
		r := p.audit(t)
		wants(t, r, audit.Owed, want...)
		for _, f := range r.Findings {
			if f.Code == audit.Reopened && (f.First != 61 && f.First != 81 || f.Last < f.First || !strings.Contains(f.Detail, "ops@noc") || !strings.Contains(f.Other, "/closed/")) {
				t.Errorf("%+v", f)
			}
		}
		p.closeSpool(t, "vpn", id, nil, "idc", "s3")
		wants(t, p.audit(t), map[bool]audit.Verdict{false: audit.Closed, true: audit.Complete}[final])
	}
}

// TestCloseSigned: if chains are signed, nobody can close a spool without a key.
func TestCloseSigned(t *testing.T) {
	key, other := newKey(1), newKey(2)
	p := newPlaces()
	id, _ := gone(t, p, func(o *ship.Options) { o.Signer = key })
	keys := func(o *audit.Options) { o.Keys = []ed25519.PublicKey{public(key)} }
	o := &audit.CloseOptions{Class: "vpn", Spool: id, By: "x", Reason: "y", Places: []audit.Place{{Destination: p["idc"]}}}
	if _, err := audit.Close(t.Context(), o); !errors.Is(err, audit.ErrOptions) || !strings.Contains(err.Error(), "Signer") {
		t.Errorf("without a signer: %v", err)
	}
	p.closeSpool(t, "vpn", id, other, "idc", "s3")
	wants(t, p.audit(t, keys), audit.Damaged, audit.ClosingWrong, audit.Open)
	forged := keysOf(p["idc"], isClosing.MatchString)[0]
	c, err := ship.DecodeClosing(bytes.NewReader(p["idc"].Bytes(forged)), forged)
	if err != nil {
		t.Fatal(err)
	}
	c.Signature = nil
	b, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	p["idc"].Set(c.Key(b), b)
	wants(t, p.audit(t, keys), audit.Damaged, audit.ClosingWrong, audit.Open)
	for _, at := range p {
		for _, k := range keysOf(at, isClosing.MatchString) {
			at.Remove(k)
		}
	}
	p.closeSpool(t, "vpn", id, key, "idc", "s3")
	wants(t, p.audit(t, keys), audit.Closed)
	// A forged closing beside it changes nothing.
	p["idc"].Set(c.Key(b), b)
	wants(t, p.audit(t, keys), audit.Damaged, audit.ClosingWrong)
}

// TestClosingWrong damages a closing, or the chain that it closes: the closing then closes nothing, and is reported.
func TestClosingWrong(t *testing.T) {
	p := newPlaces()
	id, _ := gone(t, p, nil)
	p.closeSpool(t, "vpn", id, nil, "idc", "s3")
	base, at := p.clone(), p["idc"]
	key := keysOf(at, isClosing.MatchString)[0]
	good := at.Bytes(key)
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1 << (i % 8)
		at.Set(key, b)
		wants(t, p.audit(t), audit.Damaged, audit.ClosingWrong, audit.Open)
	}
	at.Set(key, good[:len(good)/2])
	wants(t, p.audit(t), audit.Damaged, audit.ClosingWrong, audit.Open)

	// Another place's.
	p = base.clone()
	at = p["idc"]
	there := keysOf(p["s3"], isClosing.MatchString)[0]
	at.Remove(key)
	at.Set(there, p["s3"].Bytes(there))
	wants(t, p.audit(t), audit.Damaged, audit.ClosingWrong, audit.Open)
	c, err := ship.DecodeClosing(bytes.NewReader(p["s3"].Bytes(there)), there)
	if err != nil {
		t.Fatal(err)
	}
	at.Remove(there)
	c.Number += 5 // of a chain that is longer than this one
	b, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	at.Set(c.Key(b), b)
	wants(t, p.audit(t), audit.Damaged, audit.ClosingWrong, audit.Open)

	// The end that it names was cut off, alone and with everything.
	p = base.clone()
	at = p["idc"]
	manifests := keysOf(at, isManifest.MatchString)
	at.Remove(manifests[len(manifests)-1])
	wants(t, places{"idc": at}.audit(t), audit.Damaged, audit.ChainCut, audit.Open, audit.Uncovered)
	for _, k := range at.Keys() {
		if !isClosing.MatchString(k) {
			at.Remove(k)
		}
	}
	wants(t, places{"idc": at}.audit(t), audit.Damaged, audit.ChainCut)

	// The manifest that it names was written again.
	p = base.clone()
	at = p["idc"]
	last := manifests[len(manifests)-1]
	m, err := ship.DecodeManifest(bytes.NewReader(at.Bytes(last)))
	if err != nil {
		t.Fatal(err)
	}
	m.Header.Instance = "somebody"
	if b, err = m.Encode(); err != nil {
		t.Fatal(err)
	}
	at.Set(last, b)
	wants(t, places{"idc": at}.audit(t), audit.Damaged, audit.ClosingWrong, audit.Open)
}

// TestClosedBeyond: an object that was sent but not yet covered when the spool was lost is reported with the verdict Closed. Only the
// object itself shows what it holds.
func TestClosedBeyond(t *testing.T) {
	p := places{"idc": shiptest.Memory()}
	c := newChain(t, p, "idc", nil).add(1, nil)
	line := c.put(c.segment+1, c.last+1, c.last+10)
	wants(t, p.audit(t, deep), audit.Owed, audit.Open, audit.Uncovered)
	p.closeSpool(t, "vpn", testSpool, nil, "idc")
	r := p.audit(t, deep)
	wants(t, r, audit.Closed, audit.Uncovered)
	if f := r.Findings[0]; f.Key != line.Key || f.Verdict != audit.Closed || !strings.Contains(f.Detail, "no manifest will ever vouch for it") {
		t.Errorf("%+v", f)
	}
	b := p["idc"].Bytes(line.Key)
	b[len(b)/2] ^= 1
	p["idc"].Set(line.Key, b)
	wants(t, p.audit(t, deep), audit.Damaged, audit.ObjectAltered)
}

// TestCloseRefuses: Close refuses a spool that need not be closed or has no chain, and an empty reason.
func TestCloseRefuses(t *testing.T) {
	p := finished(t)
	spool := strings.Split(keysOf(p["idc"], isManifest.MatchString)[0], "/")
	at := []audit.Place{{Name: "idc", Destination: p["idc"]}}
	for what, o := range map[string]*audit.CloseOptions{
		"is final":                   {Places: at, Class: spool[1], Spool: spool[2], By: "x", Reason: "y"},
		"nothing to close":           {Places: at, Class: "vpn", Spool: testSpool, By: "x", Reason: "y"},
		"By and Reason are required": {Places: at, Class: spool[1], Spool: spool[2], By: "x"},
		"Reason are required":        {Places: at, Class: spool[1], Spool: spool[2], By: "x", Reason: " \t"}, // as good as no reason
		"both are needed":            {Places: at, By: "x", Reason: "y"},
		"no place to audit":          {Class: spool[1], Spool: spool[2], By: "x", Reason: "y"},
	} {
		if done, err := audit.Close(t.Context(), o); err == nil || len(done) > 0 || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v, %v", what, done, err)
		}
	}
	if _, err := audit.Close(t.Context(), nil); !errors.Is(err, audit.ErrOptions) {
		t.Error(err)
	}
	if slices.ContainsFunc(p["idc"].Keys(), isClosing.MatchString) {
		t.Error("something was closed")
	}
}
