package audit

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

// CloseOptions say which spool to close.
type CloseOptions struct {
	// Places must name every place that the spool delivered to. At each, its chain is closed after that chain's own end.
	Places []Place
	Class  string
	Spool  string
	// By says who closes it, Reason why. Both are required: a later auditor has no other explanation.
	By, Reason string
	// Signer signs the closings; required if a chain is signed. An audit with Options.Keys accepts no unsigned closing.
	Signer crypto.Signer
}

// Closure is a closing as it is stored at a place.
type Closure struct {
	Place   string       `json:"place"`
	Key     string       `json:"key"`
	Closing ship.Closing `json:"closing"`
	// LastManifest is when the spool's last manifest was written there. It shows how long the spool has been silent.
	LastManifest time.Time `json:"last_manifest"`
	// Before: the chain had already been closed after this same manifest.
	Before bool `json:"before,omitempty"`
}

// Close states that a spool is permanently gone: its host and its volume cannot be brought back, and nothing more will
// come from it. It writes a closing (see ship.Closing) beside the spool's chain at each place, which needs write access,
// and changes nothing else. Later audits report the chain as Closed instead of Owed. Records that another place has, and
// that a closed chain does not cover, stay owed until Replay has restored them. If the spool delivers again, audits report
// it as Reopened.
//
// Close returns the closings that are there now, even together with an error, and may be called again.
func Close(ctx context.Context, o *CloseOptions) ([]Closure, error) {
	if o == nil {
		o = new(CloseOptions)
	}
	opts := (&Options{Places: o.Places, Class: o.Class}).withDefaults()
	errs := []error{opts.validate(), wait.CheckContext(ctx)}
	if o.Signer != nil {
		if err := ship.CheckSigner(o.Signer); err != nil {
			errs = append(errs, fmt.Errorf("%w: %w", ErrOptions, err))
		}
	}
	if (object.Origin{Class: o.Class, Spool: o.Spool}).Check() != nil {
		errs = append(errs, fmt.Errorf("%w: class %q, spool %q: both are needed", ErrOptions, o.Class, o.Spool))
	}
	if strings.TrimSpace(o.By) == "" || strings.TrimSpace(o.Reason) == "" {
		errs = append(errs, fmt.Errorf("%w: By and Reason are required", ErrOptions))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("audit: close: %w", err)
	}
	var done []Closure
	var all []*closer
	related := false
	for _, p := range opts.Places {
		c := &closer{o: o, id: object.Origin{Class: o.Class, Spool: o.Spool}, p: newPlace(&opts, p, nil)}
		if err := c.p.listChains(ctx, newRecorder(&Options{MaxFindings: 1})); err != nil {
			errs = append(errs, fmt.Errorf("audit: close: %s: %w", c.p.name, err))
			continue
		}
		all = append(all, c)
		related = related || len(c.p.relatives(c.id)) > 0
	}
	for _, c := range all {
		closure, err := c.run(ctx, related)
		if err != nil {
			errs = append(errs, fmt.Errorf("audit: close: %s: %w", c.p.name, err))
			continue
		}
		done = append(done, *closure)
	}
	return done, errors.Join(errs...)
}

type closer struct {
	o  *CloseOptions
	id object.Origin
	p  *place
}

// run closes the chain at one place. related: there are chains of related spools, at this place or at another one.
func (c *closer) run(ctx context.Context, related bool) (*Closure, error) {
	l := c.p.chains[c.id]
	others := c.p.relatives(c.id)
	if (l == nil || !l.begun()) && len(others) > 0 {
		return nil, fmt.Errorf("no chain of spool %s of class %s is here, and so there is nothing to close; what it lacks here is owed until a chain of a related spool is closed, of which there are %s: %w",
			c.id.Spool, c.id.Class, strings.Join(others, ", "), fs.ErrNotExist)
	}
	if l == nil || !l.begun() {
		return nil, fmt.Errorf("no chain of spool %s of class %s is here, and so there is nothing to close: if another place has one, copy its whole prefix here, manifests included: %w", c.id.Spool, c.id.Class, fs.ErrNotExist)
	}
	m, err := c.last(ctx, l)
	if err != nil {
		return nil, fmt.Errorf("the chain's last manifest: %w", err)
	}
	if m.Signature != nil && c.o.Signer == nil {
		return nil, fmt.Errorf("%w: the chain is signed: an audit with public keys rejects unsigned closings: give a Signer", ErrOptions)
	}
	h := &m.Header
	closure := &Closure{Place: c.p.name, LastManifest: h.Time, Closing: ship.Closing{
		Version: ship.ClosingVersion, Class: c.id.Class, Spool: c.id.Spool, Epoch: h.Epoch, Destination: h.Destination, Number: h.Number,
		Hash: hex.EncodeToString(m.Hash[:]), Last: m.Footer.Last, By: c.o.By, Reason: c.o.Reason, Time: time.Now().UTC(),
	}}
	before, err := c.before(ctx, l, closure)
	if before || err != nil {
		return closure, err
	}
	// Even if this chain is final, records of a copy whose owner is gone may be owed here.
	if m.Footer.Final && len(l.closings) == 0 && !related {
		return nil, errors.New("the chain is final: nothing of this spool is owed, and so there is nothing to close; if a copy of its volume owes something here, name the places of the copy's chains too")
	}
	return closure, c.write(ctx, closure)
}

// last reads the manifest that the chain ends with.
func (c *closer) last(ctx context.Context, l *listedChain) (m *ship.Manifest, err error) {
	var at ref
	for _, e := range l.epochs {
		if n := len(e.runs); n > 0 {
			at = ref{epoch: e.epoch, number: e.runs[n-1].to}
		}
	}
	err = c.p.request(ctx, func(ctx context.Context) (err error) {
		m, err = ship.ReadManifest(ctx, c.p.dest, c.id.Class, c.id.Spool, at.epoch, at.number)
		return err
	})
	return m, err
}

// before looks for an existing closing after the same manifest, which makes a new one unnecessary.
func (c *closer) before(ctx context.Context, l *listedChain, closure *Closure) (bool, error) {
	want := &closure.Closing
	for _, key := range l.closings {
		have, err := c.p.readClosing(ctx, c.id, key)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ship.ErrVerify) || errors.Is(err, errUnread) {
			continue // an audit says what is wrong with it
		}
		if err != nil {
			return false, err
		}
		if c.o.Signer != nil {
			if key, ok := c.o.Signer.Public().(ed25519.PublicKey); !ok || have.CheckSignature(key) != nil {
				continue
			}
		}
		if have.Epoch == want.Epoch && have.Number == want.Number && have.Hash == want.Hash && have.Destination == want.Destination {
			closure.Key, closure.Closing, closure.Before = key, *have, true
			return true, nil
		}
	}
	return false, nil
}

func (c *closer) write(ctx context.Context, closure *Closure) error {
	x := &closure.Closing
	if c.o.Signer != nil {
		if err := x.Sign(c.o.Signer); err != nil {
			return err
		}
	}
	b, err := x.Encode()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	closure.Key = x.Key(b)
	o := ship.BytesObject(closure.Key, c.id.Spool, b)
	o.ContentType = "application/json"
	return c.p.request(ctx, func(ctx context.Context) error {
		r, err := c.p.dest.Put(ctx, o, io.NewSectionReader(bytes.NewReader(b), 0, o.Size))
		if err == nil {
			err = o.Check(r)
		}
		return err
	})
}
