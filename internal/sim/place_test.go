package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
)

var (
	errDown = errors.New("sim: the destination is down")
	errDead = errors.New("sim: the process is dead")
)

// page is the answer of a middlebox to every call.
const page = "<!DOCTYPE html><html><title>Maintenance</title><body>We will be back soon.</body></html>\n"

// place is a destination. It outlives every process.
type place struct {
	name string
	mem  *shiptest.MemoryDestination

	mu    sync.Mutex
	fault Kind // "" for none
	until time.Time
	calls map[string]int
	moved map[string][]byte // by key
}

func newPlace(name string) *place {
	return &place{name: name, mem: shiptest.Memory(), calls: map[string]int{}, moved: map[string][]byte{}}
}

func (p *place) begin(fault Kind, ms int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.until = fault, time.Now().Add(time.Duration(ms)*time.Millisecond)
}

// heal ends every fault. Objects that were moved away return.
func (p *place) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = ""
	for key, body := range p.moved {
		if p.mem.Bytes(key) == nil {
			p.mem.Set(key, body)
		}
	}
	clear(p.moved)
}

// moveAway takes the n-th data object away.
func (p *place) moveAway(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var keys []string
	for _, key := range p.mem.Keys() {
		if strings.HasPrefix(key, "class=") {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return
	}
	key := keys[int(n)%len(keys)]
	p.moved[key] = p.mem.Bytes(key)
	p.mem.Remove(key)
}

// now returns the current fault for a call, and a number that depends on the call's key and on how often the key was used.
func (p *place) now(op, key string) (Kind, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault == "" || time.Now().After(p.until) {
		return "", 0
	}
	call := op + " " + key
	p.calls[call]++
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", call, p.calls[call])
	return p.fault, h.Sum64()
}

// mortal is a caller of destinations: after its death its calls have no effect.
type mortal interface {
	// step is called before and after the effect of each call; its error means that the caller is dead.
	step(what string) error
}

// door is a place as one process sees it.
type door struct {
	*place
	who mortal
}

var (
	_ ship.Destination = door{}
	_ ship.Lister      = door{}
	_ ship.Checker     = door{}
	_ ship.Locator     = door{}
)

// call performs one call with the current fault. box turns the result into that of a middlebox.
func call[T any](ctx context.Context, d door, op, key string, effect, box func() (T, error)) (v T, err error) {
	var zero T
	kind := op
	if strings.HasPrefix(key, object.ManifestPrefix) {
		kind += " manifest"
	}
	if err := d.who.step("before " + kind); err != nil {
		return zero, err
	}
	fault, n := d.now(op, key)
	switch fault {
	case Down:
		return zero, errDown
	case Silent:
		if err := sleep(ctx, 30*time.Second+time.Duration(n%1000)); err != nil {
			return zero, err
		}
		return zero, errors.Join(errDown, context.DeadlineExceeded)
	case Slow:
		if err := sleep(ctx, time.Duration(1+n%5)*time.Second+time.Duration(n%1000)); err != nil {
			return zero, err
		}
	case Middlebox:
		return box()
	}
	v, err = effect()
	if dead := d.who.step("after " + kind); dead != nil {
		return zero, dead
	}
	if fault == LoseReply && err == nil && n%2 == 0 {
		if c, ok := any(v).(io.Closer); ok {
			_ = c.Close()
		}
		return zero, errors.New("sim: the connection was cut before the answer")
	}
	return v, err
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Put implements ship.Destination. If a driver is told that the key exists, but gets a page of a different size there, it
// returns a conflict.
func (d door) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	return call(ctx, d, "put", o.Key, func() (ship.Receipt, error) { return d.mem.Put(ctx, o, body) }, func() (ship.Receipt, error) {
		return ship.Receipt{}, fmt.Errorf("sim: put %s: %d bytes are there: %w", o.Key, len(page), ship.ErrConflict)
	})
}

// Stat implements ship.Destination.
func (d door) Stat(ctx context.Context, key string) (ship.Receipt, error) {
	return call(ctx, d, "stat", key, func() (ship.Receipt, error) { return d.mem.Stat(ctx, key) }, func() (ship.Receipt, error) {
		return ship.Receipt{Size: int64(len(page)), Method: "head", Time: time.Now().UTC()}, nil
	})
}

// Open implements ship.Destination.
func (d door) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	return call(ctx, d, "open", key, func() (io.ReadCloser, error) { return d.mem.Open(ctx, key) }, func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(page)), nil
	})
}

// List implements ship.Lister.
func (d door) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		seq, err := call(ctx, d, "list", prefix, func() (iter.Seq2[ship.Entry, error], error) { return d.mem.List(ctx, prefix), nil },
			func() (iter.Seq2[ship.Entry, error], error) { return nil, errors.New("sim: the answer is no XML") })
		if err != nil {
			yield(ship.Entry{}, err)
			return
		}
		seq(yield)
	}
}

// Check implements ship.Checker.
func (d door) Check(ctx context.Context) error {
	_, err := call(ctx, d, "check", "", func() (struct{}, error) { return struct{}{}, d.mem.Check(ctx) },
		func() (struct{}, error) { return struct{}{}, errors.New("sim: the answer is no XML") })
	return err
}

// Location implements ship.Locator.
func (d door) Location() string { return d.mem.Location() }
