package ingest

import (
	"log/slog"
	"testing"

	"github.com/penstock-go/penstock/spool/segment"
)

// dropped is a receiver of which only the drop counter is asked.
type dropped struct {
	receiver
	counter uint32
}

func (d *dropped) counts() (socketCounts, bool) { return socketCounts{drops: d.counter}, true }

// remembering is a sink that knows what an earlier process has accounted for.
type remembering struct {
	*memSink
	drops uint64
}

func (r *remembering) SocketDrops(uint64) uint64 { return r.drops }

// A listener that takes over a socket continues from the drops that the previous one has accounted for, even past the wrap
// of the kernel's counter, and accounts for the socket at once: otherwise the spool would forget a socket that stays
// quiet, and its drops would be counted again after the next start.
func TestInheritedBaseline(t *testing.T) {
	for name, c := range map[string]struct {
		before   uint64
		now      uint32
		lost     uint64
		baseline uint64
	}{
		"first":          {0, 5, 5, 0},
		"going on":       {3, 5, 2, 3},
		"nothing new":    {5, 5, 0, 5},
		"another socket": {7, 5, 5, 0}, // of the same cookie, after the machine was restarted
		"wrapped":        {1<<32 + 3, 5, 2, 1<<32 + 3},
		"wrapping":       {1<<33 - 1, 1, 2, 1<<33 - 1},
	} {
		t.Run(name, func(t *testing.T) {
			sink := &remembering{newSink(), c.before}
			u := listenUDP(t, nil)
			defer u.Close()
			s := &socket{conn: u.sockets[0].conn, log: newLimiter(slog.New(slog.DiscardHandler)), recv: &dropped{counter: c.now}, cookie: 77, inherited: true}
			s.attach(sink)
			if sink.acct.Socket != 77 || sink.acct.Drops != c.baseline {
				t.Errorf("took over socket %d with %d drops, want %d", sink.acct.Socket, sink.acct.Drops, c.baseline)
			}
			s.poll()
			if got := sink.acct.Lost[segment.KernelOverflow].Records; got != c.lost || sink.acct.Drops != c.baseline+c.lost {
				t.Errorf("lost %d, want %d; %d drops are accounted for", got, c.lost, sink.acct.Drops)
			}
		})
	}
}
