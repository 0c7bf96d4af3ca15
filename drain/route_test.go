package drain

import (
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestRouteFullSpool: real datagrams for two spools, of which one is full. It loses its datagrams, counted in its ledger; the
// other has all of its own, and the listener has not waited.
func TestRouteFullSpool(t *testing.T) {
	dir := t.TempDir()
	spools := map[string]*spool.Spool{}
	sinks := map[string]ingest.Sink{}
	for _, name := range []string{"full", "free"} {
		sp, err := spool.Open(filepath.Join(dir, name), &spool.Options{Class: name, Destinations: []string{"d"}, SegmentBytes: 1 << 20, MaxBytes: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer sp.Close()
		spools[name], sinks[name] = sp, sp.Intake()
	}
	fill := []segment.Record{{Data: make([]byte, 1<<20)}}
	for refused := false; !refused; { // to the last byte, also after what was in memory is on the disk
		refused = true
		for size := 1 << 20; size > 0; {
			fill[0].Data = fill[0].Data[:size]
			if _, err := spools["full"].TryOffer(fill); errors.Is(err, spool.ErrFull) {
				size /= 2
			} else if refused = false; err != nil {
				t.Fatal(err)
			}
		}
		if err := spools["full"].WaitDurable(t.Context(), spools["full"].Stats().Appended); err != nil {
			t.Fatal(err)
		}
	}
	before, had := spools["full"].Ledger(), spools["full"].Stats().Appended
	r, err := ingest.NewRoute(&ingest.RouteOptions{Sinks: sinks, Default: "free", Choose: func(r segment.Record, to []string) []string {
		if r.Data[0] == 'x' {
			return append(to, "full")
		}
		return append(to, "free")
	}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ingest.ListenUDP("127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { l.Serve(r) })
	c, err := net.Dial("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const n = 500
	for i := range n {
		c.Write([]byte{"xo"[i%2], ' ', 'a'})
	}
	for l.Stats().Received.Records < n || l.Stats().InHand.Records > 0 {
		runtime.Gosched()
	}
	if err := l.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	served.Wait()
	full, free := spools["full"].Ledger(), spools["free"].Ledger()
	got, lost := full.Received.Records-before.Received.Records, full.Lost[segment.SpoolFull].Records
	if took := spools["full"].Stats().Appended - had; got != n/2 || lost == 0 || took+lost != got || full.Balance() != nil {
		t.Errorf("the full one received %d, took %d, lost %d", got, took, lost)
	}
	if free.Received.Records != n/2 || free.Lost != (segment.Losses{}) || spools["free"].Stats().Appended != n/2 || free.Balance() != nil {
		t.Errorf("the free one: %+v", free)
	}
}
