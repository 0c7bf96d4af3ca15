package audit_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/segment"
)

// mutation is one damage to one place, and how it has to be named.
type mutation struct {
	what string
	// keys must each appear in a finding.
	keys []string
	// first, if not 0, is the sequence number that a finding must begin with.
	first uint64
	// owed: only the other place, which has more, can show it, so it is owed.
	owed bool
	// silent: it removes nothing that is needed for a proof.
	silent bool
	// deep: only reading the objects shows it.
	deep bool
}

// mutator damages one place.
type mutator struct {
	*rand.Rand
	t     *testing.T
	at    *shiptest.MemoryDestination
	other *shiptest.MemoryDestination
}

// TestMutations damages one of two places, in one way at a time. PENSTOCK_MUTATIONS sets how often.
func TestMutations(t *testing.T) {
	n := 210
	if s := os.Getenv("PENSTOCK_MUTATIONS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	base := finished(t)
	running(t, base)
	for _, f := range base.audit(t).Findings {
		if f.Code == audit.Open && f.Class == "vpn" && f.Place == "idc" {
			base.closeSpool(t, f.Class, f.Spool, nil, "idc", "s3")
		}
	}
	known := map[string]bool{}
	for _, f := range base.audit(t, deep).Findings {
		known[identity(f)] = true
	}
	kinds := []func(*mutator) mutation{
		(*mutator).delete, (*mutator).truncate, (*mutator).flip, (*mutator).duplicate, (*mutator).swap, (*mutator).rename,
		(*mutator).rollBack, (*mutator).cutTail, (*mutator).forge, (*mutator).rewrite, (*mutator).mix, (*mutator).reuse, (*mutator).alterLoss, (*mutator).skippable, (*mutator).alterEnd,
	}
	count := map[string]int{}
	for i := range n {
		m := &mutator{Rand: rand.New(rand.NewPCG(6, uint64(i))), t: t}
		p := base.clone()
		name, other := "idc", "s3"
		if m.IntN(2) == 0 {
			name, other = other, name
		}
		m.at, m.other = p[name], p[other]
		done := kinds[i%len(kinds)](m)
		count[strings.Fields(done.what)[0]]++
		isDeep := done.deep || m.IntN(4) == 0
		r := p.audit(t, func(o *audit.Options) { o.Deep = isDeep })
		if err := judge(r, known, name, done); err != nil {
			var text strings.Builder
			_ = r.WriteText(&text)
			t.Fatalf("mutation %d at %s: %s: %v\n%s", i, name, done.what, err, &text)
		}
	}
	t.Logf("%d mutations: %v", n, count)
}

// identity is a finding without the times that pass while a test runs.
func identity(f audit.Finding) string {
	f.Since = time.Time{}
	return fmt.Sprintf("%+v", f)
}

// judge compares the findings with what was done.
func judge(r *audit.Result, known map[string]bool, place string, done mutation) error {
	var news []audit.Finding
	worst := audit.Complete
	for _, f := range r.Findings {
		if known[identity(f)] {
			continue
		}
		news = append(news, f)
		if worst != audit.Damaged {
			worst = f.Verdict
		}
		// How much the other place is said to lack may change with what this one still has.
		if f.Place != place && !strings.HasPrefix(f.Other, place+": ") && f.Code != audit.Behind && f.Code != audit.Open {
			return fmt.Errorf("the other place is accused: %+v", f)
		}
	}
	for _, key := range done.keys {
		if !slices.ContainsFunc(news, func(f audit.Finding) bool { return f.Key == key || strings.HasSuffix(f.Other, ": "+key) }) {
			return fmt.Errorf("nothing is said of %s", key)
		}
	}
	if done.first != 0 && !slices.ContainsFunc(news, func(f audit.Finding) bool { return f.First == done.first && f.Place == place }) {
		return fmt.Errorf("nothing is said of record %d", done.first)
	}
	switch {
	case done.silent && len(news) > 0:
		return fmt.Errorf("that is no damage: %+v", news)
	case !done.silent && !done.owed && worst != audit.Damaged:
		return fmt.Errorf("no damage was found")
	case done.owed && len(news) == 0:
		return fmt.Errorf("nothing was found")
	}
	return nil
}

var (
	isData     = regexp.MustCompile(`^class=`)
	isManifest = regexp.MustCompile(`^_manifest/.*\.jsonl$`)
	isHead     = regexp.MustCompile(`/heads/`)
)

// pick chooses a key of a kind.
func (m *mutator) pick(kind *regexp.Regexp) string {
	keys := slices.DeleteFunc(m.at.Keys(), func(k string) bool { return !kind.MatchString(k) })
	return keys[m.IntN(len(keys))]
}

func (m *mutator) any() string {
	for {
		kind := []*regexp.Regexp{isData, isManifest, isManifest, isHead, isClosing}[m.IntN(5)]
		if slices.ContainsFunc(m.at.Keys(), kind.MatchString) {
			return m.pick(kind)
		}
	}
}

// chain returns the manifests of the chain that key is in, in all epochs, in order.
func (m *mutator) chain(key string) (keys []string) {
	prefix := strings.Join(strings.Split(key, "/")[:3], "/") + "/"
	for _, k := range m.at.Keys() {
		if strings.HasPrefix(k, prefix) && isManifest.MatchString(k) {
			keys = append(keys, k)
		}
	}
	return keys
}

func (m *mutator) manifest(key string) *ship.Manifest {
	got, err := ship.DecodeManifest(bytes.NewReader(m.at.Bytes(key)))
	if err != nil {
		m.t.Fatal(err)
	}
	return got
}

func (m *mutator) encode(x *ship.Manifest) []byte {
	b, err := x.Encode()
	if err != nil {
		m.t.Fatal(err)
	}
	return b
}

// lastOfOpen reports whether a manifest is the last one of a chain that is not final: no successor and no head vouch
// for it.
func (m *mutator) lastOfOpen(key string) bool {
	keys := m.chain(key)
	return key == keys[len(keys)-1] && !m.manifest(key).Footer.Final
}

// cut removes the last n manifests of a chain, and their objects too if all is set.
func (m *mutator) cut(what, key string, n int, all bool) mutation {
	keys := m.chain(key)
	n = min(n, len(keys)-1)
	cut := keys[len(keys)-n:]
	final := m.manifest(keys[len(keys)-1]).Footer.Final
	done := mutation{what: fmt.Sprintf("%s %d of %s", what, n, key)}
	for _, k := range cut {
		x := m.manifest(k)
		if done.first == 0 && len(x.Segments) > 0 {
			done.first = x.Segments[0].First
		}
		for _, s := range x.Segments {
			if all && s.Key != "" {
				m.at.Remove(s.Key)
			}
		}
		m.at.Remove(k)
	}
	if final {
		done.keys = cut[n-1:]
	} else {
		// Only the other place, or its objects, can show that the chain was once longer.
		done.owed = true
		done.silent = done.first == 0
	}
	return done
}

func (m *mutator) cutTail() mutation {
	return m.cut("cut-tail", m.pick(isManifest), 1+m.IntN(3), false)
}

func (m *mutator) rollBack() mutation {
	return m.cut("roll-back", m.pick(isManifest), 1+m.IntN(3), true)
}

func (m *mutator) delete() mutation {
	key := m.any()
	if isManifest.MatchString(key) && m.lastOfOpen(key) {
		return m.cut("delete", key, 1, false)
	}
	m.at.Remove(key)
	if isHead.MatchString(key) {
		return mutation{what: "delete " + key, silent: true} // heads are told at best effort: none is missed
	}
	if isClosing.MatchString(key) {
		return mutation{what: "delete " + key, owed: true} // and so is its spool again
	}
	return mutation{what: "delete " + key, keys: []string{key}}
}

func (m *mutator) truncate() mutation {
	key := m.any()
	b := m.at.Bytes(key)
	m.at.Set(key, b[:m.IntN(len(b))])
	return mutation{what: "truncate " + key, keys: []string{key}}
}

func (m *mutator) flip() mutation {
	key := m.any()
	b := m.at.Bytes(key)
	at := m.IntN(len(b))
	b[at] ^= 1 << m.IntN(8)
	m.at.Set(key, b)
	return mutation{what: fmt.Sprintf("flip %s at %d", key, at), keys: []string{key}}
}

// otherName returns a name that is free, of the same kind.
func (m *mutator) otherName(key string) (name string, owed bool) {
	digit := regexp.MustCompile(`[0-9]`)
	for {
		b := []byte(key)
		i := m.IntN(len(b))
		if !digit.Match(b[i : i+1]) {
			continue
		}
		b[i] = '0' + (b[i]-'0'+byte(1+m.IntN(9)))%10
		if m.at.Bytes(string(b)) == nil {
			return string(b), true
		}
	}
}

func (m *mutator) duplicate() mutation {
	key := m.any()
	name, owed := m.otherName(key)
	m.at.Set(name, m.at.Bytes(key))
	// An object ahead of an open chain is reported as owed, because it may still be in delivery.
	return mutation{what: "duplicate " + key + " as " + name, keys: []string{name}, owed: owed && isData.MatchString(key)}
}

func (m *mutator) rename() mutation {
	key := m.pick([]*regexp.Regexp{isData, isManifest}[m.IntN(2)])
	name, _ := m.otherName(key)
	m.at.Set(name, m.at.Bytes(key))
	m.at.Remove(key)
	return mutation{what: "rename " + key + " to " + name, keys: []string{name}}
}

func (m *mutator) swap() mutation {
	kind := []*regexp.Regexp{isData, isManifest}[m.IntN(2)]
	x, y := m.pick(kind), m.pick(kind)
	for x == y {
		y = m.pick(kind)
	}
	b := m.at.Bytes(x)
	m.at.Set(x, m.at.Bytes(y))
	m.at.Set(y, b)
	return mutation{what: "swap " + x + " and " + y, keys: []string{x, y}}
}

// reuse puts the content of another object of the same spool under a key.
func (m *mutator) reuse() mutation {
	for {
		x, y := m.pick(isData), m.pick(isData)
		if x != y && strings.Split(x, "-")[3] == strings.Split(y, "-")[3] {
			m.at.Set(y, m.at.Bytes(x))
			return mutation{what: "reuse " + x + " as " + y, keys: []string{y}}
		}
	}
}

// skippable adds to an object what readers of its codec leave out.
func (m *mutator) skippable() mutation {
	key := m.pick(isData)
	m.at.Set(key, append(m.at.Bytes(key), "\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"...))
	return mutation{what: "skippable " + key, keys: []string{key}}
}

// alterEnd changes a byte of a chain's last manifest, in its footer or its header: no other manifest names its hash.
func (m *mutator) alterEnd() mutation {
	keys := m.chain(m.pick(isManifest))
	key := keys[len(keys)-1]
	b := m.at.Bytes(key)
	from, to := 0, bytes.IndexByte(b, '\n')
	if m.IntN(2) == 0 {
		from, to = bytes.LastIndex(b, []byte(`{"type":"footer"`)), len(b)
	}
	at := from + m.IntN(to-from)
	b[at] ^= 1 << m.IntN(8)
	m.at.Set(key, b)
	return mutation{what: fmt.Sprintf("alter-end %s at %d", key, at), keys: []string{key}}
}

// forge writes a manifest again, in due form, with one line altered.
func (m *mutator) forge() mutation {
	for {
		key := m.pick(isManifest)
		x := m.manifest(key)
		if len(x.Segments) == 0 || x.Segments[0].Key == "" || m.lastOfOpen(key) && m.other.Bytes(key) == nil {
			continue
		}
		s := &x.Segments[m.IntN(len(x.Segments))]
		what := m.IntN(6)
		switch what {
		case 0:
			s.Bytes++
		case 1:
			s.Gaps = append(s.Gaps, segment.Range{First: s.Last, Last: s.Last})
			s.Records--
		case 2:
			s.RawSHA256 = strings.Repeat("ab", 32)
		case 3:
			s.MaxTime = s.MaxTime.Add(time.Second)
		case 4:
			s.Size++
		case 5:
			s.Receipt.Size++
		}
		m.at.Set(key, m.encode(x))
		done := mutation{what: fmt.Sprintf("forge %s (%d)", key, what), keys: []string{key}, deep: true}
		if what == 5 && m.lastOfOpen(key) {
			done.keys = []string{s.Key} // a receipt is only here: its object shows that it is wrong
		}
		return done
	}
}

// alterLoss changes a count of lost records.
func (m *mutator) alterLoss() mutation {
	for {
		key := m.pick(isManifest)
		x := m.manifest(key)
		if len(x.Losses) == 0 || m.lastOfOpen(key) && m.other.Bytes(key) == nil {
			continue
		}
		x.Losses[0].Lost[m.IntN(3)].Records++
		m.at.Set(key, m.encode(x))
		return mutation{what: "alter-loss " + key, keys: []string{key}}
	}
}

// covers reports whether the chain of key at a place reaches a record: only then another place's line can be compared.
func (m *mutator) covers(at *shiptest.MemoryDestination, key string, last uint64) bool {
	here := &mutator{t: m.t, at: at}
	keys := here.chain(key)
	return len(keys) > 0 && here.manifest(keys[len(keys)-1]).Footer.Last >= last
}

// rewrite alters a line and rewrites every manifest after it, so that the chain fits together again.
func (m *mutator) rewrite() mutation {
	for {
		keys := m.chain(m.pick(isManifest))
		i := m.IntN(len(keys))
		x := m.manifest(keys[i])
		if len(x.Segments) == 0 || m.other.Bytes(keys[i]) == nil || !m.covers(m.other, keys[i], x.Segments[0].Last) {
			continue
		}
		x.Segments[0].Bytes++
		m.at.Set(keys[i], m.encode(x))
		for _, k := range keys[i+1:] {
			y := m.manifest(k)
			y.Header.Prev = fmt.Sprintf("%x", x.Hash)
			m.at.Set(k, m.encode(y))
			x = y
		}
		return mutation{what: "rewrite from " + keys[i], keys: keys[i : i+1]}
	}
}

// mix puts another spool's lines into a manifest.
func (m *mutator) mix() mutation {
	for {
		x, y := m.pick(isManifest), m.pick(isManifest)
		a, b := m.manifest(x), m.manifest(y)
		if a.Header.Spool == b.Header.Spool || len(b.Segments) == 0 {
			continue
		}
		a.Segments, a.Losses, a.Header.PrevLast, a.Header.Joined = b.Segments, nil, b.Header.PrevLast, 0
		a.Footer.Segment, a.Footer.Last = b.Footer.Segment, b.Footer.Last
		m.at.Set(x, m.encode(a))
		return mutation{what: "mix " + y + " into " + x, keys: []string{x}}
	}
}
