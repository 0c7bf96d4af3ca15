package ingest

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

func addrOf(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 10<<24|n)
	return netip.AddrFrom4(b)
}

func from(n uint32) segment.Record {
	return segment.Record{Src: netip.AddrPortFrom(addrOf(n), 514), Data: []byte("12345")}
}

// TestSendersExact: a few senders are counted exactly, with their last record.
func TestSendersExact(t *testing.T) {
	var s senders
	for round := range 100 {
		for n := range uint32(40) {
			if n == 7 && round > 49 {
				continue // it goes silent
			}
			s.note([]segment.Record{from(n), from(n)}, clockBase.Add(time.Duration(round)*time.Second))
		}
		s.note([]segment.Record{{Data: []byte("from a unix socket")}}, clockBase)
	}
	all := TopSenders(s.list(nil), 1000)
	if len(all) != 40 {
		t.Fatalf("%d senders", len(all))
	}
	for _, x := range all {
		want, last := segment.Tally{Records: 200, Bytes: 1000}, 99*time.Second
		if x.Addr == addrOf(7) {
			want, last = segment.Tally{Records: 100, Bytes: 500}, 49*time.Second
		}
		if x.Received != want || x.Over != 0 || !x.LastRecord.Equal(clockBase.Add(last)) {
			t.Errorf("%+v, want %v at %v", x, want, last)
		}
	}
}

// TestSendersFlood: any number of forged addresses displaces no heavy sender, and every count is within its stated bounds.
func TestSendersFlood(t *testing.T) {
	var s senders
	rnd := rand.New(rand.NewPCG(3, 4))
	truth := map[netip.Addr]uint64{}
	for range 200_000 {
		n := uint32(rnd.Uint32N(1 << 24))
		if rnd.IntN(4) > 0 {
			n = uint32(rnd.IntN(20)) // three quarters come from twenty
		}
		r := from(n)
		truth[r.Src.Addr()]++
		s.note([]segment.Record{r}, clockBase)
	}
	top := TopSenders(s.list(nil), 20)
	for _, x := range top {
		if n := truth[x.Addr]; n < 5000 || n > x.Received.Records || n < x.Received.Records-x.Over {
			t.Errorf("%v has sent %d, not %d to %d", x.Addr, n, x.Received.Records-x.Over, x.Received.Records)
		}
	}
}

// TestSendersMillion: after a million forged addresses, each with a few records, hosts that have sent a hundred rank before all of
// them, although the forged ones have inherited larger counts; and each host has the count of its own records.
func TestSendersMillion(t *testing.T) {
	var s senders
	rnd := rand.New(rand.NewPCG(7, 8))
	for i := range uint32(1_000_000) {
		for range 1 + rnd.IntN(5) {
			s.note([]segment.Record{from(1<<20 + i)}, clockBase)
		}
	}
	for n := range uint32(20) {
		for range 100 {
			s.note([]segment.Record{from(n)}, clockBase)
		}
	}
	for i, x := range TopSenders(s.list(nil), maxSenders) {
		own := x.Least()
		if real := x.Addr.Less(addrOf(20)); real != (i < 20) || real && own != 100 || !real && own > 5 {
			t.Errorf("%d.: %v has sent %d of its own, of %d", i, x.Addr, own, x.Received.Records)
		}
	}
}

// TestSendersSampled: for full bursts the counts are right within a few percent, even if the order of senders repeats.
func TestSendersSampled(t *testing.T) {
	var s senders
	for range 7 * 1000 {
		var burst []segment.Record
		for i := range uint32(63) {
			burst = append(burst, from(i%9))
		}
		s.note(burst, clockBase)
	}
	for _, x := range TopSenders(s.list(nil), 100) {
		if want := uint64(49_000); x.Received.Records < want*95/100 || x.Received.Records > want*105/100 || x.Received.Bytes != 5*x.Received.Records {
			t.Errorf("%+v, want about %d records", x, want)
		}
	}
}

// TestTopSendersMerges: the same host at two sockets is one sender.
func TestTopSendersMerges(t *testing.T) {
	now := time.Now()
	all := []Sender{
		{addrOf(1), segment.Tally{Records: 3, Bytes: 30}, 1, now},
		{addrOf(2), segment.Tally{Records: 4}, 0, now},
		{addrOf(1), segment.Tally{Records: 2, Bytes: 20}, 0, now.Add(time.Second)},
	}
	top := TopSenders(all, 1)
	if want := (Sender{addrOf(1), segment.Tally{Records: 5, Bytes: 50}, 1, now.Add(time.Second)}); len(top) != 1 || top[0] != want {
		t.Errorf("%+v, want %+v", top, want)
	}
}

// BenchmarkSenders measures what counting senders adds to the cost of a record: in runs as GRO delivers them, mixed, and
// forged.
func BenchmarkSenders(b *testing.B) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for name, pick := range map[string]func(i int) uint32{
		"run":    func(i int) uint32 { return uint32(i / 64) },
		"mixed":  func(int) uint32 { return uint32(rnd.IntN(50)) },
		"forged": func(int) uint32 { return rnd.Uint32N(1 << 24) },
	} {
		b.Run(name, func(b *testing.B) {
			var s senders
			bursts := make([][]segment.Record, 256)
			for i := range bursts {
				for j := range 64 {
					bursts[i] = append(bursts[i], from(pick(i*64+j)))
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s.note(bursts[i%256], clockBase)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/record")
		})
	}
}
