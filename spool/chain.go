package spool

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/penstock-go/penstock/spool/internal/fatal"
	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// destination is what the spool knows of one destination.
type destination struct {
	name      string
	forgotten bool         // nothing more is owed to it; set by Open
	lost      bool         // it is not known what its chain covers; set only while the spool is opened
	aged      *destination // if lost: the state in its file, which is older than the chain; nil if it cannot be read
	unsure    bool         // the spool.json on stable storage may not name it: see Join; guarded by Shelf.naming
	mu        fatal.Mutex  // held during a change of the chain state, its files included
	proposal  *proposal    // as this process has last written or read it; nil if there is none; guarded by mu
	proposed  [32]byte     // the hash of proposal's manifest if this process has made its file; guarded by mu
	stale     bool         // that file is damaged or gone; guarded by mu
	unread    refusal      // the disk's refusal to read the file of the proposal; guarded by mu

	// Guarded by Shelf.mu.
	chain     Chain
	delivered segment.Tally
}

// maxManifest bounds a manifest in bytes.
const maxManifest = 16 << 20

// maxChainFile bounds the file of a chain's state.
const maxChainFile = 1 << 20

// chainFile is the file of a chain's state. It is written before any segment that it covers is deleted, so a deletion that a crash
// has interrupted can be finished from it.
type chainFile struct {
	Version int `json:"version"`
	// Destination is the destination whose chain it is. It reveals that the files of two destinations were exchanged. Left out by
	// older programs, and then not compared.
	Destination string `json:"destination,omitempty"`
	// Spool is the id of the spool that has this state. The chain may be written under another id.
	Spool string `json:"spool,omitempty"`
	// Class of the spool, for an adopter that finds it in no other file. Left out by older programs.
	Class string `json:"class,omitempty"`

	Chain     chainJSON     `json:"chain"`
	Delivered segment.Tally `json:"delivered"`
}

// chainJSON is Chain with the hash in hexadecimal.
type chainJSON struct {
	Chain
	Hash string `json:"hash"`
}

func (s *site) chainPath(name string) string    { return s.path(chainDir, name+stateExt) }
func (s *site) proposalPath(name string) string { return s.path(chainDir, name+nextExt) }

// destination returns a destination by name.
func (s *Shelf) destination(name string) (*destination, error) {
	s.mu.Lock()
	d := s.dests[name]
	s.mu.Unlock()
	if d == nil {
		return nil, fmt.Errorf("spool: unknown destination %q: %w", name, fs.ErrNotExist)
	}
	return d, nil
}

// Chain returns the chain state of a destination. Ask again after each Ack: a manifest that hands the chain over moves it
// into the next epoch.
func (s *Shelf) Chain(dest string) (Chain, error) {
	d, err := s.destination(dest)
	if err != nil {
		return Chain{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return d.chain, nil
}

// holdChain returns a destination, and locks its chain state until done is called.
func (s *Shelf) holdChain(dest string) (d *destination, done func(), err error) {
	if d, err = s.destination(dest); err != nil {
		return nil, nil, err
	}
	if err := s.admit(); err != nil {
		return nil, nil, err
	}
	d.mu.Lock()
	return d, func() {
		fatal.Check(recover())
		d.mu.Unlock()
		s.calls.Done()
	}, nil
}

// Ack records that the proposed manifest is at the destination: c becomes its chain state, durably. Segments that
// every destination's chain covers are deleted. Ack may be repeated with the same state.
func (s *Shelf) Ack(dest string, c Chain) error {
	d, done, err := s.holdChain(dest)
	if err != nil {
		return err
	}
	defer done()
	s.mu.Lock()
	old, delivered := d.chain, d.delivered
	s.mu.Unlock()
	if c.Passed = old.Passed; c == old {
		return nil
	}
	p, err := s.proposed(d)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: nothing is proposed to %q that could be acknowledged", dest)
	}
	if err != nil {
		return err
	}
	if err := s.checkAck(old, c, sha256.Sum256(p.manifest)); err != nil {
		return fmt.Errorf("spool: chain of %q: %w", dest, err)
	}
	delivered.Add(s.cat.sum(old.Segment, c.Segment))
	// The segment will be deleted, but the time before which no later segment was created must stay known.
	if seg, ok := s.cat.get(c.Segment); ok && seg.Created.After(c.Passed) {
		c.Passed = seg.Created.UTC()
	}
	if c.ClosedBy != 0 {
		c = c.after()
	}
	if err := s.saveChain(d, c, delivered); err != nil {
		return err
	}
	d.proposal, d.proposed = nil, [32]byte{}
	if err := s.fs.Remove(s.proposalPath(dest)); err != nil {
		s.log.Warn("spool: cannot remove an acknowledged manifest; it is replaced by the next one, and nothing is lost", "class", s.opts.Class, "destination", dest, "err", err)
	}
	s.changed.Broadcast()
	wake(s.work)
	return nil
}

// checkAck refuses a state that does not follow from the previous one.
func (s *Shelf) checkAck(old, c Chain, proposed [32]byte) error {
	switch {
	case c.Hash != proposed:
		return errors.New("the state acknowledged has another hash than the proposed manifest")
	case c.Epoch != old.Epoch || c.Next != old.Next+1:
		return fmt.Errorf("manifest %d of epoch %d cannot follow %d of epoch %d", c.Next, c.Epoch, old.Next, old.Epoch)
	case c.Joined != old.Joined:
		return fmt.Errorf("joined at %d, not at %d", old.Joined, c.Joined)
	case c.Spool != old.Spool:
		return fmt.Errorf("of spool %s, not %s", c.Spool, old.Spool)
	case c.Segment < old.Segment || c.Through < old.Through:
		return fmt.Errorf("goes back from segment %d to %d", old.Segment, c.Segment)
	case c.Segment == old.Segment:
		if c.Through != old.Through {
			return fmt.Errorf("sequence number %d is not the end of segment %d", c.Through, c.Segment)
		}
		return nil
	}
	last, ok := s.endOf(old, c.Segment)
	if !ok {
		return fmt.Errorf("segment %d is not sealed", c.Segment)
	}
	if c.Through != last {
		return fmt.Errorf("sequence number %d is not the end of segment %d, which is %d", c.Through, c.Segment, last)
	}
	return nil
}

// endOf returns the last sequence number up to the end of segment n, which is after old; false if the segment has not ended. A segment
// without records may be lost: it was proposed because of the losses that it states. It has ended if a later one is sealed.
func (s *Shelf) endOf(old Chain, n uint64) (last uint64, ended bool) {
	if seg, ok := s.cat.get(n); ok {
		return seg.Last, true
	}
	last = old.Through
	for _, seg := range s.cat.after(old.Segment, 0) {
		if seg.Number > n {
			return last, true
		}
		last = seg.Last
	}
	return last, false
}

// chainFile returns the contents of the file of a chain's state.
func (s *site) chainFile(dest string, c Chain, delivered segment.Tally) chainFile {
	return chainFile{Version: 1, Destination: dest, Spool: s.id.Spool, Class: s.opts.Class, Chain: chainJSON{c, hex.EncodeToString(c.Hash[:])}, Delivered: delivered}
}

// saveChain makes a chain state durable, and then the current one. d.mu is held, or no other goroutine has d yet.
func (s *Shelf) saveChain(d *destination, c Chain, delivered segment.Tally) error {
	b, err := statefile.Seal(s.chainFile(d.name, c, delivered))
	if err != nil {
		return fmt.Errorf("spool: encode chain state: %w", err)
	}
	if err := s.space.writeAtomic(s.chainPath(d.name), b); err != nil {
		return fmt.Errorf("spool: save the chain of %q: %w", d.name, err)
	}
	s.journal.change(func(l *segment.Ledger) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		d.chain, d.delivered = c, delivered
		d.note(l)
		return false // the change is written with the next ledger
	})
	return nil
}

// note updates the destination's entry in a ledger. Shelf.mu is held, or the spool is being opened.
func (d *destination) note(l *segment.Ledger) {
	if l.Destinations == nil {
		l.Destinations = map[string]segment.Delivery{}
	}
	l.Destinations[d.name] = segment.Delivery{Tally: d.delivered, Through: d.chain.Through, Forgotten: d.forgotten}
}

// loadChain reads a destination's state; fs.ErrNotExist if it has none.
func (s *site) loadChain(name string) (*destination, error) {
	path := s.chainPath(name)
	var f chainFile
	if err := loadState(s.fs, path, maxChainFile, 1, &f); err != nil {
		return nil, err
	}
	if f.Destination != "" && f.Destination != name {
		return nil, fmt.Errorf("%w: %s: it is the state of destination %q", ErrCorrupt, path, f.Destination)
	}
	d := &destination{name: name, chain: f.Chain.Chain, delivered: f.Delivered}
	if d.chain.Spool == "" {
		d.chain.Spool = s.id.Spool
	}
	if n, err := hex.Decode(d.chain.Hash[:], []byte(f.Chain.Hash)); err != nil || n != len(d.chain.Hash) || len(f.Chain.Hash) != 64 {
		return nil, fmt.Errorf("%w: %s: hash %q", ErrCorrupt, path, f.Chain.Hash)
	}
	return d, nil
}
