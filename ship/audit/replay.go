package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool/object"
)

const repairVersion = 1

// ReplayOptions say what to restore, and from where.
type ReplayOptions struct {
	// From is the place that has the objects, To the one that lacks them.
	From, To Place
	// Extra as in Options.
	Extra format.Extra
	Class string
	Spool string
	// First and Last bound the sequence numbers; every segment that contains one of them is examined. Last 0 means no bound.
	First, Last uint64
}

// Repair is the note of a restored object, stored as JSON. It is never part of a chain: the chain says what the sender delivered,
// the note says that Replay put it back.
type Repair struct {
	Version int          `json:"version"` // 1
	Time    time.Time    `json:"time"`
	Key     string       `json:"key"`
	First   uint64       `json:"first"`
	Last    uint64       `json:"last"`
	From    string       `json:"from"`
	SHA256  string       `json:"sha256"` // of the stored bytes
	Receipt ship.Receipt `json:"receipt"`
	// Uncovered: no readable manifest at To names the object, because the sender never got that far there, or because the chain is
	// damaged.
	Uncovered bool `json:"uncovered,omitempty"`
}

// Replay copies to To the objects of a spool that To lacks and From has. Before it sends an object, it reads it in full and
// compares hashes and records with the line; afterwards it checks To's receipt. It leaves objects that are already there alone. If
// one is not what its line says, the error is ship.ErrConflict: move that object aside first. If To's line states other bytes of the same
// records, because the segment was staged again, Replay cannot make them, and the error wraps fs.ErrNotExist. Replay returns what it restored, even
// with an error, and may be called again.
//
// If the range is the whole spool and neither chain names a record, as of a host that received nothing, Replay returns nil, nil. In
// every other case in which From names no record of the range, the error wraps fs.ErrNotExist: the range may be wrong, or From and
// To may be swapped.
func Replay(ctx context.Context, o *ReplayOptions) ([]Repair, error) {
	if o == nil {
		o = new(ReplayOptions)
	}
	places := Options{Places: []Place{o.From, o.To}, Class: o.Class, Extra: o.Extra}
	opts := places.withDefaults()
	err := errors.Join(opts.validate(), wait.CheckContext(ctx))
	if (object.Origin{Class: o.Class, Spool: o.Spool}).Check() != nil {
		err = errors.Join(err, fmt.Errorf("%w: class %q, spool %q: both are needed", ErrOptions, o.Class, o.Spool))
	}
	if o.Last != 0 && o.Last < o.First {
		err = errors.Join(err, fmt.Errorf("%w: records %d to %d", ErrOptions, o.First, o.Last))
	}
	if err != nil {
		return nil, fmt.Errorf("audit: replay: %w", err)
	}
	r := replayer{o: o, id: object.Origin{Class: o.Class, Spool: o.Spool}, from: newPlace(&opts, opts.Places[0], nil), to: newPlace(&opts, opts.Places[1], nil)}
	if err := r.run(ctx); err != nil {
		return r.done, fmt.Errorf("audit: replay: %w", err)
	}
	return r.done, nil
}

type replayer struct {
	o        *ReplayOptions
	id       object.Origin
	from, to *place
	there    holdings
	unread   error // of a manifest at To that cannot be read now
	done     []Repair
}

// lines calls f with each line of a chain that has records of the range. If the chain does not fit together, or a manifest is
// missing, it stops with an error that wraps ship.ErrVerify.
func (r *replayer) lines(ctx context.Context, p *place, id object.Origin, f func(*ship.SegmentLine) error) error {
	l := p.chains[id]
	if l == nil {
		return nil
	}
	for _, e := range l.epochs {
		next := uint64(0)
		for m, err := range ship.ReadChain(ctx, p.dest, id.Class, id.Spool, e.epoch) {
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ship.ErrVerify) {
				if _, again := p.readManifest(ctx, id, e.epoch, next); errors.Is(again, errUnread) {
					err = again
				}
			}
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			next++
			for i := range m.Segments {
				s := &m.Segments[i]
				if c := contentOf(s); c.last < r.o.First || r.o.Last != 0 && c.first > r.o.Last || s.Records == 0 && s.Whole == nil {
					continue
				}
				// Whatever From's chain says, Replay writes only under keys that objects of this spool may have.
				if _, ok := objectOf(id, m, s); !ok && s.Records > 0 {
					return fmt.Errorf("%w: %s: manifest %d of epoch %d names %q for records %d to %d", ship.ErrVerify, p.name, m.Header.Number, e.epoch, s.Key, s.First, s.Last)
				}
				if err := f(s); err != nil {
					return err
				}
			}
		}
		if n := len(e.runs); n > 0 && e.runs[n-1].to >= next {
			return fmt.Errorf("%w: %s: manifest %d of epoch %d is missing", ship.ErrVerify, p.name, next, e.epoch)
		}
	}
	return nil
}

func (r *replayer) run(ctx context.Context) error {
	for _, p := range []*place{r.from, r.to} {
		if err := p.listChains(ctx, newRecorder(&Options{MaxFindings: 1})); err != nil {
			return err
		}
	}
	ids := []object.Origin{r.id}
	for _, other := range r.to.relatives(r.id) {
		ids = append(ids, object.Origin{Class: r.id.Class, Spool: other})
	}
	r.there = newHoldings(len(ids) > 1 || len(r.from.relatives(r.id)) > 0)
	empty := true // the spool's own chain at To can be read, and names no record
	for _, id := range ids {
		err := r.lines(ctx, r.to, id, func(s *ship.SegmentLine) error {
			r.there.add(s)
			empty = empty && id != r.id
			return nil
		})
		empty = empty && (err == nil || id != r.id)
		// Use what is readable of a damaged chain: From's chain proves the objects. But a manifest that is sound, and only cannot be read
		// now, may name records under other keys: a related chain does, and so does this one if a segment was staged again.
		if errors.Is(err, errUnread) && r.there.contents == nil {
			r.unread = err
		} else if err != nil && !errors.Is(err, ship.ErrVerify) {
			return err
		}
	}
	if l := r.to.chains[r.id]; len(ids) == 1 && (l == nil || !l.begun()) {
		// Objects without a chain prove nothing, and the next audit would report them as ChainMissing.
		return fmt.Errorf("%s has no chain of spool %s to restore objects for: copy the whole prefix there, manifests included, and audit the copy", r.to.name, r.id.Spool)
	}
	found := false
	err := r.lines(ctx, r.from, r.id, func(s *ship.SegmentLine) error {
		found = true
		return r.segment(ctx, s)
	})
	if l := r.from.chains[r.id]; empty && r.o.First <= 1 && r.o.Last == 0 && l != nil && l.begun() {
		found = true // the spool has no records: no error, so that a script can replay all spools of a host
	}
	if err == nil && !found {
		err = fmt.Errorf("%s: no manifest of spool %s names records of that range: %w", r.from.name, r.id.Spool, fs.ErrNotExist)
	}
	return err
}

// segment restores the object of a line, if it is not there.
func (r *replayer) segment(ctx context.Context, s *ship.SegmentLine) error {
	if s.Records == 0 {
		return nil
	}
	there, named, what := r.there.find(r.o.Extra, s)
	if what != "" {
		return fmt.Errorf("%w: records %d to %d: the chains of the two places differ, audit them first: %s", ship.ErrVerify, s.First, s.Last, what)
	}
	if there.Records == 0 {
		return nil // all of them are in another owner's object
	}
	// Compare with To's own receipt, because To may hold another compression of the same records.
	err := r.to.request(ctx, func(ctx context.Context) error { return r.to.read(ctx, &there) })
	if errors.Is(err, ship.ErrVerify) {
		return fmt.Errorf("%w: %s at %s: %w", ship.ErrConflict, there.Key, r.to.name, err)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err // nil if it is there and right
	}
	if !named && r.unread != nil {
		if err := r.isElsewhere(ctx, s); err != nil {
			return err
		}
	}
	if there.First != s.First {
		return fmt.Errorf("%s: %s holds records %d to %d alone, and %s has them in an object that begins with record %d: restore it from a version or backup of that place: %w",
			r.to.name, there.Key, there.First, there.Last, r.from.name, s.First, fs.ErrNotExist)
	}
	if there.SHA256 != s.SHA256 {
		return fmt.Errorf("%s: the chain there names %s, and %s has the same records in other bytes, because the segment was staged again: restore it from a version or backup of that place: %w",
			r.to.name, there.Key, r.from.name, fs.ErrNotExist)
	}
	file, err := os.CreateTemp("", "penstock-replay-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	o, err := r.fetch(ctx, s, file)
	if err != nil {
		return err
	}
	o.Key = there.Key
	repair := Repair{Version: repairVersion, Key: o.Key, First: s.First, Last: s.Last, From: r.from.name, SHA256: fmt.Sprintf("%x", o.SHA256), Uncovered: !named}
	err = r.to.request(ctx, func(ctx context.Context) (err error) {
		repair.Receipt, err = r.to.dest.Put(ctx, o, io.NewSectionReader(file, 0, o.Size))
		if err == nil {
			err = o.Check(repair.Receipt)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("restoring %s: %w", o.Key, err)
	}
	repair.Time = time.Now().UTC()
	r.done = append(r.done, repair)
	return r.note(ctx, repair)
}

// isElsewhere returns an error if To has an object with the records of a line under another key, which the manifest that cannot be read
// may name.
func (r *replayer) isElsewhere(ctx context.Context, s *ship.SegmentLine) error {
	for e, err := range r.to.list(ctx, path.Dir(s.Key)+"/") {
		if err != nil {
			return err
		}
		if object.SameRecords(e.Key, s.Key) {
			return fmt.Errorf("%s has records %d to %d under the key %s: make the manifest readable first: %w", r.to.name, s.First, s.Last, e.Key, r.unread)
		}
	}
	return nil
}

// fetch copies an object from From to a file of this host, and compares it with its line.
func (r *replayer) fetch(ctx context.Context, s *ship.SegmentLine, file *os.File) (o ship.Object, err error) {
	err = r.from.request(ctx, func(ctx context.Context) error {
		if err := r.from.read(ctx, s); err != nil {
			return err // it has other records, or is not there: do not copy it
		}
		body, err := r.from.dest.Open(ctx, s.Key)
		if err != nil {
			return err
		}
		defer body.Close()
		if err := errors.Join(file.Truncate(0), seek(file)); err != nil {
			return err
		}
		d := ship.NewDigest()
		// One byte more than its line says is enough to detect a wrong size.
		if _, err := io.Copy(io.MultiWriter(file, d), io.LimitReader(body, s.Receipt.Size+1)); err != nil {
			return err
		}
		d.Sum(&o)
		return nil
	})
	if err != nil {
		return o, fmt.Errorf("%s at %s: %w", s.Key, r.from.name, err)
	}
	if o.Size != s.Size || fmt.Sprintf("%x", o.SHA256) != s.SHA256 {
		o.Key = s.Key
		if err := o.Check(*s.Receipt); err != nil {
			return o, err
		}
	}
	o.Key, o.Spool, o.ContentType = s.Key, r.id.Spool, r.o.Extra.ContentType(s.Encoding())
	return o, nil
}

func seek(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// note stores the note of a repair at To.
func (r *replayer) note(ctx context.Context, repair Repair) error {
	b, err := json.Marshal(repair)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	key, ok := repair.noteKey()
	if !ok {
		return fmt.Errorf("%w: %s is not the name of an object", ship.ErrVerify, repair.Key)
	}
	o := ship.BytesObject(key, r.id.Spool, b)
	o.ContentType = "application/json"
	return r.to.request(ctx, func(ctx context.Context) error {
		_, err := r.to.dest.Put(ctx, o, io.NewSectionReader(bytes.NewReader(b), 0, o.Size))
		return err
	})
}
