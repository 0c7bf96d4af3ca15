package audit_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/segment"
)

// checker is the example that was written from MANIFEST.md alone.
const checker = "../../examples/checker/check.mjs"

// rehashed are changes whose hashes were made to fit again, or that give sound bytes another name.
var rehashed = regexp.MustCompile(`^(rewrite|(duplicate|rename) class=)`)

// checked is what one directory was made of, and what the auditor says of it.
type checked struct {
	what       string
	audit      *audit.Result
	decodeOnly bool // only decoding the records shows it, which the example does not do
}

// TestChecker: the checker that was written from MANIFEST.md judges a directory as the auditor does, after random histories and
// random damage. PENSTOCK_CHECKED sets how many directories.
func TestChecker(t *testing.T) {
	node := nodePath(t)
	n := 66
	if s := os.Getenv("PENSTOCK_CHECKED"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	whole := finished(t)
	closed := finished(t)
	id, _ := gone(t, closed, nil)
	closed.closeSpool(t, "vpn", id, nil, "idc", "s3")
	open := closed.clone()
	running(t, open)
	kinds := []func(*mutator) mutation{
		(*mutator).delete, (*mutator).truncate, (*mutator).flip, (*mutator).duplicate, (*mutator).swap, (*mutator).rename, (*mutator).rollBack,
		(*mutator).cutTail, (*mutator).forge, (*mutator).rewrite, (*mutator).mix, (*mutator).reuse, (*mutator).alterLoss, (*mutator).skippable, (*mutator).alterEnd,
	}
	root := t.TempDir()
	all := map[string]*checked{}
	for i := range n {
		rng := rand.New(rand.NewPCG(11, uint64(i)))
		p := []places{whole, closed, open}[rng.IntN(3)].clone()
		c := &checked{what: anyHistory(t, rng, p)}
		if k := i % (len(kinds) + 8); k < len(kinds) { // the others stay as they are
			done := kinds[k](&mutator{Rand: rng, t: t, at: p["idc"], other: p["s3"]})
			c.what += "; " + done.what
			c.decodeOnly = done.deep || rehashed.MatchString(done.what)
		}
		dir := filepath.Join(root, fmt.Sprint(i))
		c.audit = auditDirectory(t, dir, p["idc"])
		all[dir] = c
	}
	for what, do := range told {
		p := whole.clone()
		c := newChain(t, places{"idc": p["idc"]}, "idc", nil).add(3, nil)
		do(t, c)
		dir := filepath.Join(root, strings.ReplaceAll(what, " ", "-"))
		all[dir] = &checked{what: what, audit: auditDirectory(t, dir, p["idc"])}
	}
	found := runChecker(t, node, slices.Sorted(maps.Keys(all)))
	count := map[audit.Verdict]int{}
	for dir, c := range all {
		count[c.audit.Verdict]++
		if err := c.compare(dir, found[dir]); err != nil {
			var text strings.Builder
			_ = c.audit.WriteText(&text)
			t.Errorf("%s: %s: %v\nthe checker:\n%s\nthe auditor:\n%s", dir, c.what, err, strings.Join(found[dir], "\n"), &text)
		}
	}
	t.Logf("%d directories: %v", n, count)
	for _, v := range []audit.Verdict{audit.Complete, audit.Closed, audit.Owed, audit.Damaged} {
		if count[v] == 0 {
			t.Errorf("no directory was %s", v)
		}
	}
}

// compare compares the checker's findings with the auditor's.
func (c *checked) compare(dir string, lines []string) error {
	if len(lines) == 0 {
		return fmt.Errorf("it says nothing")
	}
	verdicts := []audit.Verdict{audit.Complete, audit.Closed, audit.Owed, audit.Damaged}
	verdict := audit.Verdict(strings.TrimPrefix(lines[len(lines)-1], dir+": "))
	rank := slices.Index(verdicts, verdict)
	if verdict != c.audit.Verdict && (!c.decodeOnly || rank < 0 || rank > slices.Index(verdicts, c.audit.Verdict)) {
		return fmt.Errorf("it says %q, the auditor %q", verdict, c.audit.Verdict)
	}
	for _, f := range c.audit.Findings {
		if c.decodeOnly || f.Code != audit.ObjectMissing && f.Code != audit.ObjectAltered && f.Code != audit.ObjectUnknown && f.Code != audit.ChainMissing {
			continue
		}
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, dir+": damaged: "+f.Key+": ") }) {
			return fmt.Errorf("it does not name %s", f.Key)
		}
	}
	return nil
}

// told are histories in which only one fact decides the verdict.
var told = map[string]func(t *testing.T, c *chain){
	"an object after a final chain": func(t *testing.T, c *chain) { c.add(0, final).put(c.segment+1, c.last+1, c.last+10) },
	"an object after an open chain": func(t *testing.T, c *chain) { c.put(c.segment+1, c.last+1, c.last+10) },
	"an altered signature at the end": func(t *testing.T, c *chain) {
		c.add(0, func(m *ship.Manifest) {
			final(m)
			if err := m.Sign(newKey(1)); err != nil {
				t.Fatal(err)
			}
			m.Signature.Signature = strings.Repeat("0", 128)
		})
	},
	"an altered header at the end": func(t *testing.T, c *chain) {
		c.add(0, final)
		for _, key := range c.at.Keys() {
			if b := c.at.Bytes(key); isManifest.MatchString(key) && strings.Contains(key, testSpool) && bytes.Contains(b, []byte(`"final"`)) {
				c.at.Set(key, bytes.Replace(b, []byte(`"instance":"host"`), []byte(`"instance":"hose"`), 1))
			}
		}
	},
	"an object that is not owed": func(t *testing.T, c *chain) {
		c.put(c.segment+2, c.last+11, c.last+20)
		c.next(2, joined(c.segment+5, c.last+41)).add(1, final)
	},
	"an object that is owed in part": func(t *testing.T, c *chain) {
		c.put(c.segment+2, c.last+31, c.last+50)
		c.next(2, joined(c.segment+5, c.last+41)).add(1, final)
	},
	"records left out": func(t *testing.T, c *chain) {
		c.last += 10
		c.add(1, final)
	},
	"reopened": func(t *testing.T, c *chain) {
		places{"idc": c.at}.closeSpool(t, "vpn", c.spool, nil, "idc")
		c.add(1, final)
	},
	"closed, and a head names more": func(t *testing.T, c *chain) {
		places{"idc": c.at}.closeSpool(t, "vpn", c.spool, nil, "idc")
		c.dest = "colo"
		c.head(c.at, 10, false)
	},
	"a head without its seal": func(t *testing.T, c *chain) {
		c.add(0, final)
		c.dest = "colo"
		c.head(c.at, 0, true)
		for _, key := range c.at.Keys() {
			if b := c.at.Bytes(key); isHead.MatchString(key) && bytes.Contains(b, []byte(testSpool)) {
				c.at.Set(key, bytes.Replace(b, []byte("08:00"), []byte("09:00"), 1))
			}
		}
	},
	"an object that two lines state differently": func(t *testing.T, c *chain) {
		b := c.branch(1, "x", c.segment, c.last)
		c.format, b.format = format.Lines, format.Lines // decoding the object shows no times
		last := c.last + 10
		c.whole(last, nil).add(0, final)
		b.whole(last, func(m *ship.Manifest) { m.Segments[0].MinTime = testTime.Add(-1) }).add(0, final)
	},
	"closed": func(t *testing.T, c *chain) { places{"idc": c.at}.closeSpool(t, "vpn", c.spool, nil, "idc") },
	"final":  func(t *testing.T, c *chain) { c.add(0, final) },
}

// anyHistory gives a place another spool with a random history, and tells it.
func anyHistory(t *testing.T, rng *rand.Rand, p places) (told string) {
	at := places{"idc": p["idc"]}
	c := &chain{t: t, at: at["idc"], dest: "idc", spool: spoolID(rng), data: "x", epoch: uint32(1 + rng.IntN(2))}
	key := newKey(byte(rng.IntN(9)))
	change := func(f func(*ship.Manifest)) func(*ship.Manifest) {
		sign := rng.IntN(2) == 0
		return func(m *ship.Manifest) {
			if f != nil {
				f(m)
			}
			if sign {
				if err := m.Sign(key); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	step := func(what string) { told += " " + what }
	if rng.IntN(3) == 0 {
		step("joined")
		c.add(0, change(joined(5, 31)))
	} else {
		c.add(0, change(nil))
	}
	for range rng.IntN(6) {
		switch rng.IntN(8) {
		case 0:
			step("final")
			c.add(0, change(final)).next(c.epoch+1, change(nil))
		case 1:
			step("adopted")
			c.add(1, change(closedBy(c.epoch+2))).next(c.epoch+2+uint32(rng.IntN(2)), change(nil))
		case 2:
			step("renamed")
			c.dest += "2"
			c.next(c.epoch+1, change(nil))
		case 3:
			step("damaged")
			c.add(0, change(func(m *ship.Manifest) {
				lost := segment.Range{First: c.last + 1, Last: c.last + 3}
				m.Segments = append(m.Segments, ship.SegmentLine{Segment: c.segment + 1, First: lost.First, Last: lost.Last, Gaps: []segment.Range{lost}})
				m.Footer.Segment, m.Footer.Last = c.segment+1, lost.Last
			}))
		case 4:
			step("given up and taken back")
			c.next(c.epoch+1, change(joined(c.segment+2, c.last+11)))
		default:
			step("more")
			c.add(1+rng.IntN(4), change(nil))
		}
	}
	if rng.IntN(4) == 0 {
		step(wrong(rng, c))
	}
	dest := c.dest
	switch rng.IntN(6) {
	case 0:
		step("head elsewhere")
		c.dest = "colo"
		c.head(at["idc"], uint64(rng.IntN(2)), false)
	case 1:
		step("head of its own")
		c.head(at["idc"], 0, false)
	}
	c.dest = dest
	switch rng.IntN(4) {
	case 0:
		step("open")
	case 1:
		step("closed")
		at.closeSpool(t, "vpn", c.spool, key, "idc")
		if rng.IntN(3) == 0 {
			step("reopened")
			c.add(1, change(nil))
		}
	default:
		step("final")
		c.add(0, change(final))
	}
	return c.spool + told
}

// wrong adds a manifest in due form that a chain cannot have, and says which.
func wrong(rng *rand.Rand, c *chain) (what string) {
	switch rng.IntN(6) {
	case 5:
		c.hash, c.dest = [32]byte{}, c.dest+"3"
		c.next(c.epoch+1, nil).add(1, nil)
		return "begun again under another name"
	case 0:
		c.hash[3]++
		c.add(1, nil)
		return "wrong hash"
	case 1:
		c.last += 10
		c.segment++
		c.add(1, nil)
		return "records left out"
	case 2:
		c.add(0, final).add(1, nil)
		return "after the end"
	case 3:
		c.dest += "3"
		c.add(1, nil)
		return "of another destination"
	default:
		c.add(0, closedBy(c.epoch+3)).next(c.epoch+1, nil)
		return "before the epoch of the new owner"
	}
}

func spoolID(rng *rand.Rand) string {
	var b strings.Builder
	for range 26 {
		b.WriteByte("0123456789abcdefghijklmnopqrstuvwxyz"[rng.IntN(36)])
	}
	return b.String()
}

// auditDirectory writes what a place holds to a directory, and audits that.
func auditDirectory(t *testing.T, dir string, at *shiptest.MemoryDestination) *audit.Result {
	t.Helper()
	for _, key := range at.Keys() {
		file := filepath.Join(dir, filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, at.Bytes(key), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := fileship.New(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := audit.Run(t.Context(), &audit.Options{Deep: true, Places: []audit.Place{{Name: "idc", Destination: d}}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// runChecker returns what the checker prints about each directory.
func runChecker(t *testing.T, node string, dirs []string) map[string][]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), node, append([]string{checker}, dirs...)...).Output()
	if e, ok := err.(*exec.ExitError); err != nil && (!ok || len(e.Stderr) > 0) {
		t.Fatalf("%v: %s", err, e.Stderr)
	}
	found := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		dir, _, _ := strings.Cut(line, ": ")
		found[dir] = append(found[dir], strings.TrimSuffix(line, "\n"))
	}
	return found
}

// TestCheckerExits: the exit code is the worst verdict's, however a directory is written, and nothing that was not checked is complete.
func TestCheckerExits(t *testing.T) {
	node := nodePath(t)
	script, err := filepath.Abs(checker)
	if err != nil {
		t.Fatal(err)
	}
	p := places{"idc": shiptest.Memory()}
	newChain(t, p, "idc", nil).add(1, nil).add(0, final)
	dir := t.TempDir()
	auditDirectory(t, dir, p["idc"])
	for _, x := range []struct {
		args []string
		want int
	}{{[]string{dir}, 0}, {[]string{dir + "/"}, 0}, {[]string{dir + "//."}, 0}, {[]string{"."}, 0}, {[]string{".", t.TempDir()}, 3}, {nil, 2}, {[]string{dir + "/absent"}, 4}} {
		c := exec.CommandContext(t.Context(), node, append([]string{script}, x.args...)...)
		c.Dir = dir
		out, _ := c.CombinedOutput()
		if got := c.ProcessState.ExitCode(); got != x.want || len(out) == 0 {
			t.Errorf("%q: %d, want %d: %s", x.args, got, x.want, out)
		}
	}
}

// nodePath returns where node is.
func nodePath(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
	return node
}
