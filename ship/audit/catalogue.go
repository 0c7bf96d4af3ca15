package audit

import (
	"context"
	"fmt"
	"slices"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

// listedChain is the listed manifests, heads and closings of a spool at a place.
type listedChain struct {
	epochs   []*listedEpoch // ascending
	closings []string       // keys
}

type listedEpoch struct {
	epoch uint32
	runs  []run // ascending, not adjacent
	heads []listedHead
}

// run is a range of manifest numbers, inclusive.
type run struct{ from, to uint64 }

type listedHead struct {
	destination string
	number      uint64
}

// has reports whether a manifest was listed.
func (e *listedEpoch) has(number uint64) bool {
	for _, r := range e.runs {
		if number >= r.from && number <= r.to {
			return true
		}
	}
	return false
}

// epoch returns the listing of an epoch, nil if there is none.
func (l *listedChain) epoch(n uint32) *listedEpoch {
	for _, e := range l.epochs {
		if e.epoch == n {
			return e
		}
	}
	return nil
}

// chain returns the listing of a spool's chain, a new one if there is none.
func (p *place) chain(id object.Origin) *listedChain {
	if p.chains[id] == nil {
		p.chains[id] = new(listedChain)
	}
	return p.chains[id]
}

// hasEpoch reports whether there is any manifest of an epoch.
func (l *listedChain) hasEpoch(n uint32) bool {
	if l == nil {
		return false
	}
	e := l.epoch(n)
	return e != nil && len(e.runs) > 0
}

// begun reports whether there is any manifest.
func (l *listedChain) begun() bool { return l.begins() != nil }

// begins returns the first epoch with a manifest, nil if there is none.
func (l *listedChain) begins() *listedEpoch {
	for _, e := range l.epochs {
		if len(e.runs) > 0 {
			return e
		}
	}
	return nil
}

// ends returns the last epoch with a manifest, nil if there is none.
func (l *listedChain) ends() *listedEpoch {
	for _, e := range slices.Backward(l.epochs) {
		if len(e.runs) > 0 {
			return e
		}
	}
	return nil
}

// relatives returns the ids of the other spools of a group that have a chain at a place.
func (p *place) relatives(id object.Origin) (all []string) {
	for other, l := range p.chains {
		if other != id && other.Related(id) && l.begun() {
			all = append(all, other.Spool)
		}
	}
	slices.Sort(all)
	return all
}

// listChains lists the chains of a place as ranges of numbers: a chain without holes takes a few words, however long it
// is. Only what is listed is judged, so that a chain that grows meanwhile has an end.
func (p *place) listChains(ctx context.Context, rec *recorder) error {
	prefix := object.ManifestPrefix
	if p.o.Class != "" {
		prefix += p.o.Class + "/"
	}
	kept := 0
	for e, err := range p.catalogue(ctx, prefix) {
		if err != nil {
			return err
		}
		if kept > p.o.maxKept {
			return ship.Permanent(fmt.Errorf("%s: more than %d chains, holes, heads and closings below %s: it has no end, or audit one class at a time", p.name, p.o.maxKept, prefix))
		}
		if id, ok := object.ParseClosingKey(e.Key); ok {
			p.chain(id).closings = append(p.chain(id).closings, e.Key)
			kept++
			continue
		}
		k, ok := object.ParseChainKey(e.Key)
		if !ok {
			rec.add(Finding{Code: ObjectUnknown, Place: p.name, Key: e.Key, Detail: "not the key of a manifest, a head or a closing"})
			continue
		}
		l := p.chain(k.Origin)
		if n := len(l.epochs); n == 0 || l.epochs[n-1].epoch != k.Epoch {
			l.epochs = append(l.epochs, &listedEpoch{epoch: k.Epoch})
		}
		ep := l.epochs[len(l.epochs)-1]
		if k.Head != "" {
			ep.heads = append(ep.heads, listedHead{k.Head, k.Number})
			kept++
			continue
		}
		p.o.Progress.ManifestsOf.Add(1)
		if n := len(ep.runs); n > 0 && ep.runs[n-1].to+1 == k.Number {
			ep.runs[n-1].to = k.Number
		} else {
			ep.runs = append(ep.runs, run{k.Number, k.Number})
			kept++
		}
	}
	return nil
}
