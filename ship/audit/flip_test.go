package audit_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
)

// small is one spool of one segment, encoded as said, and open if final is not set.
func small(t *testing.T, format, codec string, final bool) places {
	t.Helper()
	p := newPlaces()
	x := send(t, filepath.Join(t.TempDir(), "a"), "vpn", "host-a", p.destinations(), func(o *ship.Options) { o.Format, o.Codec = format, codec })
	x.segments(1)
	x.flush()
	if final {
		x.finalize("idc", "s3")
	}
	x.end()
	return p
}

func keysOf(m *shiptest.MemoryDestination, match func(string) bool) []string {
	return slices.DeleteFunc(m.Keys(), func(k string) bool { return !match(k) })
}

// alterations are what may happen to an object's bytes: a flipped bit at its beginning, at its end and in between, and
// what readers of its codec skip.
func alterations(b []byte, codec string, r *rand.Rand) (all [][]byte) {
	at := map[int]bool{}
	for i := range 20 {
		at[min(i, len(b)-1)], at[max(0, len(b)-1-i)], at[r.IntN(len(b))] = true, true, true
	}
	for i := range at {
		c := bytes.Clone(b)
		c[i] ^= 1 << r.IntN(8)
		all = append(all, c)
	}
	skipped := map[string]string{
		"zstd": "502a4d1804000000deadbeef", "lz4": "502a4d1804000000deadbeef", "s2": "fe010000" + "00",
		"gzip": "1f8b08000000000000ff0300" + "0000000000000000",
	}
	if more, err := hex.DecodeString(skipped[codec]); err == nil && len(more) > 0 {
		all = append(all, append(bytes.Clone(b), more...), append(bytes.Clone(more), b...))
	}
	return append(all, append(bytes.Clone(b), 0), b[:len(b)-1], nil)
}

// TestFlippedObjects alters an object of every codec and format. A deep audit names it, and the check that failed.
func TestFlippedObjects(t *testing.T) {
	isObject := func(k string) bool { return isData.MatchString(k) }
	for _, format := range format.Names() {
		for _, codec := range compress.Names() {
			t.Run(format+"."+codec, func(t *testing.T) {
				p := small(t, format, codec, true)
				at, key := p["idc"], keysOf(p["idc"], isObject)[0]
				good := at.Bytes(key)
				for _, bad := range alterations(good, codec, rand.New(rand.NewPCG(3, 3))) {
					at.Set(key, bad)
					r := p.audit(t, deep)
					if len(r.Findings) != 1 || r.Findings[0].Code != audit.ObjectAltered || r.Findings[0].Key != key || r.Findings[0].Place != "idc" {
						t.Fatalf("%x\nwas\n%x: %+v", bad, good, r.Findings)
					}
					if d := r.Findings[0].Detail; !strings.Contains(d, "its SHA-256 is") || !strings.Contains(d, "its CRC-64/NVME is") {
						t.Fatalf("it does not say which check failed: %s", d)
					}
				}
			})
		}
	}
}

// TestFlippedAhead alters an object that its place's chain does not name yet. No manifest vouches for it, so the audit
// says no more than that; if another place's chain names it, every alteration is detected.
func TestFlippedAhead(t *testing.T) {
	for _, format := range format.Names() {
		for _, codec := range compress.Names() {
			t.Run(format+"."+codec, func(t *testing.T) {
				p := small(t, format, codec, false)
				at := p["idc"]
				key := keysOf(at, func(k string) bool { return isData.MatchString(k) })[0]
				manifests := keysOf(at, func(k string) bool { return isManifest.MatchString(k) })
				at.Remove(manifests[len(manifests)-1])
				good := at.Bytes(key)
				about := func(p places) audit.Finding {
					t.Helper()
					r := p.audit(t, deep)
					i := slices.IndexFunc(r.Findings, func(f audit.Finding) bool { return f.Key == key && f.Place == "idc" })
					if i < 0 {
						t.Fatalf("nothing is said of %s: %+v", key, r.Findings)
					}
					if f := r.Findings[i]; strings.Contains(f.Detail+f.Cure, "whole") && f.Code == audit.Uncovered {
						t.Fatalf("it is called whole: %+v", f)
					}
					return r.Findings[i]
				}
				if f := about(p); f.Code != audit.Uncovered || !strings.Contains(f.Detail, "byte for byte") || !strings.HasPrefix(f.Other, "s3: _manifest/") {
					t.Fatalf("unaltered: %+v", f)
				}
				if f := about(places{"idc": at}); f.Code != audit.Uncovered || !strings.Contains(f.Detail, "nothing vouches for its records") {
					t.Fatalf("unaltered, and no other place: %+v", f)
				}
				unseen := 0
				for i, bad := range alterations(good, codec, rand.New(rand.NewPCG(4, 4))) {
					at.Set(key, bad)
					if f := about(p); f.Code != audit.ObjectAltered && !strings.Contains(f.Detail, "its SHA-256 is") {
						t.Fatalf("alteration %d: %x\nwas\n%x: %+v", i, bad, good, f)
					}
					if about(places{"idc": at}).Code != audit.ObjectAltered {
						unseen++
					}
				}
				if codec == "zstd" && unseen > 5 {
					t.Errorf("%d alterations of a codec with checksums were not seen without another place", unseen)
				}
			})
		}
	}
}

// TestFlippedChain flips a bit of every few bytes of every manifest and head: each is named.
func TestFlippedChain(t *testing.T) {
	for _, signed := range []bool{false, true} {
		t.Run(fmt.Sprintf("signed=%v", signed), func(t *testing.T) {
			p := newPlaces()
			x := send(t, filepath.Join(t.TempDir(), "a"), "vpn", "host-a", p.destinations(), func(o *ship.Options) {
				if signed {
					o.Signer = newKey(1)
				}
			})
			x.segments(2)
			x.finalize("idc", "s3")
			x.end()
			at, r := p["idc"], rand.New(rand.NewPCG(5, 5))
			for _, alone := range []bool{false, true} {
				see := p
				if alone {
					see = places{"idc": at}
				}
				for _, key := range keysOf(at, func(k string) bool { return !isData.MatchString(k) }) {
					good := at.Bytes(key)
					for i := r.IntN(9); i < len(good); i += 1 + r.IntN(17) {
						bad := bytes.Clone(good)
						bad[i] ^= 1 << r.IntN(8)
						at.Set(key, bad)
						res := see.audit(t)
						if !slices.ContainsFunc(res.Findings, func(f audit.Finding) bool { return f.Place == "idc" && (f.Key == key || f.Other == "idc: "+key) }) {
							t.Fatalf("%s, byte %d, other places %v: nothing is said of it: %+v", key, i, !alone, res.Findings)
						}
						if res.Verdict == audit.Complete {
							t.Fatalf("%s, byte %d: complete", key, i)
						}
					}
					at.Set(key, good)
				}
			}
		})
	}
}

// TestUnknownCodec: the auditor names a codec that it does not know, checks the object as far as it can, and advises
// nobody to move it away.
func TestUnknownCodec(t *testing.T) {
	for what, change := range map[string]func(*ship.SegmentLine){
		`codec "brotli"`: func(s *ship.SegmentLine) { s.Codec = "brotli" },
		`format "parquet"`: func(s *ship.SegmentLine) {
			s.Format = "parquet"
		},
		`the checksum of its receipt, "blake3:00"`: func(s *ship.SegmentLine) { s.Receipt.Checksum, s.SHA256 = "blake3:00", strings.Repeat("ab", 32) },
	} {
		p := places{"idc": shiptest.Memory()}
		c := newChain(t, p, "idc", nil)
		var key string
		c.add(1, func(m *ship.Manifest) {
			m.Footer.Final = true
			change(&m.Segments[0])
			key = m.Segments[0].Key
		})
		r := p.audit(t, deep)
		wants(t, r, audit.Owed, audit.NotUnderstood)
		f := r.Findings[0]
		if f.Key != key || !strings.Contains(f.Detail, what) || !strings.Contains(f.Detail, "this auditor does not know it") || !strings.Contains(f.Cure, "use an auditor that knows it") {
			t.Errorf("%s: %+v", what, f)
		}
		if strings.HasPrefix(what, "the checksum") {
			continue
		}
		wants(t, p.audit(t), audit.Complete) // its bytes are those that were verified
		b := p["idc"].Bytes(key)
		b[len(b)/2] ^= 1
		p["idc"].Set(key, b)
		wants(t, p.audit(t, deep), audit.Damaged, audit.ObjectAltered)
	}
}

// TestNewerManifest: a manifest of another version is not damage, and neither is what it names.
func TestNewerManifest(t *testing.T) {
	p := places{"idc": shiptest.Memory()}
	newChain(t, p, "idc", nil).add(1, nil)
	p["idc"].Set(object.ManifestKey("vpn", testSpool, 1, 2), []byte(`{"type":"header","version":9,"more":"fields"}`+"\n"))
	r := p.audit(t, deep)
	wants(t, r, audit.Owed, audit.NotUnderstood, audit.Open)
	if f := r.Findings[0]; !strings.Contains(f.Detail, "it has version 9, and this program reads version 4") && !strings.Contains(r.Findings[1].Detail, "it has version 9, and this program reads version 4") {
		t.Errorf("%+v", r.Findings)
	}
}

// TestAdvice: no cure of an audit removes, overwrites or sets aside an object that may be the only copy.
func TestAdvice(t *testing.T) {
	for code, text := range audit.Cures() {
		for _, word := range []string{"remove it", "delete", "set the object aside", "set it aside", "restore the manifest from", "overwrite"} {
			if strings.Contains(text, word) {
				t.Errorf("%s: %q: %s", code, word, text)
			}
		}
		if strings.Contains(text, "put it back") && !strings.Contains(text, "aside") {
			t.Errorf("%s: what is there is overwritten: %s", code, text)
		}
	}
}

// TestFolderMarkers: keys that tools make for folders hold no record, and are no finding; one with bytes in it is.
func TestFolderMarkers(t *testing.T) {
	p := finished(t)
	at := p["s3"]
	for _, key := range at.Keys() {
		parts := strings.Split(key, "/")
		for i := 1; i < len(parts); i++ {
			folder := strings.Join(parts[:i], "/")
			at.Set(folder+"/", nil)
			at.Set(folder+"_$folder$", nil)
		}
	}
	wants(t, p.audit(t, deep), audit.Complete)
	hour := func(o *audit.Options) { o.Class = "vpn" }
	wants(t, p.audit(t, hour), audit.Complete)
	at.Set("class=vpn/dt=2026-11-22/", []byte("x"))
	wants(t, p.audit(t), audit.Damaged, audit.ObjectUnknown)
}

// flaky damages the first answer about each key in transit.
type flaky struct {
	*shiptest.MemoryDestination
	mu    sync.Mutex
	asked map[string]bool
}

func (f *flaky) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked[key] {
		return f.MemoryDestination.Open(ctx, key)
	}
	f.asked[key] = true
	b := f.Bytes(key)
	if b == nil {
		return nil, fs.ErrNotExist
	}
	b[len(b)/3] ^= 1
	return io.NopCloser(bytes.NewReader(b)), nil
}

// TestDamagedOnTheWay: an object that is right when it is read once more is not called damaged.
func TestDamagedOnTheWay(t *testing.T) {
	p := finished(t)
	f := &flaky{MemoryDestination: p["idc"], asked: map[string]bool{}}
	r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Destination: f}, {Destination: p["s3"]}}, Deep: true})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, audit.Complete)
}
