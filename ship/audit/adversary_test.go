package audit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
)

// renamed cuts off the end of a chain and continues it under another name for the place, after record last of segment n,
// as if the sender had joined there.
func renamed(c *chain, n, last uint64, change func(*ship.Manifest)) {
	c.dest, c.last, c.segment = "colo", last, n
	c.next(2, change)
}

// TestRenamedForgery: a forger who cuts off the end of a chain cannot hide it by giving the place another name.
func TestRenamedForgery(t *testing.T) {
	for _, c := range []struct {
		what  string
		heads bool
		forge func(c *chain)
		codes []string
	}{
		{"heads of the name before", true, func(c *chain) { renamed(c, 6, 40, joined(6, 41)); c.add(0, final) }, []string{audit.ChainCut}},
		{"no heads, records skipped by the number of their segment", false, func(c *chain) {
			renamed(c, 6, 20, nil)
			c.add(0, final)
		}, []string{audit.PlacesDiffer}},
	} {
		t.Run(c.what, func(t *testing.T) {
			p := newPlaces()
			newChain(t, p, "s3", nil).add(6, nil).add(0, final)
			x := newChain(t, p, "idc", nil).add(2, nil)
			cut := *x
			x.add(4, nil).add(0, final)
			if c.heads {
				x.head(p["s3"], 0, true)
			}
			for n := uint64(2); n < 4; n++ {
				p["idc"].Remove(object.ManifestKey("vpn", testSpool, 1, n))
			}
			for _, key := range p["idc"].Keys() {
				if isData.MatchString(key) && strings.Split(key, "-")[4] > fmt.Sprintf("%016x", 20) {
					p["idc"].Remove(key)
				}
			}
			c.forge(&cut)
			wants(t, p.audit(t), audit.Damaged, c.codes...)
		})
	}
}

// TestSwappedNames: two places whose names were swapped, with heads from before and after, give no finding.
func TestSwappedNames(t *testing.T) {
	p := newPlaces()
	a, b := newChain(t, p, "s3", nil).add(4, nil), newChain(t, p, "idc", nil).add(4, nil)
	a.head(p["idc"], 0, false)
	b.head(p["s3"], 0, false)
	for _, c := range []*chain{a, b} {
		c.dest = map[string]string{"s3": "idc", "idc": "s3"}[c.dest]
		c.next(2, joined(4, 31)).add(2, nil).add(0, final)
	}
	a.head(p["idc"], 0, true)
	b.head(p["s3"], 0, true)
	wants(t, p.audit(t, deep), audit.Complete)
}

// TestHeadsAlone: a spool is not overlooked if all that a place has of it is a head of another place.
func TestHeadsAlone(t *testing.T) {
	p := newPlaces()
	c := newChain(t, p, "s3", nil).add(4, nil)
	c.head(p["idc"], 0, false)
	c.add(0, final).head(p["idc"], 0, true)
	delete(p, "s3")
	x := send(t, t.TempDir(), "web", "host", p.destinations(), nil)
	x.segments(1)
	x.finalize("idc")
	x.end()
	r := p.audit(t)
	wants(t, r, audit.Owed, audit.Absent)
	if len(r.Findings) != 1 || r.Findings[0].Spool != testSpool || r.Findings[0].Last != 30 {
		t.Errorf("%+v", r.Findings)
	}
}

// TestNumbersOutOfRange: keys with numbers that no sender writes are reported, and cause no endless loop.
func TestNumbersOutOfRange(t *testing.T) {
	p := newPlaces()
	newChain(t, p, "s3", nil).add(2, nil).add(0, final)
	newChain(t, p, "idc", nil).add(2, nil).add(0, final)
	for _, key := range []string{
		object.ManifestKey("vpn", testSpool, 1, 1<<64-1), object.ManifestKey("vpn", testSpool, 1, 1e12),
		object.ManifestKey("vpn", testSpool, 1e6, 0), object.HeadKey("vpn", testSpool, 1, "s3", 1e12),
	} {
		p["idc"].Set(key, []byte("{}"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := audit.Run(ctx, &audit.Options{Places: []audit.Place{{Name: "idc", Destination: p["idc"]}}})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, audit.Damaged, audit.ObjectUnknown)
	if len(r.Findings) != 4 {
		t.Errorf("%+v", r.Findings)
	}
}

// TestResumeOfLess: an audit does not continue one that looked for fewer objects than it does.
func TestResumeOfLess(t *testing.T) {
	for what, less := range map[string]func(*audit.Options){
		"one hour":  func(o *audit.Options) { o.Hour = time.Now().Add(-100 * time.Hour) },
		"retention": func(o *audit.Options) { o.Since = time.Now().Add(time.Hour) },
	} {
		t.Run(what, func(t *testing.T) {
			p := finished(t)
			_, objects := longest(p)
			p["idc"].Set(objects[3], make([]byte, len(p["idc"].Bytes(objects[3]))))
			o := &audit.Options{Deep: true, Checkpoint: filepath.Join(t.TempDir(), "checkpoint")}
			less(o)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o.Places = []audit.Place{{Name: "idc", Destination: shiptest.Faulty(p["idc"], func(c shiptest.Call) shiptest.Fault {
				if c.Op == shiptest.List && strings.HasPrefix(c.Key, "class=") {
					cancel() // all chains were judged by then
				}
				return shiptest.Fault{}
			})}}
			if _, err := audit.Run(ctx, o); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			r, err := audit.Run(t.Context(), &audit.Options{
				Places: []audit.Place{{Name: "idc", Destination: p["idc"]}}, Deep: true, Checkpoint: o.Checkpoint,
			})
			if err != nil {
				t.Fatal(err)
			}
			wants(t, r, audit.Damaged, audit.ObjectAltered)
		})
	}
}

// forgetful is a store that answers without a checksum for what was put there by other means.
type forgetful struct {
	*shiptest.MemoryDestination
	keys []string
}

func (f forgetful) Stat(ctx context.Context, key string) (ship.Receipt, error) {
	r, err := f.MemoryDestination.Stat(ctx, key)
	if slices.Contains(f.keys, key) {
		r.Checksum = ""
	}
	return r, err
}

// TestChecksumGone: if the receipt names the store's own checksum, an object that no longer has one is not judged by its
// size, and the others are still asked for theirs.
func TestChecksumGone(t *testing.T) {
	p := finished(t)
	_, objects := longest(p)
	altered := func(key string) {
		b := p["s3"].Bytes(key)
		b[len(b)/2] ^= 1
		p["s3"].Set(key, b)
	}
	altered(objects[0])
	altered(objects[9])
	r, err := audit.Run(t.Context(), &audit.Options{
		Places: []audit.Place{{Name: "s3", Destination: forgetful{p["s3"], []string{objects[0], objects[2]}}}}, Workers: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, audit.Damaged, audit.ObjectAltered)
	if len(r.Findings) != 2 || r.Findings[0].Key != objects[0] || r.Findings[1].Key != objects[9] {
		t.Errorf("%+v", r.Findings)
	}
}

// TestHourFilledAgain: a chain has passed an hour, and an object of that same hour is ahead of its end, because the clock
// was set back.
func TestHourFilledAgain(t *testing.T) {
	p := newPlaces()
	delete(p, "s3")
	c := newChain(t, p, "idc", nil).add(2, nil)
	c.add(0, func(m *ship.Manifest) { m.Footer.Passed = testTime.Add(2 * time.Hour) })
	hour := func(o *audit.Options) { o.Hour = testTime }
	wants(t, p.audit(t, hour), audit.Complete)
	c.put(3, 21, 30)
	wants(t, p.audit(t, hour), audit.Owed, audit.Uncovered)
}

// TestDamageFirst: what is owed does not crowd out what is damaged.
func TestDamageFirst(t *testing.T) {
	p := newPlaces()
	running(t, p)
	p["s3"].Set("class=vpn/stranger", nil) // the listing comes last
	r := p.audit(t, func(o *audit.Options) { o.MaxFindings = 1 })
	if len(r.Findings) != 1 || r.Findings[0].Code != audit.ObjectUnknown || r.Omitted == 0 {
		t.Errorf("%+v and %d more", r.Findings, r.Omitted)
	}
}

// TestEpochInFlight: if a spool was adopted while the audit ran, objects of the epoch before are owed.
func TestEpochInFlight(t *testing.T) {
	p := newPlaces()
	delete(p, "s3")
	x := send(t, t.TempDir(), "web", "host", p.destinations(), nil)
	x.segments(1)
	x.finalize("idc")
	x.end()
	d := shiptest.Faulty(p["idc"], func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.List && c.Key == "class=" {
			return shiptest.Fault{Before: func(context.Context) error {
				c := &chain{t: t, at: p["idc"], dest: "idc", spool: testSpool, data: "x", epoch: 1}
				c.next(2, joined(3, 21)) // the adopter's, to a destination that the owner before did not have
				c.put(4, 21, 30)         // its segment keeps the owner's epoch
				return nil
			}}
		}
		return shiptest.Fault{}
	})
	r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Name: "idc", Destination: d}}})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, audit.Owed, audit.Uncovered)
}

// TestReplayKey: a forged chain at the source cannot make Replay write anything but the object of its line.
func TestReplayKey(t *testing.T) {
	p := newPlaces()
	planted := object.ManifestKey("vpn", strings.Repeat("8", 26), 1, 0)
	newChain(t, p, "idc", nil)
	newChain(t, p, "s3", nil).add(2, func(m *ship.Manifest) {
		p["s3"].Set(planted, p["s3"].Bytes(m.Segments[0].Key))
		m.Segments[0].Key = planted
	})
	if _, err := replay(p, testSpool, 0, 0); !errors.Is(err, ship.ErrVerify) {
		t.Errorf("a line that names %s: %v", planted, err)
	}
	if p["idc"].Bytes(planted) != nil {
		t.Error("a stranger's chain has planted a manifest")
	}
}

// cutOff is a destination whose connection breaks in the middle of each first answer.
type cutOff struct {
	*shiptest.MemoryDestination
	seen map[string]bool
}

func (c cutOff) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	body, err := c.MemoryDestination.Open(ctx, key)
	if err != nil || c.seen[key] {
		return body, err
	}
	c.seen[key] = true
	return io.NopCloser(io.MultiReader(io.LimitReader(body, 100), broken{})), nil
}

type broken struct{}

// Read fails as net/http does where a body ends before its Content-Length.
func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestCutOff: if the connection breaks while a manifest is read, that is no damage to the manifest.
func TestCutOff(t *testing.T) {
	p := newPlaces()
	newChain(t, p, "s3", nil).add(0, final)
	r, err := audit.Run(t.Context(), &audit.Options{
		Places: []audit.Place{{Name: "s3", Destination: cutOff{p["s3"], map[string]bool{}}}}, Workers: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, audit.Complete)
}

// TestUnreadable: one object that cannot be read, for example because of a bad sector, neither ends the audit of the
// others nor counts as right or damaged. A place that does not answer at all ends the audit.
func TestUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces()
		newChain(t, p, "s3", nil).add(4, nil).add(0, final)
		newChain(t, p, "idc", nil).add(4, nil).add(0, final)
		key := fmt.Sprintf("class=vpn/dt=2026-11-22/hour=08/%s-000001-%016x-%016x.ndjson.gz", testSpool, 11, 20)
		other := strings.Replace(key, fmt.Sprintf("%016x-%016x", 11, 20), fmt.Sprintf("%016x-%016x", 21, 30), 1)
		p["idc"].Set(other, []byte("something else"))
		bad := errors.New("input/output error")
		run := func(ops ...shiptest.Op) (*audit.Result, error) {
			return audit.Run(t.Context(), &audit.Options{Deep: true, Places: []audit.Place{
				{Name: "idc", Destination: shiptest.Faulty(p["idc"], func(c shiptest.Call) shiptest.Fault {
					if c.Key == key && slices.Contains(ops, c.Op) {
						return shiptest.FailBefore(bad)
					}
					return shiptest.Fault{}
				})},
				{Name: "s3", Destination: p["s3"]},
			}})
		}
		r, err := run(shiptest.Open)
		if err != nil {
			t.Fatal(err)
		}
		wants(t, r, audit.Damaged, audit.ObjectAltered, audit.Unread)
		if f := r.Findings[1]; f.Key != key || f.Verdict != audit.Owed || !strings.Contains(f.Detail, bad.Error()) {
			t.Errorf("%+v", f)
		}
		if _, err := run(shiptest.Open, shiptest.Stat); !errors.Is(err, bad) {
			t.Errorf("a place that does not answer: %v", err)
		}
	})
}

// twice lists every object two times, as a directory may that is changed while it is read.
type twice struct{ *shiptest.MemoryDestination }

func (d twice) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		for e, err := range d.MemoryDestination.List(ctx, prefix) {
			for range 2 {
				if !yield(e, err) {
					return
				}
			}
		}
	}
}

// TestListedTwice: a name that is listed twice is one object.
func TestListedTwice(t *testing.T) {
	p := newPlaces()
	newChain(t, p, "s3", nil).add(4, nil).add(0, final).head(p["idc"], 0, true)
	newChain(t, p, "idc", nil).add(4, nil).add(0, final)
	r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Name: "idc", Destination: twice{p["idc"]}}, {Name: "s3", Destination: p["s3"]}}})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, audit.Complete)
}

// TestChainGoneAsksOnce: how many objects a spool without a chain has does not decide how often its chain is looked for.
func TestChainGoneAsksOnce(t *testing.T) {
	p := finished(t)
	spool, objects := longest(p)
	for _, key := range p["s3"].Keys() {
		if strings.HasPrefix(key, "_manifest/vpn/"+spool) {
			p["s3"].Remove(key)
		}
	}
	d := shiptest.Faulty(p["s3"], nil)
	r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Name: "s3", Destination: d}}, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, audit.Damaged, audit.ChainMissing)
	// Three listings of the audit itself, and one for each of three epochs.
	if n := d.Calls(shiptest.List); len(r.Findings) != len(objects) || n > 6 {
		t.Errorf("%d findings of %d objects, %d listings", len(r.Findings), len(objects), n)
	}
}

// breaking breaks off some of its listings after a few names.
type breaking struct {
	*shiptest.MemoryDestination
	breaks func(prefix string) bool
}

var errBroken = errors.New("connection reset")

func (d breaking) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		n := 0
		for e, err := range d.MemoryDestination.List(ctx, prefix) {
			if n++; n == 4 && d.breaks(prefix) {
				yield(ship.Entry{}, errBroken)
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// TestListingBreaks: a listing that breaks off is made again, and the names that it had already shown do not count as
// doubled. If it always breaks off, the audit fails.
func TestListingBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces()
		newChain(t, p, "s3", nil).add(4, nil).add(0, final)
		newChain(t, p, "idc", nil).add(2, nil).add(2, nil).add(0, final)
		run := func(times int) (*audit.Result, error) {
			broken := map[string]int{}
			var mu sync.Mutex
			return audit.Run(t.Context(), &audit.Options{Places: []audit.Place{
				{Name: "idc", Destination: breaking{p["idc"], func(prefix string) bool {
					mu.Lock()
					defer mu.Unlock()
					broken[prefix]++
					return broken[prefix] <= times
				}}},
				{Name: "s3", Destination: p["s3"]},
			}})
		}
		r, err := run(2)
		if err != nil {
			t.Fatal(err)
		}
		wants(t, r, audit.Complete)
		if _, err := run(1000); !errors.Is(err, errBroken) {
			t.Errorf("always: %v", err)
		}
	})
}
