package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// watch returns a Watcher of the places.
func (p places) watch(t testing.TB, change ...func(*audit.WatchOptions)) *audit.Watcher {
	t.Helper()
	o := &audit.WatchOptions{Options: audit.Options{Workers: 4}}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		o.Places = append(o.Places, audit.Place{Name: name, Destination: p[name]})
	}
	for _, f := range change {
		f(o)
	}
	w, err := audit.NewWatcher(o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// history is a random life of some spools at two places, with damage.
type history struct {
	*rand.Rand
	t testing.TB
	places
	spools  []*source
	removed []func() // puts something back
	copies  []map[string][]byte
	healthy bool // nothing is damaged
	log     []string
}

// source is a spool, and how far each place has got.
type source struct {
	id     string
	segs   []time.Time
	chains map[string]*chain
	sent   map[string]int
	final  map[string]bool
}

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{Rand: rand.New(rand.NewPCG(16, seed)), t: t, places: newPlaces(), healthy: seed%2 == 1}
	if seed%3 == 0 {
		// Copies of a volume, whose chains come key by key.
		x := mixed(t)
		if seed%4 < 2 {
			x.finalize()
		}
		for _, name := range []string{"idc", "s3"} {
			h.copies = append(h.copies, map[string][]byte{})
			for _, k := range x.places[name].Keys() {
				h.copies[len(h.copies)-1][k] = x.places[name].Bytes(k)
			}
		}
	}
	return h
}

// step does one random thing. content: only an audit that reads the same bytes again sees the change.
func (h *history) step(t *testing.T) (content bool) {
	name := []string{"idc", "s3"}[h.IntN(2)]
	at := h.places[name]
	keys := at.Keys()
	what := ""
	switch n := h.IntN(100); {
	case n < 8 && len(h.spools) < 2+2*h.IntN(2):
		what = "new spool"
		h.spool()
	case n < 20:
		time.Sleep(time.Duration(h.IntN(50)) * time.Minute)
		what = "clock"
	case n < 65 && len(h.spools) > 0:
		s := h.spools[h.IntN(len(h.spools))]
		what = h.deliver(t, s, name)
	case h.healthy && n >= 72 && n < 92:
		what = "everybody catches up"
		for _, s := range h.spools {
			for _, name := range []string{"idc", "s3"} {
				h.catchUp(t, s, name)
			}
		}
	case n < 72 && len(h.copies) > 0:
		what = "copy"
		i := h.IntN(2)
		at = h.places[[]string{"idc", "s3"}[i]]
		all := slices.Sorted(maps.Keys(h.copies[i]))
		n := 1 + h.IntN(4)
		if h.healthy {
			n = len(all)
		}
		for _, j := range h.Perm(len(all))[:min(len(all), n)] {
			k := all[j]
			at.Set(k, h.copies[i][k])
			what += " " + k
		}
	case h.healthy && n < 90:
	case n < 80 && len(keys) > 0:
		k := keys[h.IntN(len(keys))]
		b := at.Bytes(k)
		at.Remove(k)
		h.removed = append(h.removed, func() { at.Set(k, b) })
		what = "remove " + k
	case n < 84 && len(keys) > 0:
		k := keys[h.IntN(len(keys))]
		b := at.Bytes(k)
		at.Set(k, b[:len(b)-1])
		h.removed = append(h.removed, func() { at.Set(k, b) })
		what = "truncate " + k
	case n < 87 && len(keys) > 0:
		k := keys[h.IntN(len(keys))]
		b := at.Bytes(k)
		c := slices.Clone(b)
		c[h.IntN(len(c))] ^= 1 << h.IntN(8)
		at.Set(k, c)
		h.removed = append(h.removed, func() { at.Set(k, b) })
		what, content = "flip "+k, true
	case n < 90:
		// Beside another object: an idle hour has to wait for its turn.
		i := slices.IndexFunc(keys, isData.MatchString)
		if i < 0 {
			break
		}
		k := fmt.Sprintf("%s/%s-000001-%016x-%016x.ndjson.gz", path.Dir(keys[i]), strings.Repeat("z", 26), 1+h.IntN(50), 60)
		at.Set(k, []byte("x"))
		h.removed = append(h.removed, func() { at.Remove(k) })
		what = "stranger " + k
	case n < 92 && len(h.spools) > 0:
		s := h.spools[h.IntN(len(h.spools))]
		if c := s.chains[name]; c != nil && c.number > 0 && at.Bytes(object.ManifestKey("vpn", s.id, c.epoch, c.number-1)) != nil {
			o := &audit.CloseOptions{Places: []audit.Place{{Name: name, Destination: at}}, Class: "vpn", Spool: s.id, By: "ops", Reason: "gone"}
			_, err := audit.Close(t.Context(), o)
			what = fmt.Sprintf("close %s at %s: %v", s.id, name, err)
		}
	default:
		if n := len(h.removed); n > 0 {
			i := h.IntN(n)
			h.removed[i]()
			h.removed = slices.Delete(h.removed, i, i+1)
			what, content = "put back", true
		}
	}
	h.log = append(h.log, fmt.Sprintf("%s at %s: %s", time.Now().UTC().Format("15:04"), name, what))
	return content
}

// spool adds a spool.
func (h *history) spool() *source {
	s := &source{id: strings.Repeat(string(rune('a'+len(h.spools))), 26), chains: map[string]*chain{}, sent: map[string]int{}, final: map[string]bool{}}
	h.spools = append(h.spools, s)
	return s
}

// deliver continues the chain of a spool at one place.
func (h *history) deliver(t *testing.T, s *source, name string) string {
	c := s.chains[name]
	stamp := func(m *ship.Manifest) { m.Header.Time = time.Now().UTC() }
	if c == nil {
		c = &chain{t: t, at: h.places[name], dest: name, spool: s.id, data: "x", epoch: 1}
		s.chains[name] = c
		c.clock = time.Now().UTC()
		c.add(0, stamp)
		return "begin " + s.id
	}
	if s.final[name] {
		if h.IntN(4) > 0 {
			return "final already"
		}
		s.final[name] = false
		c.next(c.epoch+1, stamp)
		return fmt.Sprintf("epoch %d of %s", c.epoch, s.id)
	}
	switch h.IntN(10) {
	case 0:
		c.add(0, func(m *ship.Manifest) {
			stamp(m)
			m.Footer.Passed = time.Now().UTC().Truncate(time.Hour)
		})
		return "passed " + s.id
	case 1:
		if s.sent[name] == len(s.segs) {
			c.add(0, func(m *ship.Manifest) {
				stamp(m)
				m.Footer.Final = true
			})
			s.final[name] = true
			return "final " + s.id
		}
	case 2:
		other := map[string]string{"idc": "s3", "s3": "idc"}[name]
		c.head(h.places[other], 0, s.final[name])
		return "head of " + s.id
	}
	n := 1 + h.IntN(3)
	h.send(t, s, name, n)
	return fmt.Sprintf("%d segments of %s", n, s.id)
}

// catchUp brings a chain to the end of its spool, and past the last hour.
func (h *history) catchUp(t *testing.T, s *source, name string) {
	for s.chains[name] == nil {
		h.deliver(t, s, name)
	}
	if !s.final[name] {
		h.send(t, s, name, len(s.segs)-s.sent[name])
		s.chains[name].add(0, func(m *ship.Manifest) {
			m.Header.Time = time.Now().UTC()
			m.Footer.Passed = time.Now().UTC().Truncate(time.Hour)
		})
	}
}

// send delivers the next n segments of a spool to a place.
func (h *history) send(t *testing.T, s *source, name string, n int) {
	c := s.chains[name]
	for len(s.segs) < s.sent[name]+n {
		s.segs = append(s.segs, time.Now().UTC())
	}
	todo := s.segs[s.sent[name]:][:n]
	s.sent[name] += n
	c.add(0, func(m *ship.Manifest) {
		m.Header.Time = time.Now().UTC()
		for _, at := range todo {
			if c.segment++; c.segment%3 == 0 {
				var lost segment.Losses
				lost[segment.Reset] = segment.Loss{Records: c.segment, Bytes: 9}
				m.Losses = append(m.Losses, ship.LossLine{Segment: c.segment, After: c.last, Lost: lost})
				continue
			}
			c.clock = at
			m.Segments = append(m.Segments, c.put(c.segment, c.last+1, c.last+10))
			c.last += 10
		}
		m.Footer.Segment, m.Footer.Last = c.segment, c.last
	})
}

// essence is what two audits of the same bytes must agree on. The wording about an altered object may differ.
func essence(r *audit.Result) (all []string) {
	all = append(all, string(r.Verdict))
	for _, f := range r.Findings {
		all = append(all, fmt.Sprint(f.Verdict, f.Code, f.Place, f.Spool, f.Epoch, f.First, f.Last, f.Key, f.HourFrom, f.HourTo))
	}
	slices.Sort(all)
	for _, c := range r.Chains {
		b, err := json.Marshal(c)
		all = append(all, fmt.Sprintf("%s %v", b, err))
	}
	for _, h := range r.Hours {
		all = append(all, fmt.Sprintf("%+v", h))
	}
	return all
}

// TestWatcherAgrees: after every increment a Watcher says exactly what a full audit says about the same bytes, whatever was added,
// removed or put back meanwhile. It sees changes that only a second reading shows after its own full audit.
func TestWatcherAgrees(t *testing.T) {
	histories := 24
	if s := os.Getenv("PENSTOCK_HISTORIES"); s != "" {
		histories, _ = strconv.Atoi(s)
	}
	verdicts := map[audit.Verdict]int{}
	for seed := range histories {
		synctest.Test(t, func(t *testing.T) { agree(t, seed, verdicts) })
	}
	t.Logf("%d histories, hours: %v", histories, verdicts)
}

// agree compares a Watcher with full audits in one history. Its time begins in the hour of the test's chains.
func agree(t *testing.T, seed int, verdicts map[audit.Verdict]int) {
	time.Sleep(time.Until(testTime))
	h := newHistory(t, uint64(seed))
	for _, name := range []string{"idc", "s3"} {
		h.deliver(t, h.spool(), name) // a class without a chain has no folders
	}
	w := h.watch(t)
	for range 40 {
		content := h.step(t)
		if h.IntN(3) == 0 {
			content = h.step(t) || content
		}
		if content {
			audit.Forget(w)
		}
		s, err := w.Step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if h.healthy {
			audit.JumpSooner(w)
		}
		full := h.audit(t)
		got, want := essence(s.Result), essence(full)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("history %d:\n%s\nthe Watcher says, and a full audit does not:\n%s\na full audit says, and the Watcher does not:\n%s", seed,
				strings.Join(h.log, "\n"), strings.Join(without(got, want), "\n"), strings.Join(without(want, got), "\n"))
		}
		for _, h := range full.Hours {
			verdicts[h.Verdict]++
		}
	}
	h.hoursAgree(t, seed)
}

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// hoursAgree compares the hours of an audit with audits of each hour.
func (h *history) hoursAgree(t *testing.T, seed int) {
	t.Helper()
	full := h.audit(t)
	for _, hour := range full.Hours {
		if hour.Hour.Before(testTime.Add(-2*time.Hour)) || hour.Hour.After(time.Now().UTC().Add(2*time.Hour)) {
			continue
		}
		one := h.audit(t, func(o *audit.Options) { o.Hour, o.Class = hour.Hour, hour.Class })
		if one.Verdict != hour.Verdict || len(one.Hours) != 1 || one.Hours[0].Verdict != hour.Verdict {
			var text strings.Builder
			_ = one.WriteText(&text)
			t.Fatalf("history %d:\n%s\n%s is %s by the whole audit, and %s by its own\n%+v\n%s", seed, strings.Join(h.log, "\n"), hour.Hour, hour.Verdict, one.Verdict, full.Findings, &text)
		}
	}
}

// TestFinalAndBehind: a final chain at one place says nothing about records that its spool delivers to another place after it was
// opened again.
func TestFinalAndBehind(t *testing.T) {
	p := newPlaces()
	newChain(t, p, "idc", nil).add(2, nil).add(0, final)
	c := newChain(t, p, "s3", nil).add(2, nil).add(0, final)
	c.clock = testTime.Add(3 * time.Hour)
	c.next(2, nil).add(1, nil).add(1, nil).add(0, final)
	for back, want := range map[int]audit.Verdict{0: audit.Complete, 2: audit.Complete, 3: audit.Owed, 4: audit.Owed} {
		hour := testTime.Add(time.Duration(back) * time.Hour)
		if r := p.audit(t, func(o *audit.Options) { o.Hour = hour }); r.Verdict != want {
			t.Errorf("%v: %s, want %s: %+v", hour, r.Verdict, want, r.Findings)
		}
	}
}

// TestDamageOfAnotherHour: damage that can concern one hour only leaves the others complete.
func TestDamageOfAnotherHour(t *testing.T) {
	p := newPlaces()
	for _, name := range []string{"idc", "s3"} {
		c := newChain(t, p, name, nil).add(2, nil)
		for i := range 4 {
			c.clock = testTime.Add(time.Duration(i+1) * time.Hour)
			c.add(1, nil).add(1, nil)
		}
		c.add(0, final)
	}
	p["s3"].Remove(object.ManifestKey("vpn", testSpool, 1, 4)) // of 10 o'clock, and it may have had records of 9
	for i, want := range []audit.Verdict{audit.Complete, audit.Damaged, audit.Damaged, audit.Complete, audit.Complete} {
		hour := testTime.Add(time.Duration(i) * time.Hour)
		r := p.audit(t, func(o *audit.Options) { o.Hour = hour })
		if r.Verdict != want || len(r.Hours) != 1 || r.Hours[0].Verdict != want {
			t.Errorf("%v: %s, want %s: %+v", hour, r.Verdict, want, r.Findings)
		}
	}
}

// TestIdleHourHasItsTurn: an object in the folder of an idle hour of last month is found without a full audit.
func TestIdleHourHasItsTurn(t *testing.T) {
	p := finished(t)
	key := fmt.Sprintf("%s%s-000001-%016x-%016x.ndjson.gz", object.HourPrefix("vpn", object.HourOf(time.Now())-700), strings.Repeat("z", 26), 1, 2)
	w := p.watch(t)
	for n := range 1000 {
		s, err := w.Step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			p["s3"].Set(key, []byte("x"))
		}
		if s.Result.Verdict == audit.Damaged {
			t.Logf("found by increment %d", n)
			wants(t, s.Result, audit.Damaged, audit.ChainMissing)
			return
		}
	}
	t.Error("never found")
}

// TestWatcherAsksLittle: an increment in which nothing is new asks for no object and no document.
func TestWatcherAsksLittle(t *testing.T) {
	p := finished(t)
	running(t, p)
	var calls []shiptest.Call
	var mu sync.Mutex
	w := p.watch(t, func(o *audit.WatchOptions) {
		for i := range o.Places {
			o.Places[i].Destination = shiptest.Faulty(o.Places[i].Destination, func(c shiptest.Call) shiptest.Fault {
				mu.Lock()
				defer mu.Unlock()
				calls = append(calls, c)
				return shiptest.Fault{}
			})
		}
	})
	for n := range 3 {
		calls = nil
		if _, err := w.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, c := range calls {
			if n > 0 && c.Op != shiptest.List {
				t.Errorf("increment %d: %s %s", n, c.Op, c.Key)
			}
		}
	}
}

// TestWatcherRuns: checks what is announced, and when, while senders deliver, one of them dies, and something is removed.
func TestWatcherRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces()
		time.Sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour)))
		x := send(t, t.TempDir(), "vpn", "host-a", p.destinations(), patient)
		x.segments(2)
		x.flush()
		type news struct {
			audit.HourReport
			was audit.Verdict
			at  time.Time
		}
		var all []news
		var log bytes.Buffer
		w := p.watch(t, func(o *audit.WatchOptions) {
			o.Expect = []string{"host-a", "host-z"}
			o.FullInterval = 2 * time.Hour
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			o.Announce = func(h audit.HourReport, was audit.Verdict) { all = append(all, news{h, was, time.Now()}) }
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		hour := time.Now().Truncate(time.Hour)
		time.Sleep(time.Until(hour.Add(time.Hour)))
		synctest.Wait()
		if s := w.Status(); s.Result.Verdict != audit.Owed || len(s.Overdue) != 1 || s.Overdue[0].Name != "host-z" || s.Places[0].LastSuccess.IsZero() {
			t.Errorf("%+v", s)
		}
		// host-z has never appeared, so that no hour is complete.
		y := send(t, t.TempDir(), "vpn", "host-z", p.destinations(), patient)
		y.segments(1)
		y.flush()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		complete := slices.IndexFunc(all, func(n news) bool { return n.Hour.Equal(hour) && n.Verdict == audit.Complete })
		if complete < 0 || all[complete].at.Sub(hour.Add(time.Hour)) > time.Minute || all[complete].was != audit.Owed {
			t.Errorf("the hour was not announced within a minute: %+v", all)
		}
		// Damage is announced by the next increment.
		for _, key := range p["s3"].Keys() {
			if isData.MatchString(key) {
				p["s3"].Remove(key)
				break
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := all[len(all)-1]; n.Verdict != audit.Damaged || !n.Hour.Equal(hour) || !strings.Contains(log.String(), "code=object-missing destination=s3") {
			t.Errorf("the damage was not announced: %+v\n%s", n, &log)
		}
		// A sender that dies is overdue.
		y.end()
		time.Sleep(2*time.Hour + 10*time.Minute)
		synctest.Wait()
		s := w.Status()
		if len(s.Overdue) != 2 || s.Overdue[0].Instance != "host-z" || !strings.Contains(log.String(), "a collector is overdue") || s.Full.Before(hour.Add(time.Hour)) {
			t.Errorf("%+v, last full audit %v\n%s", s.Overdue, s.Full, &log)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		x.end()
	})
}

// TestWatcherFails: if a place cannot be asked, the last result stays, and Status says why.
func TestWatcherFails(t *testing.T) {
	p := finished(t)
	var faulty *shiptest.FaultyDestination
	w := p.watch(t, func(o *audit.WatchOptions) {
		faulty = shiptest.Faulty(o.Places[1].Destination, nil)
		o.Places[1].Destination = faulty
	})
	if _, err := w.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	faulty.SetPlan(func(shiptest.Call) shiptest.Fault {
		return shiptest.FailBefore(ship.Permanent(errors.New("no access")))
	})
	_, err := w.Step(t.Context())
	s := w.Status()
	if err == nil || s.Result.Verdict != audit.Complete || !strings.Contains(s.Err, "no access") || !strings.Contains(s.Places[1].Err, "no access") || s.Places[1].LastSuccess.Equal(s.Attempt) {
		t.Errorf("%v, %+v", err, s)
	}
	faulty.SetPlan(func(shiptest.Call) shiptest.Fault { return shiptest.Fault{} })
	if s, err := w.Step(t.Context()); err != nil || s.Err != "" || s.Places[1].Err != "" || !s.Places[1].LastSuccess.Equal(s.Attempt) {
		t.Errorf("%v, %+v", err, s)
	}
	if _, err := audit.NewWatcher(&audit.WatchOptions{Interval: -1}); !errors.Is(err, audit.ErrOptions) {
		t.Error(err)
	}
}

// TestStrayBesideChains: an object that is no document, beside the folders of spools, hides none of them from the increments.
func TestStrayBesideChains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // both judge by the hour, which may not end in between
		p := places{"idc": shiptest.Memory()}
		a := newChain(t, p, "idc", nil).add(1, nil).add(1, nil)
		b := &chain{t: t, at: p["idc"], dest: "idc", spool: strings.Repeat("b", 26), data: "x", epoch: 1}
		b.add(0, nil).add(1, nil).add(1, nil)
		p["idc"].Set("_manifest/vpn/0", []byte("x"))
		w := p.watch(t)
		for range 3 {
			s, err := w.Step(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, want := essence(s.Result), essence(p.audit(t)); !reflect.DeepEqual(got, want) {
				t.Fatalf("got %q\nwant %q", without(got, want), without(want, got))
			}
			audit.JumpSooner(w)
			a.add(1, nil)
		}
	})
}
