package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/penstock-go/penstock/internal/steadylog"
	"github.com/penstock-go/penstock/spool/segment"
)

// ChooseFunc appends the names of the Sinks that get the record to the slice to, which is empty, and returns the result.
// If it returns no name, the record is dropped. It must not change the bytes of r.Data. It is called from many goroutines
// at once, without a lock.
type ChooseFunc func(r segment.Record, to []string) []string

// RouteOptions configure a Route.
type RouteOptions struct {
	// Sinks by name, at least one. Each should be the Intake of a separate spool, or a Transform in front of it. A Sink
	// that is not a TryOfferer can delay the others.
	Sinks map[string]Sink
	// Default is the name of the Sink whose ledger counts everything that was not routed: records that the listener has
	// lost, that the kernel has dropped, and that Choose has dropped. Records for a name that is not in Sinks are routed
	// there too, and logged.
	Default string
	// Choose names the Sinks for each record.
	Choose ChooseFunc
	// Logger gets lines about records that a Sink had no room for, and about mistakes of Choose, at a bounded rate; nil
	// discards.
	Logger *slog.Logger
}

// Route is a Sink that distributes records to others, by their content, their source, or their attributes. Each
// ledger counts as received what is routed to it: a record that goes to k Sinks is received once in each.
//
// Append, which TCP listeners call, waits for each Sink, and only the connection waits. A sender that waits for an
// acknowledgement gets it when the records are durable in all of the Sinks that they were routed to. If one Sink has
// taken a record and another cannot, the sender gets no acknowledgement and repeats the record, and the first Sink has it
// twice. No other duplicate is possible.
//
// Offer, which datagram listeners call, never waits: one spool must not delay another. A Sink without room loses the
// records that were routed to it at once, and its ledger counts them (spool_full). So only the spool's memory budget
// (spool.Options.MemoryBytes) bridges a stall of its disk.
//
// If Choose panics, the record is lost (panic), in the ledger of the default Sink; if its sender waits for an
// acknowledgement, nothing of the batch is taken, the connection ends, and the sender repeats the batch.
type Route struct {
	*routing
	sinks []routed // as in routing.names
	marks marks
}

var (
	_ Sink         = (*Route)(nil)
	_ Keeper       = (*Route)(nil)
	_ TryOfferer   = (*Route)(nil)
	_ Durable      = (*Route)(nil)
	_ DropBaseline = (*Route)(nil)
	_ Sessions     = (*Route)(nil)
)

// routing is the part of a Route that its sessions share.
type routing struct {
	names   []string
	initial int // index of the default
	choose  ChooseFunc
	log     *limiter
	spare   sync.Pool // of *sorting
}

// routed is one of the Sinks.
type routed struct {
	Sink
	append, offer put // bound once: a method value allocates
}

// NewRoute returns a Route. Its error names all mistakes in the options.
func NewRoute(o *RouteOptions) (*Route, error) {
	if o == nil {
		o = &RouteOptions{}
	}
	var errs []error
	if o.Choose == nil {
		errs = append(errs, errors.New("ingest: Route: Choose is missing"))
	}
	if o.Sinks[o.Default] == nil {
		errs = append(errs, fmt.Errorf("ingest: Route: Default %q: there is no such Sink", o.Default))
	}
	g := &routing{names: slices.Sorted(maps.Keys(o.Sinks)), choose: o.Choose, log: newLimiter(steadylog.Wrap(o.Logger))}
	sinks := make([]Sink, len(g.names))
	for i, name := range g.names {
		if sinks[i] = o.Sinks[name]; sinks[i] == nil {
			errs = append(errs, fmt.Errorf("ingest: Route: the Sink %q is nil", name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	g.initial = slices.Index(g.names, o.Default)
	g.spare.New = func() any { return &sorting{parts: make([]part, len(g.names)), to: make([]string, 0, len(g.names))} }
	return g.route(sinks, false), nil
}

func (g *routing) route(sinks []Sink, session bool) *Route {
	r := &Route{routing: g, sinks: make([]routed, len(sinks))}
	for i, s := range sinks {
		r.sinks[i] = routed{Sink: s, append: s.Append, offer: s.Offer}
	}
	r.marks.exact = session
	r.marks.last = make([]uint64, len(sinks))
	return r
}

// Session implements Sessions.
func (r *Route) Session() Sink {
	sinks := make([]Sink, len(r.sinks))
	for i, s := range r.sinks {
		sinks[i] = Session(s.Sink)
	}
	return r.route(sinks, true)
}

// Append implements Sink. If ctx ends before any Sink has taken records, the batch is not taken. Otherwise the remaining
// Sinks keep their records even over the quota, or lose them (given_up).
func (r *Route) Append(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	return r.pass(ctx, batch, (*Route).wait)
}

// Offer implements Sink. It never waits: see Route. The exception is records that a Hold passes on: no sender waits for
// them, and its goroutine reads no socket.
func (r *Route) Offer(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	if ctx.Value(patientKey{}) != nil {
		return r.pass(ctx, batch, (*Route).waitOffering)
	}
	return r.pass(ctx, batch, (*Route).hurry)
}

// TryOffer implements TryOfferer, by Offer.
func (r *Route) TryOffer(batch []segment.Record) (last uint64, err error) {
	return r.Offer(context.Background(), batch)
}

// Keep implements Keeper. It settles the whole batch: a Sink that does not keep its records loses them, and its ledger counts them
// (given_up).
func (r *Route) Keep(batch []segment.Record) (last uint64, err error) {
	return r.pass(context.Background(), batch, (*Route).keep)
}

// handing hands a part to a Sink, and returns what was not taken.
type handing func(r *Route, ctx context.Context, i int, d *delivery, part []segment.Record) (left []segment.Record)

func (r *Route) wait(ctx context.Context, i int, d *delivery, part []segment.Record) (left []segment.Record) {
	return d.run(ctx, r.sinks[i].append, part, r.log)
}

func (r *Route) waitOffering(ctx context.Context, i int, d *delivery, part []segment.Record) (left []segment.Record) {
	return d.run(ctx, r.sinks[i].offer, part, r.log)
}

// hurry offers without waiting, and loses the records for which there is no room.
func (r *Route) hurry(_ context.Context, i int, d *delivery, part []segment.Record) (left []segment.Record) {
	if left = d.tryAll(r.sinks[i].Sink, part); len(left) > 0 {
		r.lose(i, d, left, segment.SpoolFull)
		r.log.warn("ingest: a spool has no room; records that were routed to it are lost, and others are not delayed", "sink", r.names[i],
			"records", len(left), "err", d.refused)
	}
	return nil
}

// keep loses the records that a Sink does not keep; the other Sinks still keep theirs.
func (r *Route) keep(_ context.Context, i int, d *delivery, part []segment.Record) (left []segment.Record) {
	if !d.settled(Keep(r.sinks[i].Sink, part)) {
		r.lose(i, d, part, segment.GivenUp)
		r.log.warn("ingest: a spool refused records that a closed listener still had in memory; they are lost", "sink", r.names[i],
			"records", len(part), "err", d.refused)
	}
	return nil
}

// lose counts records that a Sink does not get, in its ledger.
func (r *Route) lose(i int, d *delivery, left []segment.Record, cause segment.Cause) {
	e := &lostError{tally(left), cause, d.refused}
	r.sinks[i].Account(e.account(false))
	d.rejected = e
}

func (r *Route) pass(ctx context.Context, batch []segment.Record, h handing) (last uint64, err error) {
	s := r.spare.Get().(*sorting)
	last, err = r.passSorting(ctx, batch, h, s)
	s.release(r.routing)
	return last, err
}

// passSorting hands each Sink its part. It first accounts for each part as received, and reverses that if ctx ends before
// any Sink has taken records.
func (r *Route) passSorting(ctx context.Context, batch []segment.Record, h handing, s *sorting) (last uint64, err error) {
	s.sort(r.routing, batch)
	initial := r.sinks[r.initial]
	if s.bad != nil && acknowledged(ctx) {
		s.bad.t = tally(batch)
		a := s.bad.account(true)
		a.Received = s.bad.t
		initial.Account(a)
		return 0, s.bad
	}
	taken := false
	for i := range s.parts {
		p := &s.parts[i]
		if len(p.records) == 0 {
			continue
		}
		r.sinks[i].Account(segment.Account{Received: p.tally})
		d := &p.delivery
		left := h(r, ctx, i, d, p.records)
		if len(left) == len(p.records) && !taken {
			r.sinks[i].Account(segment.Account{Received: minus(p.tally)})
			return 0, d.refused
		}
		taken = true
		if len(left) > 0 {
			if err := giveUp(ctx, r.sinks[i].Sink, left, d.refused); err != nil {
				d.rejected = err
			}
		}
		if d.rejected != nil {
			err = d.rejected
		}
		last = r.marks.add(i, d.last)
	}
	if s.aside != (segment.Account{}) {
		initial.Account(s.aside)
	}
	switch {
	case err != nil:
		return 0, err
	case s.bad != nil:
		return 0, s.bad
	}
	return last, nil
}

// Account implements Sink. Records that the listener has in hand are accounted for where they are routed to.
func (r *Route) Account(a segment.Account) {
	// Filtered records were dropped by a Transform in front of the Route. Records that it made will be counted as
	// received when they are routed.
	a.Received, a.Made = a.Lost.Total(), segment.Tally{}
	a.Received.Add(a.Filtered)
	if a != (segment.Account{}) {
		r.sinks[r.initial].Account(a)
	}
}

// SocketDrops implements DropBaseline by the default Sink, whose ledger has the drops.
func (r *Route) SocketDrops(cookie uint64) uint64 {
	if b, ok := find[DropBaseline](r.sinks[r.initial].Sink); ok {
		return b.SocketDrops(cookie)
	}
	return 0
}

// sorting is a batch divided by Sinks, and the memory for it.
type sorting struct {
	parts []part
	to    []string        // empty: Choose appends to it, but may return a slice of its own
	aside segment.Account // records that no Sink gets
	bad   *lostError      // the last record that was lost
}

// part has the records for one Sink.
type part struct {
	records  []segment.Record
	tally    segment.Tally
	latest   int // the place of the last record in the batch, from 1
	delivery delivery
}

// release returns the memory to the pool, with its pointers cleared.
func (s *sorting) release(g *routing) {
	for i := range s.parts {
		clear(s.parts[i].records)
		s.parts[i] = part{records: s.parts[i].records[:0]}
	}
	s.aside, s.bad = segment.Account{}, nil
	g.spare.Put(s)
}

func (s *sorting) sort(g *routing, batch []segment.Record) {
	for i := 0; i < len(batch); i++ {
		var r any
		if i, r = s.run(g, batch, i); r != nil {
			g.log.panicked("ingest: the choice of a Route panicked; the record is lost, or its sender repeats it", r, "src", batch[i].Src.String())
			t := tally(batch[i : i+1])
			s.bad = &lostError{t, segment.Panicked, fmt.Errorf("%w: %v", errPanicked, r)}
			a := s.bad.account(false)
			a.Received = t
			s.aside.Add(a)
		}
	}
}

// run sorts batch[i:] until the end, or until Choose panics: then it returns the index of that record.
func (s *sorting) run(g *routing, batch []segment.Record, i int) (at int, panicked any) {
	defer func() {
		if panicked = recover(); panicked != nil {
			at = i
		}
	}()
	for ; i < len(batch); i++ {
		r := batch[i]
		r.Data = slices.Clip(r.Data)
		s.put(g, r, g.choose(r, s.to), i+1)
	}
	return i, nil
}

// put adds a record to the part of each chosen Sink, once.
func (s *sorting) put(g *routing, r segment.Record, to []string, place int) {
	t := segment.Tally{Records: 1, Bytes: uint64(len(r.Data))}
	if len(to) == 0 {
		addTally(&s.aside.Received, t)
		addTally(&s.aside.Filtered, t)
	}
	for _, name := range to {
		k := slices.Index(g.names, name)
		if k < 0 {
			g.log.warn("ingest: a Route has no Sink of the name that was chosen; the records go to the default", "sink", name)
			k = g.initial
		}
		p := &s.parts[k]
		if p.latest == place {
			continue
		}
		p.latest = place
		p.records = append(p.records, r)
		addTally(&p.tally, t)
	}
}
