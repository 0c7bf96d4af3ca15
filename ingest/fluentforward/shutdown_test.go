package fluentforward

import (
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// A client that does not ask for acknowledgements does not send anything again: what a Shutdown cuts off is counted as lost.
// Of a client that asks, it is neither received nor lost.
func TestShutdownCounts(t *testing.T) {
	for name, options := range map[string]string{"asks": chunk("c"), "does not ask": ""} {
		t.Run(name, func(t *testing.T) {
			sp, err := spool.Open(t.TempDir(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer sp.Close()
			l, err := ingest.ListenTCP("127.0.0.1:0", &ingest.TCPOptions{Framing: Framing})
			if err != nil {
				t.Fatal(err)
			}
			go l.Serve(sp.Intake())
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			message := arr(str("a"), now, dict())
			if options != "" {
				message = arr(str("a"), now, dict(), options)
			}
			io.WriteString(c, message+message[:9])
			for l.Stats().Received.Records == 0 || l.Stats().InHand.Records > 0 {
				runtime.Gosched()
			}
			go func() { io.Copy(io.Discard, c); c.Close() }()
			if err := l.Shutdown(t.Context()); (err == nil) != (options != "") {
				t.Error(err)
			}
			lost := l.Stats().Lost[segment.GivenUp]
			if want := (segment.Loss{Records: 1, Bytes: 9}); options == "" && lost != want || options != "" && lost.Records > 0 {
				t.Errorf("lost %+v", lost)
			}
			if led := sp.Ledger(); led.Lost[segment.GivenUp] != lost || led.Received.Records != 1+lost.Records {
				t.Errorf("the ledger says %+v", led)
			}
		})
	}
}
