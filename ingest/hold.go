package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/penstock-go/penstock/internal/steadylog"
	"github.com/penstock-go/penstock/spool/segment"
)

// Hold is a Sink for the time before the real one is available, for example while the predecessor still has the spool
// open. It holds the offered records in memory. When the memory is used up, Offer waits, and so does the listener; Append
// always waits. After Attach a Hold passes everything on.
//
// The records are only in this process's memory: a program that has a Hold must attach a sink before it ends.
type Hold struct {
	drops    func(cookie uint64) uint64
	log      *limiter
	sink     Sink          // set before attached is closed
	attached chan struct{} // closed by Attach

	mu        sync.Mutex
	attaching bool
	free      int64
	chunks    [][]byte // payloads
	batches   [][]segment.Record
	held      segment.Tally
	account   segment.Account
	sockets   map[uint64]uint64
}

var (
	_ Sink         = (*Hold)(nil)
	_ Keeper       = (*Hold)(nil)
	_ TryOfferer   = (*Hold)(nil)
	_ Durable      = (*Hold)(nil)
	_ DropBaseline = (*Hold)(nil)
	_ Sessions     = (*Hold)(nil)
)

const (
	// holdChunk is how much memory a Hold takes at a time.
	holdChunk = 1 << 20
	// recordCost is the memory that a record uses besides its payload.
	recordCost = 88
)

// HoldOptions configure a Hold. The zero value of every field means its documented default.
type HoldOptions struct {
	// MemoryBytes is the most memory, in bytes, that the Hold allocates, as needed. Default 128 MiB.
	MemoryBytes int64
	// SocketDrops returns how many of a socket's drops an earlier process has accounted for: see Inheritance.SocketDrops.
	// Default: none.
	SocketDrops func(cookie uint64) uint64
	// Logger gets a line when passing on is slow; nil discards.
	Logger *slog.Logger
}

// NewHold returns an empty Hold.
func NewHold(o *HoldOptions) *Hold {
	if o == nil {
		o = new(HoldOptions)
	}
	bytes := o.MemoryBytes
	setDefault(&bytes, 128<<20)
	return &Hold{
		drops: o.SocketDrops, log: newLimiter(steadylog.Wrap(o.Logger)), attached: make(chan struct{}), free: bytes,
		sockets: make(map[uint64]uint64),
	}
}

// Offer implements Sink.
func (h *Hold) Offer(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	select {
	case <-h.attached:
		return h.sink.Offer(ctx, batch)
	default:
	}
	if h.copyBatch(batch, true) {
		return 0, nil
	}
	if err := h.wait(ctx); err != nil {
		return 0, err
	}
	return h.sink.Offer(ctx, batch)
}

// Append implements Sink.
func (h *Hold) Append(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	if err := h.wait(ctx); err != nil {
		return 0, err
	}
	return h.sink.Append(ctx, batch)
}

// Keep implements Keeper: it takes the batch into memory, or gives it to the attached sink.
func (h *Hold) Keep(batch []segment.Record) (last uint64, err error) {
	if h.copyBatch(batch, false) {
		return 0, nil
	}
	select {
	case <-h.attached:
		return Keep(h.sink, batch)
	default:
		return 0, errGivenUp
	}
}

// TryOffer implements TryOfferer in the same way.
func (h *Hold) TryOffer(batch []segment.Record) (last uint64, err error) {
	select {
	case <-h.attached:
		return TryOffer(h.sink, batch)
	default:
	}
	if h.copyBatch(batch, false) {
		return 0, nil
	}
	select {
	case <-h.attached: // in the meantime
		return TryOffer(h.sink, batch)
	default:
		return 0, errHoldFull
	}
}

var errHoldFull = errors.New("ingest: there is no sink yet, and no memory to hold more records")

// WaitDurable implements Durable. It waits for a sink first, since nothing is durable in a Hold.
func (h *Hold) WaitDurable(ctx context.Context, seq uint64) error {
	if err := h.wait(ctx); err != nil {
		return err
	}
	return waitDurable(ctx, h.sink, seq)
}

// Session implements Sessions with a session of the sink that will be attached.
func (h *Hold) Session() Sink { return &holdSession{Hold: h} }

// holdSession is a Hold for one connection. Only Append and WaitDurable are called before records of a session are given
// up, and both wait for the sink.
type holdSession struct {
	*Hold
	once sync.Once
	sink Sink
}

func (s *holdSession) session(ctx context.Context) (Sink, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	s.once.Do(func() { s.sink = Session(s.Hold.sink) })
	return s.sink, nil
}

// Append implements Sink.
func (s *holdSession) Append(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	sink, err := s.session(ctx)
	if err != nil {
		return 0, err
	}
	return sink.Append(ctx, batch)
}

// WaitDurable implements Durable.
func (s *holdSession) WaitDurable(ctx context.Context, seq uint64) error {
	sink, err := s.session(ctx)
	if err != nil {
		return err
	}
	return waitDurable(ctx, sink, seq)
}

// wait returns nil when there is a sink.
func (h *Hold) wait(ctx context.Context) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	select {
	case <-h.attached:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ingest: there is no sink yet: %w", ctx.Err())
	}
}

// copyBatch copies a batch, if there is room for it.
func (h *Hold) copyBatch(batch []segment.Record, waits bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := tally(batch)
	cost := int64(t.Bytes) + recordCost*int64(t.Records)
	for i := range batch {
		// A set that several records share is counted once for each run of them, which overestimates its size.
		if a := batch[i].Attrs; a != nil && (i == 0 || a != batch[i-1].Attrs) {
			cost += int64(a.Size())
		}
	}
	// While records are passed on, callers that can wait must wait, so that memory is left for those that cannot. Once
	// there is a sink nothing is added, because nothing would pass it on.
	if h.sink != nil || h.attaching && waits || cost > h.free {
		return false
	}
	h.free -= cost
	addTally(&h.held, t)
	recs := make([]segment.Record, len(batch))
	for i, r := range batch {
		r.Data = h.copy(r.Data)
		recs[i] = r
	}
	h.batches = append(h.batches, recs)
	return true
}

// copy puts a payload into the last chunk, or a new one.
func (h *Hold) copy(b []byte) []byte {
	n := len(h.chunks) - 1
	if n < 0 || cap(h.chunks[n])-len(h.chunks[n]) < len(b) {
		h.chunks = append(h.chunks, make([]byte, 0, max(holdChunk, len(b))))
		n++
	}
	c := append(h.chunks[n], b...)
	h.chunks[n] = c
	return c[len(c)-len(b):]
}

// Account implements Sink.
func (h *Hold) Account(a segment.Account) {
	select {
	case <-h.attached:
		h.sink.Account(a)
		return
	default:
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.attached: // in the meantime
		h.sink.Account(a)
		return
	default:
	}
	h.account.Add(a)
	if a.Socket != 0 {
		h.sockets[a.Socket] = a.Drops
	}
}

// SocketDrops implements DropBaseline: drops are counted from where the last reader stopped.
func (h *Hold) SocketDrops(cookie uint64) uint64 {
	if h.drops == nil {
		return 0
	}
	return h.drops(cookie)
}

// Held returns how many records wait for a sink.
func (h *Hold) Held() segment.Tally {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held
}

// Attach passes everything that is held to sink, accounts first, and makes the Hold pass on everything that is offered
// from then on. When ctx ends, Attach no longer waits for space: a sink with Keep takes the rest at once (see Sink).
// After an error the rest is still held, and Attach must be called again with the same sink. A Route takes or loses
// everything once ctx has ended: Attach then returns nil, and the ledgers of the Route's sinks say what was lost. After
// success Attach must not be called again.
func (h *Hold) Attach(ctx context.Context, sink Sink) error {
	if err := errors.Join(checkContext(ctx), checkSink(sink)); err != nil {
		return err
	}
	ctx = context.WithValue(ctx, patientKey{}, true)
	for {
		h.mu.Lock()
		h.attaching = true
		batches, chunks := h.batches, h.chunks
		h.batches, h.chunks = nil, nil
		h.passAccounts(sink)
		if len(batches) == 0 {
			h.sink = sink
			close(h.attached)
			h.mu.Unlock()
			return nil
		}
		h.mu.Unlock()
		if err := h.pass(ctx, sink, batches, chunks); err != nil {
			return err
		}
	}
}

// pass passes batches on. Records that TryOffer and Keep add meanwhile follow them; no memory becomes free before the end, so these
// are bounded.
func (h *Hold) pass(ctx context.Context, sink Sink, batches [][]segment.Record, chunks [][]byte) error {
	for len(batches) > 0 {
		b := batches[0]
		left := deliver(ctx, sink.Offer, b, h.log)
		if len(left) > 0 {
			left = keep(sink, left)
		}
		h.mu.Lock()
		done := tally(b[:len(b)-len(left)])
		h.held.Records -= done.Records
		h.held.Bytes -= done.Bytes
		if len(left) > 0 {
			batches[0] = left
			h.batches, h.chunks = append(batches, h.batches...), append(chunks, h.chunks...)
			n := h.held
			h.mu.Unlock()
			return fmt.Errorf("ingest: %w with %d records (%d bytes) in memory that the sink has not taken", ctx.Err(), n.Records, n.Bytes)
		}
		h.mu.Unlock()
		batches[0], batches = nil, batches[1:]
	}
	return nil
}

// passAccounts passes on the accounts that were received; h.mu is held.
func (h *Hold) passAccounts(sink Sink) {
	sink.Account(h.account)
	h.account = segment.Account{}
	for cookie, drops := range h.sockets {
		sink.Account(segment.Account{Socket: cookie, Drops: drops})
	}
	clear(h.sockets)
}
