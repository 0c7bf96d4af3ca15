package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/penstock-go/penstock/spool/segment"
)

// packs is a framing of packs: a count, and one byte for each of count records, which it unpacks into memory that all
// packs share. A record "!" is lost. If it acknowledges, it acknowledges packs that end with "a".
type packs struct {
	pack    []byte // the rest of it
	memory  [255]byte
	used    int // bytes of memory that frames point to
	answers []byte
}

func (p *packs) Next(data []byte, eof bool) (int, []byte, error) {
	if len(data) == 0 || len(data) < 1+int(data[0]) {
		return 0, nil, nil
	}
	p.pack = data[1 : 1+int(data[0])]
	return 1 + len(p.pack), nil, nil
}

func (p *packs) Unpack() ([]byte, error) {
	if len(p.pack) == 0 {
		return nil, nil
	}
	if p.used == len(p.memory) {
		p.used = 0
		return nil, ErrFlush
	}
	r := p.pack[0]
	if p.pack = p.pack[1:]; len(p.pack) == 0 && r == 'a' {
		p.answers = append(p.answers, "ok\n"...)
	}
	if r == '!' {
		return nil, &LostFrame{Cause: segment.FrameTooLong, Bytes: 7}
	}
	p.memory[p.used] = r
	p.used++
	return p.memory[p.used-1 : p.used], nil
}

type ackedPacks struct{ packs }

func (p *ackedPacks) Answers() []byte {
	b := p.answers
	p.answers = nil
	return b
}

func (p *ackedPacks) Bye() []byte { return nil }

func pack(records string) string { return string(rune(len(records))) + records }

// Many records from few bytes, in memory that the framer reuses: each arrives unchanged and in order, and lost ones are
// counted.
func TestManyFramesOfOnePiece(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Framing: func(*Stream) Framer { return &packs{} }})
	s := newSink()
	serve(t, l, s)
	c := dialTCP(t, l)
	var want []string
	for i := range 50 {
		records := strings.Repeat(string(rune('a'+i%20)), 100)
		io.WriteString(c, pack(records+"!"))
		want = append(want, strings.Split(records, "")...)
	}
	c.Close()
	s.await(t, "all records", func() bool { return s.n == 5000 })
	shutdown(t, l)
	if got := s.payloads(); !slices.Equal(got, want) {
		t.Errorf("%d records, want %d; the first: %.50q", len(got), len(want), got)
	}
	st := l.Stats()
	if n := st.Lost[segment.FrameTooLong]; n.Records != 50 || n.Bytes != 350 {
		t.Errorf("lost %+v, want 50 records of 7 bytes", n)
	}
	s.balance(t, st)
}

// More records than the window before anything is acknowledged: the listener must not wait for an acknowledgement that
// cannot come before it reads on.
func TestRareAcknowledgements(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Framing: func(*Stream) Framer { return &ackedPacks{} }, Window: 7})
	s := durableSink{newSink()}
	serve(t, l, s)
	c := dialTCP(t, l)
	for range 10 {
		io.WriteString(c, pack(strings.Repeat("x", 100)))
	}
	io.WriteString(c, pack("xa"))
	answer := make([]byte, 3)
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "ok\n" {
		t.Fatalf("%q, %v", answer, err)
	}
	c.Close()
	shutdown(t, l)
	if s.n != 1002 {
		t.Errorf("%d records", s.n)
	}
}

type durableSink struct{ *memSink }

func (durableSink) WaitDurable(context.Context, uint64) error { return nil }

// An Unpacker that returns ErrFlush without end ends its connection, not the listener.
func TestEndlessFlush(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Framing: func(*Stream) Framer { return flusher{} }})
	s := newSink()
	serve(t, l, s)
	c := dialTCP(t, l)
	io.WriteString(c, "x")
	io.Copy(io.Discard, c)
	s.await(t, "the loss", func() bool { return s.acct.Lost[segment.Malformed].Records == 1 })
}

type flusher struct{}

func (flusher) Next([]byte, bool) (int, []byte, error) { return 1, nil, nil }
func (flusher) Unpack() ([]byte, error)                { return nil, ErrFlush }

type framerFunc func(data []byte, eof bool) (int, []byte, error)

func (f framerFunc) Next(data []byte, eof bool) (int, []byte, error) { return f(data, eof) }

// A Framer that panics ends its connection: records that were cut before are kept, the rest is lost with its cause, and the
// listener continues.
func TestFramerPanics(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Framing: func(s *Stream) Framer {
		line := Newline(s)
		return framerFunc(func(data []byte, eof bool) (int, []byte, error) {
			if bytes.HasPrefix(data, []byte("panic")) {
				panic("a bug")
			}
			return line.Next(data, eof)
		})
	}})
	s := newSink()
	serve(t, l, s)
	for range 2 {
		c := dialTCP(t, l)
		io.WriteString(c, "first\npanic\n")
		io.Copy(io.Discard, c)
		c.Close()
	}
	s.await(t, "both losses", func() bool { return s.acct.Lost[segment.Panicked].Bytes == 12 })
	shutdown(t, l)
	st := l.Stats()
	if st.Panics != 2 || s.n != 2 {
		t.Errorf("%d panics counted, %d records; want 2 and 2", st.Panics, s.n)
	}
	s.balance(t, st)
}

// After a panic, from whichever method, nothing that was not acknowledged before is acknowledged.
func TestAcknowledgerPanics(t *testing.T) {
	for _, where := range []string{"Framing", "Next", "Answers", "Bye"} {
		t.Run(where, func(t *testing.T) {
			var made atomic.Int32 // the first is made to learn whether it acknowledges
			l := listenTCP(t, &TCPOptions{Framing: func(*Stream) Framer {
				if made.Add(1) > 1 && where == "Framing" {
					panic("a bug")
				}
				return &panics{where: where}
			}})
			s := durableSink{newSink()}
			serve(t, l, s)
			c := dialTCP(t, l)
			fmt.Fprint(c, pack("xa"), pack("ya"))
			c.CloseWrite()
			answers, _ := io.ReadAll(c)
			if where != "Bye" && len(answers) > 0 {
				t.Errorf("acknowledged with %q", answers)
			}
			shutdown(t, l)
			if n := l.Stats().Panics; n != 1 {
				t.Errorf("%d panics counted", n)
			}
		})
	}
}

type panics struct {
	ackedPacks
	where string
}

func (p *panics) here(where string) {
	if where == p.where {
		panic("a bug")
	}
}

func (p *panics) Next(data []byte, eof bool) (int, []byte, error) {
	if len(data) > 1 && data[1] == 'y' {
		p.here("Next")
	}
	return p.ackedPacks.Next(data, eof)
}

func (p *panics) Answers() []byte {
	p.here("Answers")
	return p.ackedPacks.Answers()
}

func (p *panics) Bye() []byte {
	p.here("Bye")
	return nil
}

// If a sender does not ask for acknowledgements, a panic loses the records that were not handed over, as on a connection
// without acknowledgements: the sender repeats nothing.
func TestPanicUnasked(t *testing.T) {
	for where, want := range map[string]struct {
		kept, lost uint64 // records, and bytes
		panics     uint64
	}{"Next": {2, 12, 1}, "Answers": {4, 0, 1}, "Asked": {0, 0, 2}} {
		t.Run(where, func(t *testing.T) {
			l := listenTCP(t, &TCPOptions{Framing: func(*Stream) Framer { return &unaskedPanics{where: where} }})
			s := durableSink{newSink()}
			serve(t, l, s)
			c := dialTCP(t, l)
			io.WriteString(c, "first\nsecond\npanic\nafter\n")
			io.Copy(io.Discard, c)
			c.Close()
			shutdown(t, l)
			if st := l.Stats(); st.Panics != want.panics || s.n != want.kept || s.acct.Lost[segment.Panicked].Bytes != want.lost {
				t.Errorf("%d panics, %d kept, lost %+v; want %+v", st.Panics, s.n, s.acct.Lost[segment.Panicked], want)
			}
			s.closes(t)
		})
	}
}

type unaskedPanics struct {
	unasked
	where string
}

func (u *unaskedPanics) Next(data []byte, eof bool) (int, []byte, error) {
	if bytes.HasPrefix(data, []byte("panic")) && u.where != "Answers" {
		panic("a bug")
	}
	return u.unasked.Next(data, eof)
}

func (u *unaskedPanics) Answers() []byte {
	if u.where == "Answers" {
		panic("a bug")
	}
	return nil
}

func (u *unaskedPanics) Asked() bool {
	if u.where == "Asked" {
		panic("another bug")
	}
	return false
}

// What was read after a batch that the sink had not taken at the end is lost too, if the sender repeats nothing.
func TestGivenUpUnasked(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Framing: func(*Stream) Framer { return &unasked{} }, Window: 2})
	s := durableSink{newSink()}
	s.blocked = true
	wait := serve(t, l, s)
	c := dialTCP(t, l)
	io.WriteString(c, "a1\nb2\nc3\nd4\ne5\n")
	s.await(t, "a waiting Append", func() bool { return s.waiting > 0 })
	l.Close()
	wait()
	c.Close()
	if lost := s.acct.Lost[segment.GivenUp]; lost.Bytes < 10 || lost.AtMost {
		t.Errorf("five records of 2 bytes were sent and none was kept: lost %+v", lost)
	}
	s.closes(t)
}
