package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// contents is what a destination contains. It is read only with Penstock's formats, without the state of any component.
type contents struct {
	count  map[int]int // by record
	alien  []string    // payloads that no source sent
	gaps   []gap       // named as damaged
	final  map[string]bool
	chains int
}

// twice reports whether any record is there more than once.
func (c *contents) twice() bool {
	for _, n := range c.count {
		if n > 1 {
			return true
		}
	}
	return false
}

// gap is a range of records that a manifest names as damaged.
type gap struct {
	spool string
	segment.Range
}

var (
	codecs  = map[string]string{"": "none", ".zst": "zstd", ".gz": "gzip", ".lz4": "lz4", ".s2": "s2"}
	formats = map[string]string{".ndjson": format.NDJSON, ".log": format.Lines, ".seg": format.Native}
)

// contents reads a destination, except some keys. Objects that were moved away still count.
func (w *world) contents(p *place, but ...string) *contents {
	c := &contents{count: map[int]int{}, final: map[string]bool{}}
	bodies := map[string][]byte{}
	for _, key := range p.mem.Keys() {
		bodies[key] = p.mem.Bytes(key)
	}
	p.mu.Lock()
	for key, b := range p.moved {
		if bodies[key] == nil {
			bodies[key] = b
		}
	}
	p.mu.Unlock()
	for key, b := range bodies {
		switch {
		case slices.Contains(but, key):
		case strings.HasPrefix(key, "class="):
			if err := w.object(c, key, b); err != nil {
				c.alien = append(c.alien, fmt.Sprintf("%s: %v", key, err))
			}
		case strings.HasPrefix(key, object.ManifestPrefix) && strings.HasSuffix(key, ".jsonl"):
			c.manifest(key, b)
		}
	}
	return c
}

// superseded returns the keys of objects that were uploaded ahead of a chain that another owner then continued: no chain names
// them, and their records are in objects that the chains name. These are the only objects that the auditor reports as
// superseded. After damage it also returns objects that the chain covers and does not name: the stage record of an uploaded
// segment was damaged, and the segment was staged again with other settings. If such an object were the only place of a record,
// the record would be missing without it. After a restore it also returns such objects if they have records that the restore has
// taken back: then the segment was active in the snapshot, and was sealed with other records afterwards.
func (w *world) superseded(p *place) (keys []string) {
	r, err := audit.Run(w.t.Context(), &audit.Options{Places: []audit.Place{{Name: p.name, Destination: p.mem}}})
	if err != nil {
		w.fail("audit: error", "%v", err)
		return nil
	}
	for i := range r.Findings {
		if code := r.Findings[i].Code; code == audit.ObjectSuperseded || code == audit.ObjectUnknown && (w.damaged || w.takenBack(p, r.Findings[i].Key)) {
			keys = append(keys, r.Findings[i].Key)
		}
	}
	return keys
}

// takenBack reports whether an object has a record of a volume that a restore has replaced.
func (w *world) takenBack(p *place, key string) (yes bool) {
	c := &contents{count: map[int]int{}}
	if err := w.object(c, key, p.mem.Bytes(key)); err != nil {
		return false // an alien, which fails by itself
	}
	w.journal.each(func(r *record) { yes = yes || c.count[r.id] > 0 && r.excused == replacedVolume })
	return yes
}

func (w *world) object(c *contents, key string, b []byte) error {
	ext := path.Ext(key)
	base := key
	codec, compressed := codecs[ext]
	if compressed {
		base = strings.TrimSuffix(key, ext)
	} else {
		codec = "none"
	}
	z, err := compress.ByName(codec)
	if err != nil {
		return err
	}
	raw, err := z.NewReader(bytes.NewReader(b))
	if err != nil {
		return err
	}
	defer raw.Close()
	r, err := format.NewReader(formats[path.Ext(base)], raw)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		_, rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		id, ok := w.journal.number(rec.Data)
		if !ok {
			if len(rec.Data) > 0 && rec.Data[0] == 'r' && len(rec.Data) < 3000 && w.journal.torn(rec.Data) {
				continue // the last frame of a connection that was cut
			}
			if _, err := strconv.ParseUint(string(rec.Data), 10, 16); err == nil {
				continue // cut within the length of a frame: under Auto it may also be a line
			}
			return fmt.Errorf("a record that nobody sent: %.40q", rec.Data)
		}
		if ext := path.Ext(base); formats[ext] != format.Lines && !rec.Attrs.Equal(attrsOf(rec.Data)) {
			return fmt.Errorf("record %d has the attributes %v, and was sent with %v", id, rec.Attrs, attrsOf(rec.Data))
		}
		c.count[id]++
	}
}

// torn reports whether b is the beginning of a record: an incomplete frame, which newline framing may keep.
func (j *journal) torn(b []byte) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range j.records {
		if len(b) < r.size && bytes.HasPrefix(payload(r.id, r.size), b) {
			return true
		}
	}
	return false
}

func (c *contents) manifest(key string, b []byte) {
	m, err := ship.DecodeManifest(bytes.NewReader(b))
	if err != nil {
		c.alien = append(c.alien, fmt.Sprintf("%s: %v", key, err))
		return
	}
	c.chains++
	for i := range m.Segments {
		for _, g := range m.Segments[i].Gaps {
			c.gaps = append(c.gaps, gap{m.Header.Spool, g})
		}
	}
}

// named reports whether a record is in a range reported as damaged, by its own spool or a related one: the ids of the copies of
// a volume have the same beginning.
func (c *contents) named(r *record) bool {
	return slices.ContainsFunc(c.gaps, func(g gap) bool {
		return len(r.spool) > related && strings.HasPrefix(g.spool, r.spool[:related]) && r.seq >= g.First && r.seq <= g.Last
	})
}

// related is how many characters at the beginning of their ids copies of a spool have in common.
const related = 10

// namedBy is named for the record's own spool.
func (c *contents) namedBy(r *record) bool {
	return slices.ContainsFunc(c.gaps, func(g gap) bool { return g.spool == r.spool && r.seq >= g.First && r.seq <= g.Last })
}
