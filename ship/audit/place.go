package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

// attempts is how often a request is made while its failures may be temporary. An audit that gives up has no result.
const attempts = 5

// readAhead is how many manifests of one chain are fetched ahead of the one that is judged.
const readAhead = 8

// place is one Place under audit.
type place struct {
	o      *Options
	name   string
	dest   ship.Destination
	lister lister
	kept   *memory // of earlier audits, nil without a Watcher
	// slots bounds the requests in flight. A slot is held for one request and its repetitions, but never while waiting for
	// another slot or for a consumer, so that requests cannot block each other.
	slots chan struct{}
	// sums says whether Stat returns checksums: 0 not known yet, 1 yes, -1 no.
	sums atomic.Int32

	requests *atomic.Uint64 // how many were made
	failure  atomic.Pointer[error]
	legibility

	later []unvouched // objects without a manifest that are to be read

	chains  map[object.Origin]*listedChain
	classes map[string]bool          // whose idle hours are listed in turn: see boundClasses
	peers   []*place                 // all that are audited, once their chains were listed
	epochs  map[epochID]bool         // epochs whose objects were listed, but no chain: whether one has begun since
	latest  map[object.Origin]uint32 // the last epoch of such a spool when its chain was listed again, 0 for none

	mu       sync.Mutex
	walks    map[object.Origin]*walk
	expected []expected
}

func newPlace(o *Options, p Place, kept *memory) *place {
	d := &counted{Guarded: ship.Guard(p.Destination, nil)} // the error says what has panicked
	l := &place{
		o: o, name: p.Name, dest: d, lister: lister{all: d.List}, kept: kept, slots: make(chan struct{}, o.Workers), requests: &d.n,
		chains: map[object.Origin]*listedChain{}, walks: map[object.Origin]*walk{}, epochs: map[epochID]bool{}, latest: map[object.Origin]uint32{},
	}
	if _, ok := p.Destination.(ship.ListerAfter); ok {
		l.lister.after = d.ListAfter
	}
	if kept != nil {
		l.sums.Store(kept.sums)
	}
	return l
}

// lister lists what a place holds. after is nil if a listing cannot begin in the middle.
type lister struct {
	all   func(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error]
	after func(ctx context.Context, prefix, after string) iter.Seq2[ship.Entry, error]
}

// request runs f in one of the slots, again if it fails for a reason that may pass.
func (p *place) request(ctx context.Context, f func(context.Context) error) error {
	return p.inSlot(ctx, func() error { return p.again(ctx, f) })
}

func (p *place) inSlot(ctx context.Context, f func() error) error {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-p.slots }()
	return f()
}

// again repeats a request that may succeed next time. A final answer of the place is returned as it is. Before anything is called
// damaged, it is read once more: bytes can also be damaged in transit, and a proxy may answer instead of the place.
func (p *place) again(ctx context.Context, f func(context.Context) error) error {
	doubted := false
	for attempt := 1; ; attempt++ {
		err := f(ctx)
		if errors.Is(err, ship.ErrVerify) && !doubted && ctx.Err() == nil {
			doubted = true
			err = f(ctx)
		}
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, ship.ErrVerify), errors.Is(err, errNotUnderstood):
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case ship.IsPermanent(err), attempt == attempts:
			return p.failed(fmt.Errorf("%s: %w", p.name, err))
		}
		pause(ctx, attempt)
	}
}

// failed records the error with which a place answers, and returns it.
func (p *place) failed(err error) error {
	p.failure.Store(&err)
	return err
}

// pause waits before the next attempt.
func pause(ctx context.Context, attempt int) {
	_ = wait.Sleep(ctx, ship.Backoff(attempt, rand.Float64())) // the caller checks ctx
}

// list yields the entries below a prefix in the order of names, each once, although a directory that changes while it is read may
// yield a name twice. A listing that breaks off is made again, and continues after the last entry that was yielded.
func (p *place) list(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return p.listAfter(ctx, prefix, "")
}

// listAfter is list for the keys after a given one, which must be empty if p.lister.after is nil.
func (p *place) listAfter(ctx context.Context, prefix, after string) iter.Seq2[ship.Entry, error] {
	list := func() iter.Seq2[ship.Entry, error] {
		if after == "" {
			return p.lister.all(ctx, prefix)
		}
		return p.lister.after(ctx, prefix, after)
	}
	return func(yield func(ship.Entry, error) bool) {
		shown := after
		for attempt := 1; ; attempt++ {
			before, again := "", 0
			var failed error
			for e, err := range list() {
				if again++; e.Key != before {
					again = 0
				}
				switch {
				case err != nil:
				case e.Key < before:
					err = ship.Permanent(fmt.Errorf("it is out of order: %q after %q", e.Key, before))
				case len(e.Key) > maxKey:
					err = ship.Permanent(fmt.Errorf("a name of %d bytes; the maximum is %d: %.100q", len(e.Key), maxKey, e.Key))
				case again > maxRepeats:
					err = ship.Permanent(fmt.Errorf("it does not end: %q comes again and again", e.Key))
				}
				if failed = err; err != nil {
					break
				}
				if before = e.Key; e.Key <= shown || e.IsFolder() {
					continue
				}
				if shown = e.Key; !yield(e, nil) {
					return
				}
			}
			if failed == nil {
				return
			}
			if ship.IsPermanent(failed) || attempt == attempts || ctx.Err() != nil {
				yield(ship.Entry{}, p.failed(fmt.Errorf("%s: listing %s: %w", p.name, prefix, failed)))
				return
			}
			pause(ctx, attempt)
		}
	}
}

// exists asks for an object by name.
func (p *place) exists(ctx context.Context, key string) (bool, error) {
	err := p.request(ctx, func(ctx context.Context) error {
		_, err := p.dest.Stat(ctx, key)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// ref is a manifest to be read, or, if to is set, a range of numbers that are not there.
type ref struct {
	epoch  uint32
	number uint64
	to     uint64
}

// probed is how many missing numbers in a row are requested by name, because the listing of a directory that is written to
// meanwhile may omit some. A longer row counts as missing.
const probed = 16

// refs yields the manifests of a chain in order.
func (l *listedChain) refs() iter.Seq[ref] {
	return func(yield func(ref) bool) {
		for _, e := range l.epochs {
			next := uint64(0)
			for _, r := range e.runs {
				if r.from-next > probed && !yield(ref{epoch: e.epoch, number: next, to: r.from - 1}) {
					return
				} else if r.from-next > probed {
					next = r.from
				}
				for ; next <= r.to; next++ {
					if !yield(ref{epoch: e.epoch, number: next}) {
						return
					}
				}
			}
		}
	}
}

// fetched is the answer to a ref. err is fs.ErrNotExist or errUnread, wraps ship.ErrVerify, or ends the audit.
type fetched struct {
	ref
	m   *ship.Manifest
	err error
}

// manifests reads a chain in order. It fetches up to ahead manifests in advance, since a round trip takes longer than judging
// one. At most that many are in memory.
func (p *place) manifests(ctx context.Context, id object.Origin, l *listedChain, ahead int) iter.Seq[fetched] {
	return func(yield func(fetched) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		queue := make([]chan fetched, 0, ahead)
		pop := func() bool {
			f := <-queue[0]
			queue = append(queue[:0], queue[1:]...)
			return yield(f)
		}
		for r := range l.refs() {
			if len(queue) == ahead && !pop() {
				return
			}
			c := make(chan fetched, 1)
			queue = append(queue, c)
			if r.to != 0 {
				c <- fetched{ref: r, err: fs.ErrNotExist}
				continue
			}
			wg.Go(func() {
				f := fetched{ref: r}
				f.m, f.err = p.readManifest(ctx, id, r.epoch, r.number)
				p.o.Progress.Manifests.Add(1)
				c <- f
			})
		}
		for len(queue) > 0 {
			if !pop() {
				return
			}
		}
	}
}

// readable yields the manifests of a chain that can be read, in order. The others are reported when the chain is judged. For one that
// may be sound and cannot be read it also yields errUnread, because it may have been read then. Any other error ends it.
func (p *place) readable(ctx context.Context, id object.Origin) iter.Seq2[*ship.Manifest, error] {
	return func(yield func(*ship.Manifest, error) bool) {
		l := p.chains[id]
		if l == nil {
			return
		}
		for f := range p.manifests(ctx, id, l, readAhead) {
			if errors.Is(f.err, fs.ErrNotExist) || errors.Is(f.err, ship.ErrVerify) {
				continue
			}
			if !yield(f.m, f.err) || f.err != nil && !errors.Is(f.err, errUnread) {
				return
			}
		}
	}
}

// expected is an object that a line of a chain names, 48 bytes. Several lines may name the same one.
type expected struct {
	first, last uint64
	size        int64
	said        statement
	spool       uint32 // index into auditor.spools, which is sorted
	epoch       uint32
	hour        int32
	ext         uint16 // index into auditor.exts
	flags       uint8
}

const (
	optional uint8 = 1 << iota // may have been deleted by a retention rule
	asked                      // was asked for by name
)

func (a *auditor) key(e *expected) object.Key {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.keyOf(e)
}

// keyOf is key without the lock, for use while nothing is added to exts.
func (a *auditor) keyOf(e *expected) object.Key {
	return object.Key{Origin: a.spools[e.spool], Hour: e.hour, Epoch: e.epoch, First: e.first, Last: e.last, Ext: a.exts[e.ext]}
}

// compareExpected compares by the byte order of keys.
func (a *auditor) compareExpected(x, y expected) int {
	k, o := a.keyOf(&x), a.keyOf(&y)
	return cmp.Or(strings.Compare(k.Class, o.Class), k.Compare(&o))
}
