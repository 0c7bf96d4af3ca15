package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

func TestComplete(t *testing.T) {
	p := finished(t)
	for _, change := range []func(*audit.Options){func(*audit.Options) {}, deep} {
		r := p.audit(t, change)
		wants(t, r, audit.Complete)
		if len(r.Chains) != 8 || r.Objects != 2*(6+5+4+15) {
			t.Errorf("%d chains, %d objects", len(r.Chains), r.Objects)
		}
		for _, c := range r.Chains {
			if c.Records+c.Gaps != c.Last-c.First+1 || !c.Final || c.Records == 0 || c.Lost.Total().Records == 0 {
				t.Errorf("chain %+v", c)
			}
		}
	}
	one := places{"idc": p["idc"]}
	wants(t, one.audit(t), audit.Complete)
}

func TestOwed(t *testing.T) {
	p := finished(t)
	running(t, p)
	r := p.audit(t, deep)
	wants(t, r, audit.Owed, audit.Open, audit.Behind)
	for _, f := range r.Findings {
		if f.Code == audit.Behind && (f.Place != "idc" || f.First != 61 || f.Last != 120 || f.Since.IsZero()) {
			t.Errorf("%+v", f)
		}
	}
	// The place that is behind shows it by the head of the other one, if there is a later one than that of its birth.
	wants(t, places{"s3": p["s3"]}.audit(t), audit.Owed, audit.Open)
}

// TestNothing: an empty place, or a wrong prefix, proves nothing.
func TestNothing(t *testing.T) {
	wants(t, newPlaces().audit(t), audit.Owed)
}

func TestAbsent(t *testing.T) {
	p := newPlaces()
	running(t, p)
	p["idc"] = shiptest.Memory()
	r := p.audit(t)
	wants(t, r, audit.Owed, audit.Absent, audit.Open)
	for _, f := range r.Findings {
		if f.Code == audit.Absent && !strings.HasSuffix(f.Detail, "and there is none here") {
			t.Errorf("%q", f.Detail)
		}
	}
}

// TestChainGone: the objects and the other place's heads show that a chain was removed with all its manifests.
func TestChainGone(t *testing.T) {
	p := finished(t)
	var spool string
	for _, key := range p["idc"].Keys() {
		if !strings.HasPrefix(key, "_manifest/web/") {
			continue
		}
		if spool == "" {
			spool = strings.Split(key, "/")[2]
		}
		if strings.Contains(key, spool) {
			p["idc"].Remove(key)
		}
	}
	wants(t, p.audit(t), audit.Damaged, audit.ChainCut, audit.ChainMissing, audit.Absent)
}

// TestFinalWrong: a final manifest is wrong if the same epoch has more records elsewhere.
func TestFinalWrong(t *testing.T) {
	p := newPlaces()
	running(t, p)
	keys := slices.DeleteFunc(p["idc"].Keys(), func(k string) bool { return !strings.HasPrefix(k, "_manifest/web/") || !isManifest.MatchString(k) })
	m := &mutator{t: t, at: p["idc"]}
	last := keys[len(keys)-1]
	x := m.manifest(last)
	x.Footer.Final = true
	p["idc"].Set(last, m.encode(x))
	r := p.audit(t)
	wants(t, r, audit.Damaged, audit.FinalWrong, audit.Open)
}

func TestOptions(t *testing.T) {
	p := finished(t)
	r := p.audit(t, func(o *audit.Options) { o.Class = "web" })
	wants(t, r, audit.Complete)
	if len(r.Chains) != 4 {
		t.Errorf("%d chains of class web", len(r.Chains))
	}
	wants(t, p.audit(t, func(o *audit.Options) { o.Expect = []string{"host-a", "host-b", r.Chains[0].Spool} }), audit.Complete)
	wants(t, p.audit(t, func(o *audit.Options) { o.Expect = []string{"host-z"} }), audit.Owed, audit.NotAppeared)

	_, err := audit.Run(t.Context(), &audit.Options{
		Places: []audit.Place{{Destination: p["idc"]}, {Destination: p["idc"]}, {Destination: nowhere{}}}, Class: "A", Workers: -1, MaxFindings: -1,
	})
	for _, want := range []string{"same place", "cannot list", `class "A"`, "-1 requests", "-1 findings"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
	if _, err := audit.Run(t.Context(), nil); err == nil {
		t.Error("no place, and no error")
	}
}

type nowhere struct{ ship.Destination }

// TestSince: objects that a retention rule has deleted are not missed, but their chain is.
func TestSince(t *testing.T) {
	p := finished(t)
	now := func(o *audit.Options) { o.Since = time.Now().Add(time.Hour) }
	for _, key := range p["s3"].Keys() {
		if isData.MatchString(key) {
			p["s3"].Remove(key)
		}
	}
	wants(t, p.audit(t), audit.Damaged, audit.ObjectMissing)
	wants(t, p.audit(t, now), audit.Complete)
	for _, key := range p["s3"].Keys() {
		if isManifest.MatchString(key) {
			p["s3"].Remove(key)
			break
		}
	}
	if r := p.audit(t, now); r.Verdict != audit.Damaged {
		t.Error("a manifest is missing, and nothing is said")
	}
}

// TestHour: an hour is complete once every chain is final or has come to a later one.
func TestHour(t *testing.T) {
	p := finished(t)
	running(t, p)
	hour := func(back time.Duration) func(*audit.Options) {
		return func(o *audit.Options) { o.Hour = time.Now().Add(-back) }
	}
	wants(t, p.audit(t, hour(2*time.Hour)), audit.Complete)
	wants(t, p.audit(t, hour(-time.Hour)), audit.Owed, audit.HourOpen, audit.Open, audit.Behind)
}

// TestOmittedHours: places differ about segments of several hours, and the findings have no room for all. No hour counts as complete.
func TestOmittedHours(t *testing.T) {
	late := testTime.Add(4 * time.Hour)
	p := newPlaces()
	for place, data := range map[string]string{"idc": "x", "s3": "y"} {
		c := newChain(t, p, place, nil).by(data).add(2, nil)
		c.clock = late
		c.add(2, nil).add(0, final)
	}
	for _, hour := range []time.Time{testTime, late} {
		hourIs(t, "a difference", hour, audit.Damaged, func(change ...func(*audit.Options)) *audit.Result {
			return p.audit(t, append(change, func(o *audit.Options) { o.MaxFindings = 1 })...)
		})
	}
}

// TestMaxFindings: findings are bounded, and the rest counted.
func TestMaxFindings(t *testing.T) {
	p := finished(t)
	for _, key := range p["s3"].Keys() {
		if isData.MatchString(key) {
			p["s3"].Remove(key)
		}
	}
	r := p.audit(t, func(o *audit.Options) { o.MaxFindings = 7 })
	if len(r.Findings) != 7 || r.Omitted != 30-7 || r.Verdict != audit.Damaged {
		t.Errorf("%d findings, %d more, %s", len(r.Findings), r.Omitted, r.Verdict)
	}
	for _, c := range r.Chains {
		if c.Place == "s3" && c.Verdict != audit.Damaged {
			t.Errorf("%s lacks all its objects and is %s", c.Spool, c.Verdict)
		}
	}
}

// TestUnreachable: if a place cannot be asked, there is no verdict.
func TestUnreachable(t *testing.T) {
	p := finished(t)
	down := errors.New("down")
	for _, op := range []shiptest.Op{shiptest.List, shiptest.Open, shiptest.Stat} {
		f := shiptest.Faulty(p["idc"], func(c shiptest.Call) shiptest.Fault {
			if c.Op == op && c.N > 3 || c.Op == op && op == shiptest.List {
				return shiptest.FailBefore(ship.Permanent(down))
			}
			return shiptest.Fault{}
		})
		r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Name: "idc", Destination: f}, {Name: "s3", Destination: p["s3"]}}})
		if !errors.Is(err, down) || r != nil {
			t.Errorf("%s: %v, %v", op, r, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := audit.Run(ctx, &audit.Options{Places: []audit.Place{{Destination: p["idc"]}}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestLive audits again and again while spools live and end and live again: never damage.
func TestLive(t *testing.T) {
	p := newPlaces()
	dir := t.TempDir()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 8 {
			x := send(t, filepath.Join(dir, fmt.Sprint(i%2)), "vpn", fmt.Sprint("host-", i%3), p.destinations(), nil)
			x.segments(4)
			if i%3 == 0 {
				x.finalize("idc", "s3")
			}
			x.end()
		}
	}()
	audits := 0
	for live := true; live; audits++ {
		select {
		case <-done:
			live = false
		default:
		}
		if r := p.audit(t, func(o *audit.Options) { o.Deep = audits%8 == 0 }); r.Verdict == audit.Damaged {
			wants(t, r, audit.Owed)
			live = false
		}
	}
	<-done
	t.Logf("%d audits", audits)
}

// TestDirectories audits places that keep no checksums: sizes are compared, and contents with Deep. At a copy of a place
// that kept checksums, contents are always compared.
func TestDirectories(t *testing.T) {
	t.Run("delivered", func(t *testing.T) {
		directories(t, audit.Complete, nil, func(to map[string]ship.Destination) {
			x := send(t, t.TempDir(), "vpn", "host", to, nil)
			x.segments(5)
			x.finalize("idc", "s3")
			x.end()
		})
	})
	t.Run("copied", func(t *testing.T) {
		directories(t, audit.Damaged, []string{audit.ObjectAltered}, func(to map[string]ship.Destination) {
			for name, m := range finished(t) {
				for _, key := range m.Keys() {
					b := m.Bytes(key)
					if _, err := to[name].Put(t.Context(), ship.BytesObject(key, "x", b), section(b)); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	})
}

// directories fills two directories and damages them. verdict and codes are what an audit that is not deep finds of an
// object that was altered and has its size.
func directories(t *testing.T, verdict audit.Verdict, codes []string, fill func(map[string]ship.Destination)) {
	o := &audit.Options{}
	var dirs []string
	to := map[string]ship.Destination{}
	for _, name := range []string{"idc", "s3"} {
		dirs = append(dirs, t.TempDir())
		d, err := fileship.New(dirs[len(dirs)-1], nil)
		if err != nil {
			t.Fatal(err)
		}
		to[name] = d
		o.Places = append(o.Places, audit.Place{Name: name, Destination: d})
	}
	fill(to)
	run := func(deep bool) *audit.Result {
		o.Deep = deep
		r, err := audit.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	wants(t, run(false), audit.Complete)
	wants(t, run(true), audit.Complete)

	var keys []string
	for e, err := range o.Places[0].Destination.(ship.Lister).List(t.Context(), "class=") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, e.Key)
	}
	overwrite(t, dirs[0], keys[0], func(b []byte) []byte { b[len(b)/2] ^= 4; return b })
	wants(t, run(false), verdict, codes...)
	wants(t, run(true), audit.Damaged, audit.ObjectAltered)
	overwrite(t, dirs[0], keys[1], func(b []byte) []byte { return b[1:] })
	wants(t, run(false), audit.Damaged, audit.ObjectAltered)
	overwrite(t, dirs[1], keys[2], func([]byte) []byte { return nil })
	if r := run(false); r.Findings[len(r.Findings)-1].Key != keys[2] && r.Findings[0].Key != keys[2] {
		t.Errorf("%+v", r.Findings)
	}
}

func section(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

// overwrite changes a file at a directory's place.
func overwrite(t *testing.T, dir, key string, change func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(key))
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestJSON: the JSON has everything that the text has.
func TestJSON(t *testing.T) {
	p := newPlaces()
	running(t, p)
	r := p.audit(t)
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back audit.Result
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if back.Verdict != r.Verdict || len(back.Findings) != len(r.Findings) || back.Findings[0].Cure == "" {
		t.Errorf("%s", b)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if !strings.Contains(text.String(), f.Detail) || !strings.Contains(text.String(), f.Cure) {
			t.Errorf("the summary lacks %+v", f)
		}
	}
}

// Names at a destination cannot send control characters to the auditor's terminal.
func TestShownNames(t *testing.T) {
	evil := "x\n\ncomplete: all is well\x1b]0;\a\x9b2J\u202e"
	r := audit.Result{
		Verdict: audit.Damaged, Places: []string{evil}, Chains: []audit.ChainReport{{Place: evil, Class: "vpn"}},
		Findings: []audit.Finding{{Verdict: audit.Damaged, Code: audit.ObjectUnknown, Place: evil, Key: evil, Other: evil, Detail: evil, Cure: "nothing"}},
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "complete:") || !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q", line)
		}
	}
}
