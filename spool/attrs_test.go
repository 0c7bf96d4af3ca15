package spool

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// connAttrs returns the attributes of a connection, a new set each time.
func connAttrs(t testing.TB, conn, size int) *segment.Attrs {
	t.Helper()
	if conn == 0 {
		return nil
	}
	a, err := segment.NewAttrs(map[string]string{"conn": fmt.Sprint(conn), "text": strings.Repeat("x", size)})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestAttrsKept: one commit gathers the batches of many connections, and each record keeps the attributes of its own, through a
// kill, a seal and a rest.
func TestAttrsKept(t *testing.T) {
	w := newWorld(Options{Destinations: []string{"a"}, Sync: SyncAlways})
	s, err := open("/spool", w.mem, w.index.Open, &w.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const conns, rounds, each = 5, 20, 3
	in := s.Intake()
	var want []*segment.Attrs
	for round := range rounds {
		for conn := range conns {
			a := connAttrs(t, conn, 30)
			b := batch(len(want)+1, each, 100)
			for i := range b {
				b[i].Attrs = a
				want = append(want, a)
			}
			if round == rounds-1 && conn == conns-1 { // writes for all
				if _, err := in.Append(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			} else if _, err := in.Offer(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
	}
	k := w.clone(processDies, index.Fate{})
	s2, err := open("/spool", k.mem, k.index.Open, &k.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s2.Close()
	mustSeal(t, s2)
	number := s2.shelf.Sealed(0, 0)[0].Number
	check := func(what string, r interface {
		Next() (uint64, segment.Record, error)
	}, first uint64,
	) {
		t.Helper()
		for seq := first; ; seq++ {
			n, rec, err := r.Next()
			if err == io.EOF && seq == uint64(len(want))+1 {
				return
			}
			if err != nil || n != seq || !rec.Attrs.Equal(want[seq-1]) || !bytes.Equal(rec.Data, record(int(seq), 100).Data) {
				t.Fatalf("%s: record %d has %v, %v; want %v", what, n, rec.Attrs, err, want[seq-1])
			}
		}
	}
	r, done, err := s2.shelf.ReadSealed(number)
	if err != nil {
		t.Fatal(err)
	}
	check("sealed", r, 1)
	if err := done(); err != nil {
		t.Fatal(err)
	}
	seg, _ := s2.shelf.cat.get(number)
	if _, err := s2.shelf.Stage(t.Context(), number, lineEncoder{}); err != nil { // its record has the header
		t.Fatal(err)
	}
	again, done, err := s2.shelf.rewritten(t.Context(), &seg, func(put func(uint64, *segment.Record) error) error {
		for i := range want {
			rec := record(i+1, 100)
			rec.Attrs = want[i]
			if err := put(uint64(i)+1, &rec); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	check("written again", again, 1)
	if err := done(); err != nil {
		t.Fatal(err)
	}
}

// TestAttrsFromListener: the facts about a connection from a trusted proxy are in the spool.
func TestAttrsFromListener(t *testing.T) {
	s := memDir().open(t, Options{Destinations: []string{"a"}})
	l, err := ingest.Listen("tcp://127.0.0.1:0?framing=newline&proxy=on&trust=127.0.0.1&attrs=conn", nil)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- l.Serve(s.Intake()) }()
	for l.Ready() != nil { // what comes before Serve has begun is lost if Shutdown comes first, too
		runtime.Gosched()
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	const header = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x16\xc0\x00\x02\x01\xc6\x33\x64\x05\x13\x88\x02\x02\xea\x00\x07\x01vpce-1"
	if _, err := io.WriteString(c, header+"one\ntwo\n"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := l.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-served
	mustSeal(t, s)
	r, done, err := s.shelf.ReadSealed(s.shelf.Sealed(0, 0)[0].Number)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	for _, want := range []string{"one", "two"} {
		_, rec, err := r.Next()
		vpce, _ := rec.Attrs.Get("aws.vpce")
		listener, _ := rec.Attrs.Get("listener")
		if err != nil || string(rec.Data) != want || vpce != "vpce-1" || listener != "tcp://"+l.Addr().String() {
			t.Errorf("%q has %v, %v", rec.Data, rec.Attrs, err)
		}
	}
}

// TestMeasureAttrs: what a batch takes in blocks is never more than what it asks for at the door, whatever attributes its records
// have, and whichever block is open.
func TestMeasureAttrs(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	sizes := []int{0, 1, 100, 1400, 16000, 30500, 31700, 32700, 33000, 63000, 65000, 70000}
	for range 300 {
		q := queue{chunkSize: 128 << 10 << random.IntN(4)}
		most, size := segment.MaxAttrsSize-20, sizes[random.IntN(len(sizes))]
		conns := 1 + random.IntN(4)
		sets := make([]*segment.Attrs, conns)
		for i := range sets {
			sets[i] = connAttrs(t, i+random.IntN(2), random.IntN(most))
		}
		before := batch(1, random.IntN(4), random.IntN(40_000))
		q.put(1, before)
		was := q.unwritten
		b := batch(1, 1+random.IntN(40), size)
		for i := range b {
			b[i].Attrs = sets[random.IntN(1+random.IntN(conns))]
		}
		q.put(uint64(len(before)+1), b)
		asked, tally, err := measure(b)
		if err != nil || tally.Records != uint64(len(b)) || tally.Bytes < uint64(len(b)*size) {
			t.Fatal(asked, tally, err)
		}
		if took := q.unwritten - was + int64(len(q.chunks))*16; took > withBlocks(asked) {
			t.Fatalf("%d records of %d bytes with %v take %d bytes; the door was asked for %d, with blocks %d", len(b), size, sets, took, asked, withBlocks(asked))
		}
		// The counts are those of the existing records.
		q.close()
		var there int64
		for _, c := range q.chunks {
			for _, x := range c.blocks {
				there += int64(x.len)
			}
		}
		if there != q.unwritten {
			t.Fatalf("the blocks have %d bytes, %d are counted", there, q.unwritten)
		}
	}
}

// TestPutPlainAllocates: records without attributes cost the queue no allocation.
func TestPutPlainAllocates(t *testing.T) {
	q := queue{chunkSize: 1 << 20}
	b := batch(1, 100, 200)
	spans := []span(nil)
	put := func() {
		q.put(1, b)
		var end position
		spans, end = q.collect(spans[:0])
		q.advance(end)
		q.release(end)
	}
	put()
	if n := testing.AllocsPerRun(200, put); n != 0 {
		t.Errorf("%v allocations without attributes", n)
	}
	a := connAttrs(t, 1, 30)
	for i := range b {
		b[i].Attrs = a
	}
	q.put(1, b)
	q.put(101, b)
	if n := bytes.Count(q.last().buf, []byte("conn1")); n != 1 {
		t.Errorf("a block has a set %d times", n)
	}
	put()
	if n := testing.AllocsPerRun(200, put); n != 0 {
		t.Errorf("%v allocations with attributes", n)
	}
}

// TestAttrsZero: a set that a program has made without NewAttrs does not make a block unreadable.
func TestAttrsZero(t *testing.T) {
	s := memDir().open(t, Options{})
	b := batch(1, 10, 100)
	b[5].Attrs = new(segment.Attrs)
	mustAppend(t, s, b)
	mustSeal(t, s)
	if gaps := follow(t, s.Tail(t.Context(), 0, nil), 1, 10); len(gaps) > 0 {
		t.Errorf("%v", gaps)
	}
}
