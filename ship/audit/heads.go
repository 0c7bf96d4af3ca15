package audit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

// wanted returns a map for the links that heads name. Only these links are kept in memory, because a chain may have
// millions.
func (a *auditor) wanted(id object.Origin) map[headID]*link {
	m := map[headID]*link{}
	for _, p := range a.places {
		if l := p.chains[id]; l != nil {
			for _, e := range l.epochs {
				for _, h := range e.heads {
					m[headID{e.epoch, h.number}] = nil
				}
			}
		}
	}
	return m
}

type foundHead struct {
	*ship.Head
	p   *place
	key string
}

// checkHeads compares the heads at every place with the chains that they name.
func (a *auditor) checkHeads(ctx context.Context, id object.Origin, all []*cursor) {
	type task struct {
		p     *place
		epoch uint32
		listedHead
	}
	todo := make(chan task)
	var mu sync.Mutex
	var wg sync.WaitGroup
	var found []foundHead
	for range readAhead {
		wg.Go(func() {
			for t := range todo {
				key := object.HeadKey(id.Class, id.Spool, t.epoch, t.destination, t.number)
				head, err := t.p.readHead(ctx, id, t.epoch, t.listedHead)
				switch {
				case errors.Is(err, fs.ErrNotExist):
				case errors.Is(err, ship.ErrVerify):
					code := HeadWrong
					if errors.Is(err, ship.ErrVersion) {
						code = NotUnderstood
					}
					a.rec.add(Finding{Code: code, Place: t.p.name, Class: id.Class, Spool: id.Spool, Epoch: t.epoch, Key: key, Detail: err.Error()})
				case errors.Is(err, errUnread):
					a.reportUnread(Finding{Class: id.Class, Spool: id.Spool, Epoch: t.epoch}, "", err)
				case err != nil:
					a.check(err)
				default:
					mu.Lock()
					found = append(found, foundHead{head, t.p, key})
					mu.Unlock()
				}
			}
		})
	}
	for _, p := range a.places {
		if l := p.chains[id]; l != nil {
			for _, e := range l.epochs {
				for _, h := range e.heads {
					todo <- task{p, e.epoch, h}
				}
			}
		}
	}
	close(todo)
	wg.Wait()
	slices.SortFunc(found, func(x, y foundHead) int { return strings.Compare(x.p.name+"\x00"+x.key, y.p.name+"\x00"+y.key) })
	cut := map[*cursor]foundHead{}
	for _, h := range found {
		a.checkHead(id, h, all, cut)
	}
	for c, h := range cut {
		a.reportCut(ctx, c, h)
	}
}

// readHead reads one head. Like a manifest, it must be what its key says; otherwise a copy of another head could take its
// place.
func (p *place) readHead(ctx context.Context, id object.Origin, epoch uint32, l listedHead) (h *ship.Head, err error) {
	key := object.HeadKey(id.Class, id.Spool, epoch, l.destination, l.number)
	return document(p.kept, key, func() (*ship.Head, error) { return p.readHeadOf(ctx, id, epoch, l, key) })
}

func (p *place) readHeadOf(ctx context.Context, id object.Origin, epoch uint32, l listedHead, key string) (h *ship.Head, err error) {
	err = p.requestOf(ctx, key, func(ctx context.Context) error {
		body, err := p.dest.Open(ctx, key)
		if err != nil {
			return err
		}
		h, err = ship.DecodeHead(body)
		if cerr := body.Close(); err == nil {
			err = cerr
		}
		return err
	})
	if err == nil && len(p.o.Keys) == 0 {
		err = selfSigned(h.Signature, h.CheckSignature)
	}
	if err == nil && (h.Class != id.Class || h.Spool != id.Spool || h.Epoch != epoch || h.Destination != l.destination || h.Number != l.number) {
		err = fmt.Errorf("%w: it is the head of another chain, or of another manifest", ship.ErrVerify)
	}
	return h, err
}

// checkHead compares one head with its chain. A head is sent only after its manifest is at the destination, so it never
// names a manifest that is yet to come. A chain that ends before that manifest was cut off, or has grown since it was
// listed. cut gets the latest head of each such chain, and reportCut finds out which of the two it is.
func (a *auditor) checkHead(id object.Origin, h foundHead, all []*cursor, cut map[*cursor]foundHead) {
	if c := spokenOf(h, all); c != nil {
		if c.p == h.p {
			a.rec.add(Finding{
				Code: HeadWrong, Place: h.p.name, Class: id.Class, Spool: id.Spool, Epoch: h.Epoch, Key: h.key,
				Detail: "it is the head of the chain at this same place; a shipper never stores one there",
			})
			return
		}
		l := c.wanted[headID{h.Epoch, h.Number}]
		ours := c.p.chains[id].epoch(h.Epoch)
		fits := l != nil && hex.EncodeToString(l.hash[:]) == h.Hash
		// A sender that recovered its chain after its disk had lost it may state a higher Last than the manifest does.
		last := l != nil && (h.Last == l.last || h.Last > l.last && c.NotOwed > 0)
		// A head that anyone may have written proves nothing, for or against a chain.
		trusted := len(a.o.Keys) == 0 || h.p.kept.isSigned(h.Head, func() error { return h.CheckSignature(a.o.Keys...) }) == nil
		switch {
		case fits && last && h.Final == l.ended:
			l.vouched = l.vouched || trusted
		case !trusted:
			a.rec.add(Finding{
				Code: HeadWrong, Place: h.p.name, Class: id.Class, Spool: id.Spool, Epoch: h.Epoch, Key: h.key,
				Detail: "it does not match its chain, and none of the given keys vouches for it",
			})
		case fits:
			l.vouched = true
			a.rec.add(Finding{
				Code: HeadWrong, Place: h.p.name, Class: id.Class, Spool: id.Spool, Epoch: h.Epoch, Key: h.key,
				Detail: "it has the hash of its manifest, but states another end of the chain",
			})
		case l != nil && l.vouched:
			a.rec.add(Finding{
				Code: HeadWrong, Place: h.p.name, Class: id.Class, Spool: id.Spool, Epoch: h.Epoch, Key: h.key,
				Other: c.p.name + ": " + c.manifestKey(l), Detail: "it does not match the manifest, for which the next manifest vouches",
			})
		case l != nil:
			c.report(ChainBroken, h.Epoch, 0, 0, c.manifestKey(l), h.p.name+": "+h.key, "it is not the manifest that the head at %s names", h.p.name)
		case ours != nil && ours.has(h.Number):
			// Listed and not readable: reported already.
		case ours != nil && len(ours.runs) > 0 && ours.runs[len(ours.runs)-1].to > h.Number:
			// Missing in the middle: reported already.
		default:
			if old, ok := cut[c]; !ok || old.Epoch < h.Epoch || old.Epoch == h.Epoch && old.Number < h.Number {
				cut[c] = h
			}
		}
		return
	}
	if len(a.o.Keys) > 0 && h.CheckSignature(a.o.Keys...) != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.strays = append(a.strays, h)
}

// spokenOf returns the chain that a head names, nil if no place has one of that name. A place may have had several names
// over time, even one that another place has now. The name in the head's epoch comes first, in case two places have swapped
// names. Other names count too: a new name must not hide a cut-off end.
func spokenOf(h foundHead, all []*cursor) *cursor {
	for _, c := range all {
		if c.called[h.Epoch] == h.Destination {
			return c
		}
	}
	var then *cursor // one that once had the name, if none has it now
	for _, c := range all {
		if c.Destination == h.Destination {
			return c
		}
		for _, name := range c.called {
			if name == h.Destination && c.p != h.p {
				then = c
			}
		}
	}
	return then
}

// reportCut reports a chain that ends before a head, unless it has grown while it was read.
func (a *auditor) reportCut(ctx context.Context, c *cursor, h foundHead) {
	key := object.ManifestKey(h.Class, h.Spool, h.Epoch, h.Number)
	there, err := c.p.exists(ctx, key)
	if err != nil {
		a.check(err)
		return
	}
	// The end that was read may be forged, with any hours. What the head names is of no later hour than the head.
	from := min(c.reached, object.HourOf(h.Time))
	if there {
		c.owe(span{class: c.id.Class, from: from})
		return
	}
	first, last := c.Last+1, h.Last
	if last < first {
		first, last = 0, 0
	} else {
		c.holes = append(c.holes, seqRange{first, last})
	}
	c.reportIn(from, 0, ChainCut, h.Epoch, first, last, key, h.p.name+": "+h.key, "a head names manifest %d, up to record %d, but the chain ends before it", h.Number, h.Last)
}

// reportStray judges a head of a chain that no place has: either its place is not among those given, or the chain is gone.
// It runs after all chains were read, when the names of all places are known.
func (a *auditor) reportStray(ctx context.Context, h foundHead) error {
	id := object.Origin{Class: h.Class, Spool: h.Spool}
	for _, p := range a.places {
		if p == h.p || p.walks[id] != nil || !p.called(h.Destination) {
			continue
		}
		key := object.ManifestKey(id.Class, id.Spool, h.Epoch, h.Number)
		// The chain may have begun after this place was listed, and its head may have been stored before the other place
		// was.
		begun, err := p.exists(ctx, key)
		if begun {
			a.rec.atLeast(chainID{p.name, id}, Owed, span{class: id.Class}) // like a chain that has only begun
		}
		if err == nil && !begun {
			a.rec.add(Finding{
				Code: ChainCut, Place: p.name, Class: id.Class, Spool: id.Spool, Epoch: h.Epoch, First: min(1, h.Last), Last: h.Last,
				Key: key, Other: h.p.name + ": " + h.key, Detail: "a head names a chain here, and there is none",
			})
		}
		return err
	}
	w := h.p.walks[id]
	if last, ok := h.p.reaches(id); ok && last >= h.Last {
		return nil // also if a related id has the records: nothing here shows which of the ids has them
	}
	if old := a.told[id]; w == nil && (old.Head == nil || old.Last < h.Last) {
		a.told[id] = h // the spool has no manifest here
	}
	if w != nil && w.behind.from == "" {
		w.behind = owedRange{seqRange: seqRange{w.Last + 1, h.Last}, records: h.Last - w.Last, since: h.Time, from: "destination " + h.Destination, told: true}
	}
	return nil
}

// reaches returns the last record that the chains of a spool and of those related to it cover at a place, if there are any.
func (p *place) reaches(id object.Origin) (last uint64, ok bool) {
	for other, w := range p.walks {
		if other.Related(id) {
			last, ok = max(last, w.Last), true
		}
	}
	return last, ok
}

// called reports whether any sender calls this place by that name.
func (p *place) called(name string) bool {
	for _, w := range p.walks {
		if w.Destination == name {
			return true
		}
	}
	return false
}
