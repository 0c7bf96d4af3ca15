package ingest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/penstock-go/penstock/spool/segment"
)

// edit drops records that begin with "drop", splits those with a comma, and puts "x " before those that begin with "tag".
func edit(r segment.Record, out []segment.Record) []segment.Record {
	switch {
	case bytes.HasPrefix(r.Data, []byte("drop")):
		return nil
	case bytes.HasPrefix(r.Data, []byte("cut")):
		r.Data = r.Data[3:]
	case bytes.HasPrefix(r.Data, []byte("tag")):
		r.Data = append([]byte("x "), r.Data...)
	case bytes.HasPrefix(r.Data, []byte("panic")):
		panic("a bug")
	case bytes.HasPrefix(r.Data, []byte("long")):
		r.Data = make([]byte, segment.MaxRecord+1)
	}
	for part := range bytes.SplitSeq(r.Data, []byte(",")) {
		r.Data = part
		out = append(out, r)
	}
	return out
}

func recordsOf(data ...string) (batch []segment.Record) {
	for _, d := range data {
		batch = append(batch, segment.Record{Data: []byte(d)})
	}
	return batch
}

func transform(t testing.TB, next Sink, f TransformFunc) *Transform {
	t.Helper()
	x, err := NewTransform(next, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// closes checks that a sink and its ledger have the same records and bytes.
func (s *memSink) closes(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	in, out := s.acct.Received, segment.Tally{Records: s.n, Bytes: s.bytes}
	in.Add(s.acct.Made)
	out.Add(s.acct.Filtered)
	out.Add(s.acct.Lost.Total())
	if in != out {
		t.Errorf("received and made %+v, but kept, filtered and lost %+v: kept %d, %+v", in, out, s.n, s.acct)
	}
	if s.behind {
		t.Error("the account of received records was behind the kept ones")
	}
}

// Records that are dropped, grown, shrunk and split are accounted for, and the balance closes in records and in bytes.
func TestTransform(t *testing.T) {
	s := newSink()
	x := transform(t, s, edit)
	batch := recordsOf("a", "drop me", "tag", "b,cc,", "cut7", "drop")
	x.Account(segment.Account{Received: tally(batch)})
	if _, err := x.Offer(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if got := s.payloads(); !slices.Equal(got, []string{"a", "x tag", "b", "cc", "", "7"}) {
		t.Errorf("%q", got)
	}
	if s.acct.Filtered.Records != 2 || s.acct.Made.Records != 2 {
		t.Errorf("%+v", s.acct)
	}
	s.closes(t)
}

// A batch that is refused, whole or in parts, is not transformed a second time, and nothing is counted twice.
func TestTransformRefused(t *testing.T) {
	s := newSink()
	refusals := 3
	next := &sinkFuncs{memSink: s, offer: func(ctx context.Context, b []segment.Record) (uint64, error) {
		if refusals > 0 || len(b) > 1 {
			refusals--
			return 0, errors.New("not now")
		}
		return s.take(ctx, b)
	}}
	var calls atomic.Int32
	x := transform(t, next, func(r segment.Record, out []segment.Record) []segment.Record {
		calls.Add(1)
		return edit(r, out)
	})
	batch := recordsOf("a,b", "drop", "tag")
	x.Account(segment.Account{Received: tally(batch)})
	if left := deliver(t.Context(), x.Offer, batch, newLimiter(slog.New(slog.DiscardHandler))); len(left) > 0 || calls.Load() != 3 {
		t.Errorf("%d left, %d calls", len(left), calls.Load())
	}
	if got := s.payloads(); !slices.Equal(got, []string{"a", "b", "x tag"}) {
		t.Errorf("%q", got)
	}
	s.closes(t)
}

// A listener that is closed while its sink waits keeps the records in hand by Keep, or gives them up; either way the balance
// closes.
func TestTransformClosed(t *testing.T) {
	for name, keeps := range map[string]bool{"kept": true, "given up": false} {
		t.Run(name, func(t *testing.T) {
			s := newSink()
			s.blocked = true
			var next Sink = s
			if keeps {
				next = keeping{s}
			}
			l := listenTCP(t, &TCPOptions{Framing: Newline})
			wait := serve(t, l, transform(t, next, edit))
			c := dialTCP(t, l)
			io.WriteString(c, "a,b\ndrop\ntag\n")
			s.await(t, "the batch", func() bool { return s.waiting > 0 })
			l.Close()
			wait()
			want := []string{"a", "b", "x tag"}
			if !keeps {
				want = []string{}
			}
			if got := s.payloads(); !slices.Equal(got, want) {
				t.Errorf("%q", got)
			}
			s.closes(t)
		})
	}
}

// keeping is a memSink with Keep.
type keeping struct{ *memSink }

func (k keeping) Keep(b []segment.Record) (uint64, error) {
	k.update(func() { k.blocked = false })
	return k.take(context.Background(), b)
}

// sinkFuncs is a memSink with other methods.
type sinkFuncs struct {
	*memSink
	offer put
}

func (s *sinkFuncs) Offer(ctx context.Context, b []segment.Record) (uint64, error) {
	return s.offer(ctx, b)
}

// A panic or an overlong result loses only that record.
func TestTransformBad(t *testing.T) {
	s := newSink()
	x := transform(t, s, edit)
	batch := recordsOf("a", "panic", "b", "long", "c")
	x.Account(segment.Account{Received: tally(batch)})
	_, err := x.Offer(t.Context(), batch)
	if !rejected(err) {
		t.Errorf("%v: the caller must learn that records are lost", err)
	}
	if got := s.payloads(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("%q", got)
	}
	if s.acct.Lost[segment.Panicked].Records != 1 || s.acct.Lost[segment.FrameTooLong].Records != 1 {
		t.Errorf("%+v", s.acct.Lost)
	}
	s.closes(t)
}

// Records that a sender repeats because they were not acknowledged are not kept now: they would be kept again with each
// repetition.
func TestTransformBadAcknowledged(t *testing.T) {
	s := durableSink{newSink()}
	l := listenTCP(t, &TCPOptions{Framing: func(*Stream) Framer { return &ackedPacks{} }})
	serve(t, l, transform(t, s, func(r segment.Record, out []segment.Record) []segment.Record {
		if string(r.Data) == "b" {
			panic("a bug")
		}
		return append(out, r)
	}))
	c := dialTCP(t, l)
	io.WriteString(c, pack("xxa"))
	answer := make([]byte, 3)
	if _, err := io.ReadFull(c, answer); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, pack("xba"))
	if rest, _ := io.ReadAll(c); len(rest) > 0 {
		t.Errorf("acknowledged with %q", rest)
	}
	shutdown(t, l)
	if n := s.acct.Lost[segment.Panicked]; s.n != 3 || n.Records != 3 || !n.AtMost {
		t.Errorf("%d kept, lost %+v", s.n, n)
	}
	s.closes(t)
}

// An append by a transform does not write into the listener's buffer, where the next record is.
func TestTransformAppends(t *testing.T) {
	s := newSink()
	l := listenTCP(t, &TCPOptions{Framing: Newline})
	serve(t, l, transform(t, s, func(r segment.Record, out []segment.Record) []segment.Record {
		r.Data = append(r.Data, "!!!"...)
		return append(out, r)
	}))
	c := dialTCP(t, l)
	io.WriteString(c, strings.Repeat("abc\n", 100))
	c.Close()
	s.await(t, "all", func() bool { return s.n == 100 })
	for _, p := range s.payloads() {
		if p != "abc!!!" {
			t.Fatalf("%q", p)
		}
	}
	shutdown(t, l)
}

// Transforms can be chained, and allocate nothing while nothing changes.
func TestTransformAllocates(t *testing.T) {
	d := &counting{}
	inner := transform(t, d, func(r segment.Record, out []segment.Record) []segment.Record { return append(out, r) })
	x := transform(t, inner, func(r segment.Record, out []segment.Record) []segment.Record { return append(out, r) })
	batch := records(100)
	if n := testing.AllocsPerRun(1000, func() { x.Offer(t.Context(), batch); x.Append(t.Context(), batch) }); n >= 1 && !raced {
		t.Errorf("%v allocations", n)
	}
	if d.n.Load() == 0 || d.accounts.Load() > 0 {
		t.Errorf("%d records, %d accounts", d.n.Load(), d.accounts.Load())
	}
}

// counting only counts.
type counting struct {
	n        atomic.Int64
	accounts atomic.Int64
}

func (c *counting) Append(_ context.Context, b []segment.Record) (uint64, error) {
	return uint64(c.n.Add(int64(len(b)))), nil
}

func (c *counting) Offer(ctx context.Context, b []segment.Record) (uint64, error) {
	return c.Append(ctx, b)
}
func (c *counting) Account(segment.Account) { c.accounts.Add(1) }

func TestTransformRefusesNil(t *testing.T) {
	if _, err := NewTransform(nil, edit, nil); err == nil {
		t.Error("no Sink")
	}
	if _, err := NewTransform(newSink(), nil, nil); err == nil {
		t.Error("no function")
	}
}

func BenchmarkTransform(b *testing.B) {
	x := transform(b, &counting{}, func(r segment.Record, out []segment.Record) []segment.Record { return append(out, r) })
	batch := records(1024)
	b.ReportAllocs()
	for b.Loop() {
		x.Offer(b.Context(), batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/record")
}

// unasked is acked with senders that do not want acknowledgements.
type unasked struct{ acked }

func (*unasked) Answers() []byte { return nil }
func (*unasked) Asked() bool     { return false }

// A sender that does not ask for acknowledgements repeats nothing: only the bad record is lost.
func TestTransformBadUnasked(t *testing.T) {
	s := durableSink{newSink()}
	l := listenTCP(t, &TCPOptions{Framing: func(*Stream) Framer { return &unasked{} }, Window: 2})
	serve(t, l, transform(t, s, edit))
	c := dialTCP(t, l)
	io.WriteString(c, "a\npanic\nb\nc\nd\n")
	c.Close()
	s.await(t, "all", func() bool { return s.n+lostRecords(&s.acct.Lost) >= 5 })
	shutdown(t, l)
	if n := s.acct.Lost[segment.Panicked]; n.Records != 1 || n.AtMost || s.n != 4 {
		t.Errorf("kept %d, lost %+v", s.n, n)
	}
	s.closes(t)
}

// If a Sink has room for only a part, it does not get the rest over its quota: the rest is lost, as without the
// Transform.
func TestTransformTryOfferPart(t *testing.T) {
	s := newSink()
	room := 5
	kept := 0
	next := &partly{memSink: s, try: func(b []segment.Record) (uint64, error) {
		if len(b) > room {
			return 0, errors.New("full")
		}
		room -= len(b)
		return s.take(context.Background(), b)
	}, keepf: func(b []segment.Record) (uint64, error) {
		kept += len(b)
		return s.take(context.Background(), b)
	}}
	r := route(t, transform(t, next, edit), newSink())
	batch := recordsOf("a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8")
	r.Account(segment.Account{Received: tally(batch)})
	r.Offer(t.Context(), batch)
	if n := s.acct.Lost[segment.SpoolFull].Records; kept > 0 || n == 0 || s.n+n != 8 {
		t.Errorf("%d over the quota, %d taken, %d lost", kept, s.n, n)
	}
	s.closes(t)
}

type partly struct {
	*memSink
	try, keepf func(b []segment.Record) (uint64, error)
}

func (a *partly) TryOffer(b []segment.Record) (uint64, error) { return a.try(b) }
func (a *partly) Keep(b []segment.Record) (uint64, error)     { return a.keepf(b) }

// The functions of a Transform and a Route may return their own slice, which is neither changed nor reused.
func TestOwnSlices(t *testing.T) {
	s := newSink()
	always := recordsOf("always")
	x := transform(t, s, func(r segment.Record, out []segment.Record) []segment.Record {
		if string(r.Data) == "a" {
			return always
		}
		return append(out, r)
	})
	for range 3 {
		batch := recordsOf("a", "b")
		x.Account(segment.Account{Received: tally(batch)})
		x.Offer(t.Context(), batch)
	}
	if got := s.payloads(); !slices.Equal(got, []string{"always", "b", "always", "b", "always", "b"}) {
		t.Errorf("%q", got)
	}
	a, b := newSink(), newSink()
	only := []string{"a"}
	r, err := NewRoute(&RouteOptions{Sinks: map[string]Sink{"a": a, "b": b}, Default: "a", Choose: func(r segment.Record, to []string) []string {
		if string(r.Data) == "a" {
			return only
		}
		return append(to, "b")
	}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r.Offer(t.Context(), recordsOf("a", "b"))
	}
	if a.n != 3 || b.n != 3 {
		t.Errorf("a has %q, b has %q", a.payloads(), b.payloads())
	}
}

// neverDurable is a memSink on a disk that stalls.
type neverDurable struct{ *memSink }

func (neverDurable) WaitDurable(ctx context.Context, _ uint64) error {
	<-ctx.Done()
	return ctx.Err()
}

// Close while a sender that asks for no acknowledgement waits for the window: what was read of it is kept or counted.
func TestUnaskedWindowClosed(t *testing.T) {
	s := newSink()
	l := listenTCP(t, &TCPOptions{Framing: func(*Stream) Framer { return &unasked{} }, Window: 2})
	wait := serve(t, l, neverDurable{s})
	c := dialTCP(t, l)
	io.WriteString(c, "a\nb\nc\nd\ne\n")
	s.await(t, "the first", func() bool { return s.n == 2 })
	l.Close()
	wait()
	if n := s.n + lostRecords(&s.acct.Lost); n < 5 {
		t.Errorf("5 records were sent and read; %d kept, lost %+v; received %d", s.n, s.acct.Lost[segment.GivenUp], s.acct.Received.Records)
	}
}
