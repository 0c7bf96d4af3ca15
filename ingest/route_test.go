package ingest

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/penstock-go/penstock/spool/segment"
)

// byFirst routes a record to the sinks that its first letters name, up to the first letter that names none.
func byFirst(r segment.Record, to []string) []string {
	for _, c := range r.Data {
		switch c {
		case 'a':
			to = append(to, "a")
		case 'b':
			to = append(to, "b")
		case 'u':
			to = append(to, "unknown")
		case 'p':
			panic("a bug")
		default:
			return to
		}
	}
	return to
}

func route(t testing.TB, a, b Sink) *Route {
	t.Helper()
	r, err := NewRoute(&RouteOptions{Sinks: map[string]Sink{"a": a, "b": b}, Default: "a", Choose: byFirst})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Each sink gets its records, and each ledger counts what was routed to it. Records for no sink are filtered, in the
// ledger of the default; records for an unknown name are routed to the default.
func TestRoute(t *testing.T) {
	a, b := newSink(), newSink()
	r := route(t, a, b)
	batch := recordsOf("a1", "b2", "ab3", "bb4", "dropped", "u5", "au6", "p7")
	r.Account(segment.Account{Received: tally(batch)})
	if _, err := r.Offer(t.Context(), batch); !rejected(err) {
		t.Errorf("%v: one record was lost", err)
	}
	if got := a.payloads(); !slices.Equal(got, []string{"a1", "ab3", "u5", "au6"}) {
		t.Errorf("a: %q", got)
	}
	if got := b.payloads(); !slices.Equal(got, []string{"b2", "ab3", "bb4"}) {
		t.Errorf("b: %q", got)
	}
	if a.acct.Received.Records != 6 || a.acct.Filtered.Records != 1 || a.acct.Lost[segment.Panicked].Records != 1 || b.acct.Received.Records != 3 {
		t.Errorf("%+v\n%+v", a.acct, b.acct)
	}
	a.closes(t)
	b.closes(t)
}

// What the listener has lost is in the default's ledger, and so is what a Transform before the Route drops; what it makes
// is received where it is routed to.
func TestRouteBehindTransform(t *testing.T) {
	a, b := newSink(), newSink()
	x := transform(t, route(t, transform(t, a, edit), b), edit)
	batch := recordsOf("a1,b2,b3", "drop", "b4", "panic")
	account := segment.Account{Received: tally(batch), Socket: 7, Drops: 3}
	account.Received.Records += 3
	account.Lost[segment.KernelOverflow] = segment.Loss{Records: 3, BytesUnknown: true}
	x.Account(account)
	x.Offer(t.Context(), batch)
	if a.acct.Received.Records != 6 || a.acct.Filtered.Records != 1 || a.acct.Lost[segment.KernelOverflow].Records != 3 || a.acct.Drops != 3 || b.acct.Received.Records != 3 {
		t.Errorf("%+v\n%+v", a.acct, b.acct)
	}
	a.closes(t)
	b.closes(t)
}

// A full spool loses its own datagrams at once, counted, and delays no other.
func TestRouteFull(t *testing.T) {
	a, b := newSink(), newSink()
	a.blocked = true
	r := route(t, a, b)
	batch := recordsOf("a", "b", "ab")
	r.Account(segment.Account{Received: tally(batch)})
	if _, err := r.Offer(t.Context(), batch); !rejected(err) {
		t.Error(err)
	}
	if got := b.payloads(); !slices.Equal(got, []string{"b", "ab"}) {
		t.Errorf("b: %q", got)
	}
	if n := a.acct.Lost[segment.SpoolFull]; n.Records != 2 {
		t.Errorf("%+v", n)
	}
	a.closes(t)
	b.closes(t)
}

// A sink that takes few at once still gets them all.
func TestRouteParts(t *testing.T) {
	s := newSink()
	r := route(t, threes{s}, newSink())
	batch := recordsOf(strings.Split(strings.Repeat("a", 20), "")...)
	if _, err := r.Offer(t.Context(), batch); err != nil || s.n != 20 {
		t.Errorf("%v, %d", err, s.n)
	}
	s.closes(t)
}

// threes takes no more than three records at once.
type threes struct{ *memSink }

func (s threes) TryOffer(b []segment.Record) (uint64, error) {
	if len(b) > 3 {
		return 0, errors.New("too much at once")
	}
	return s.memSink.TryOffer(b)
}

// slowDisk is a sink whose records become durable when it is told.
type slowDisk struct {
	*memSink
	durable *sync.Cond
	synced  uint64
	asked   uint64
}

func newSlowDisk() *slowDisk {
	s := &slowDisk{memSink: newSink()}
	s.durable = s.cond
	return s
}

func (s *slowDisk) WaitDurable(ctx context.Context, seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer context.AfterFunc(ctx, s.cond.Broadcast)()
	s.asked = max(s.asked, seq)
	s.cond.Broadcast()
	for s.synced < seq {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.cond.Wait()
	}
	return nil
}

// An acknowledgement waits for all the spools that a record was routed to, and for no other: the spool of one connection
// does not delay another connection.
func TestRouteAcknowledges(t *testing.T) {
	a, b := newSlowDisk(), newSlowDisk()
	a.synced = 1000
	l := listenTCP(t, &TCPOptions{Framing: func(*Stream) Framer { return &acked{} }})
	// This also works through an embedder's own wrapper and a Transform.
	serve(t, l, &passing{Sink: transform(t, route(t, a, b), func(r segment.Record, out []segment.Record) []segment.Record { return append(out, r) })})
	both, one := dialTCP(t, l), dialTCP(t, l)
	io.WriteString(both, "ab\n")
	b.await(t, "the question for b", func() bool { return b.asked == 1 })
	io.WriteString(one, "a\n")
	answer := make([]byte, 3)
	if _, err := io.ReadFull(one, answer); err != nil || string(answer) != "ok\n" {
		t.Fatalf("%q %v", answer, err)
	}
	b.update(func() { b.synced = 1 })
	if _, err := io.ReadFull(both, answer); err != nil || string(answer) != "ok\n" {
		t.Fatalf("%q %v", answer, err)
	}
	shutdown(t, l)
	a.closes(t)
	b.closes(t)
}

// acked takes lines and acknowledges each.
type acked struct {
	newline
	lines int
}

func (f *acked) Next(data []byte, eof bool) (int, []byte, error) {
	f.max = 100
	n, frame, err := f.newline.Next(data, eof)
	if frame != nil {
		f.lines++
	}
	return n, frame, err
}

func (f *acked) Answers() []byte {
	n := f.lines
	f.lines = 0
	return []byte(strings.Repeat("ok\n", n))
}
func (f *acked) Bye() []byte { return nil }

// passing is a wrapper as an embedder writes it.
type passing struct{ Sink }

func (p *passing) Unwrap() Sink  { return p.Sink }
func (p *passing) Session() Sink { return &passing{Session(p.Sink)} }

// plainWrapper has no Session: its connections wait for each other, and nothing is acknowledged too early.
func TestRouteBehindPlainWrapper(t *testing.T) {
	a, b := newSlowDisk(), newSlowDisk()
	a.synced, b.synced = 1000, 1000
	l := listenTCP(t, &TCPOptions{Framing: func(*Stream) Framer { return &acked{} }})
	serve(t, l, plainWrapper{route(t, a, b)})
	c := dialTCP(t, l)
	io.WriteString(c, "ab\n")
	answer := make([]byte, 3)
	if _, err := io.ReadFull(c, answer); err != nil || b.asked != 1 || a.asked != 1 {
		t.Fatalf("%q %v", answer, err)
	}
	shutdown(t, l)
}

type plainWrapper struct{ Sink }

func (p plainWrapper) Unwrap() Sink { return p.Sink }

// A Route with a sink that cannot tell when records are durable cannot serve a protocol that acknowledges.
func TestRouteNotDurable(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Framing: func(*Stream) Framer { return &acked{} }})
	if err := l.Serve(plainWrapper{transform(t, route(t, newSlowDisk(), newSink()), edit)}); !errors.Is(err, errNotDurable) {
		t.Error(err)
	}
	l.Close()
}

// A listener that is closed while one of two sinks waits: the one that waits keeps or loses its part, and both balance.
func TestRouteClosed(t *testing.T) {
	for name, first := range map[string]bool{"nothing was taken": true, "one has taken": false} {
		for kept, keeps := range map[string]bool{"kept": true, "given up": false} {
			t.Run(name+", "+kept, func(t *testing.T) {
				a, b := newSink(), newSink()
				stuck := b
				if first {
					stuck = a
				}
				stuck.blocked = true
				sinks := [2]Sink{a, b}
				if keeps {
					sinks = [2]Sink{keeping{a}, keeping{b}}
				}
				l := listenTCP(t, &TCPOptions{Framing: Newline})
				wait := serve(t, l, route(t, sinks[0], sinks[1]))
				c := dialTCP(t, l)
				io.WriteString(c, "ab1\na2\nb3\n")
				stuck.await(t, "the batch", func() bool { return stuck.waiting > 0 })
				l.Close()
				wait()
				if keeps && (a.n != 2 || b.n != 2) {
					t.Errorf("%d and %d kept", a.n, b.n)
				}
				a.closes(t)
				b.closes(t)
			})
		}
	}
}

// A sender whose record one spool has not taken gets no acknowledgement and repeats it; nothing else is duplicated.
func TestRouteRepeats(t *testing.T) {
	a, b := newSlowDisk(), newSlowDisk()
	a.synced, b.synced = 1000, 1000
	b.err = errFull{}
	l := listenTCP(t, &TCPOptions{Framing: func(*Stream) Framer { return &acked{} }})
	serve(t, l, route(t, a, b))
	c := dialTCP(t, l)
	io.WriteString(c, "ab1\n")
	if rest, _ := io.ReadAll(c); len(rest) > 0 {
		t.Errorf("acknowledged with %q", rest)
	}
	b.update(func() { b.err = nil })
	c = dialTCP(t, l)
	io.WriteString(c, "ab1\n")
	if _, err := io.ReadFull(c, make([]byte, 3)); err != nil {
		t.Error(err)
	}
	shutdown(t, l)
	if a.n != 2 || b.n != 1 {
		t.Errorf("a has %d, b %d", a.n, b.n)
	}
}

func TestRouteAllocates(t *testing.T) {
	a, b := &counting{}, &counting{}
	r := route(t, a, b)
	batch := recordsOf("a", "b", "ab", "ax")
	ctx := context.Background()
	if n := testing.AllocsPerRun(1000, func() { r.Offer(ctx, batch); r.Append(ctx, batch) }); n >= 1 && !raced {
		t.Errorf("%v allocations", n)
	}
}

// All mistakes are named at once.
func TestRouteOptionsBad(t *testing.T) {
	_, err := NewRoute(&RouteOptions{Sinks: map[string]Sink{"a": nil}, Default: "b"})
	for _, want := range []string{"Choose", `"a"`, `"b"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if _, err := NewRoute(nil); err == nil {
		t.Error("no options")
	}
}

func BenchmarkRoute(b *testing.B) {
	r := route(b, &counting{}, &counting{})
	var batch []segment.Record
	for i := range 1024 {
		batch = append(batch, segment.Record{Data: []byte{"ab"[i%2], ' '}})
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Offer(b.Context(), batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/record")
}

// Records from a Hold wait for room in a Route, since that delays nothing else.
func TestRouteAfterHold(t *testing.T) {
	a, b := newSink(), newSink()
	a.blocked = true
	h := NewHold(&HoldOptions{MemoryBytes: 1 << 20})
	batch := recordsOf("a1", "b2", "ab3")
	h.Account(segment.Account{Received: tally(batch)})
	if _, err := h.Offer(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	attached := make(chan error)
	go func() { attached <- h.Attach(t.Context(), transform(t, route(t, a, b), edit)) }()
	a.await(t, "the wait for room", func() bool { return a.waiting > 0 || lostRecords(&a.acct.Lost) > 0 })
	a.update(func() { a.blocked = false })
	if err := <-attached; err != nil || a.n != 2 || b.n != 2 {
		t.Errorf("%v, %d and %d kept", err, a.n, b.n)
	}
	a.closes(t)
	b.closes(t)
}

// While a Hold passes records on, it still takes those that must not wait, after the ones it has; none is left in it.
func TestTryOfferWhileAttaching(t *testing.T) {
	s := newSink()
	s.blocked = true
	h := NewHold(&HoldOptions{MemoryBytes: 1 << 20})
	h.Account(segment.Account{Received: segment.Tally{Records: 3, Bytes: 3}})
	first, second, third := recordsOf("1"), recordsOf("2"), recordsOf("3")
	if _, err := h.TryOffer(first); err != nil {
		t.Fatal(err)
	}
	attached := make(chan error)
	go func() { attached <- h.Attach(t.Context(), s) }()
	s.await(t, "the first record", func() bool { return s.waiting > 0 })
	_, err := h.TryOffer(second)
	_, err2 := h.Keep(third)
	if err != nil || err2 != nil {
		t.Error(err, err2)
	}
	s.update(func() { s.blocked = false })
	if err := <-attached; err != nil {
		t.Error(err)
	}
	if got := s.payloads(); !slices.Equal(got, []string{"1", "2", "3"}) || h.Held() != (segment.Tally{}) {
		t.Errorf("%q, held %+v", got, h.Held())
	}
	if _, err := h.TryOffer(first); err != nil || s.n != 4 {
		t.Errorf("%v: %d", err, s.n)
	}
}

// A Keep of which a part is lost settles the whole batch: the part that the other sink has kept is not counted as lost too, and the
// sink that refuses does not affect the other, whichever comes first. That applies to a closed listener and to a Hold.
func TestRouteKeepsInPart(t *testing.T) {
	for _, healthy := range []string{"a", "b"} {
		for _, hold := range []bool{false, true} {
			good, bad := newSink(), newSink()
			good.blocked, bad.blocked = true, true
			r := route(t, keeping{good}, bad)
			if healthy == "b" {
				r = route(t, bad, keeping{good})
			}
			if hold {
				h, batch := NewHold(nil), recordsOf("a1", "b2")
				h.Account(segment.Account{Received: tally(batch)})
				h.Offer(t.Context(), batch)
				if err := h.Attach(over, r); err != nil {
					t.Errorf("Attach: %v", err)
				}
			} else {
				l := listenTCP(t, &TCPOptions{Framing: Newline})
				wait := serve(t, l, transform(t, r, edit))
				io.WriteString(dialTCP(t, l), "a1\nb2\n")
				first := map[string]*memSink{"a": good, "b": bad}[healthy]
				first.await(t, "the batch", func() bool { return first.waiting > 0 })
				l.Close()
				wait()
			}
			if good.n != 1 || good.acct.Lost != (segment.Losses{}) || bad.acct.Lost[segment.GivenUp].Records != 1 {
				t.Errorf("healthy %s, hold %v: kept %d, %+v; the other %+v", healthy, hold, good.n, good.acct, bad.acct)
			}
			good.closes(t)
			bad.closes(t)
		}
	}
}

// A Route can choose by the attributes of a record, which stay with it through a Transform.
func TestRouteByAttribute(t *testing.T) {
	a, b := newSink(), newSink()
	r, err := NewRoute(&RouteOptions{Sinks: map[string]Sink{"a": a, "b": b}, Default: "a", Choose: func(r segment.Record, to []string) []string {
		if _, ok := r.Attrs.Get("tls.subject"); ok {
			return append(to, "b")
		}
		return append(to, "a")
	}})
	if err != nil {
		t.Fatal(err)
	}
	attrs, err := segment.NewAttrs(map[string]string{"tls.subject": "CN=x"})
	if err != nil {
		t.Fatal(err)
	}
	batch := recordsOf("1", "2,3", "4")
	batch[1].Attrs = attrs
	if _, err := transform(t, r, edit).Offer(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if got := b.payloads(); !slices.Equal(got, []string{"2", "3"}) || a.n != 2 || !b.recs[1].Attrs.Equal(attrs) {
		t.Errorf("b has %q, a %d", got, a.n)
	}
}

// A sender that asks for no acknowledgements sends nothing again, so records that a Route has not handed over when its
// listener is closed are kept.
func TestRouteClosedUnasked(t *testing.T) {
	a, b := newSink(), newSink()
	b.blocked = true
	l := listenTCP(t, &TCPOptions{Framing: func(*Stream) Framer { return &unasked{} }})
	wait := serve(t, l, route(t, durableKeeping{keeping{a}}, durableKeeping{keeping{b}}))
	c := dialTCP(t, l)
	io.WriteString(c, "ab1\n")
	b.await(t, "the batch", func() bool { return b.waiting > 0 })
	l.Close()
	wait()
	if a.n != 1 || b.n != 1 {
		t.Errorf("%d and %d kept, b lost %+v", a.n, b.n, b.acct.Lost[segment.GivenUp])
	}
}

type durableKeeping struct{ keeping }

func (durableKeeping) WaitDurable(context.Context, uint64) error { return nil }
