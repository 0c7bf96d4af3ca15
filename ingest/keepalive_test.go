package ingest

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/memnet"
)

type patient struct{ ackedPacks }

func (*patient) KeepAlive() (time.Duration, []byte) { return 5 * time.Second, []byte("..\n") }

// A peer that has to wait for a full spool gets keep-alive messages; one that waits for nothing gets none.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := ListenTCP("mem:patient", &TCPOptions{Framing: func(*Stream) Framer { return &patient{} }})
		if err != nil {
			t.Fatal(err)
		}
		s := durableSink{newSink()}
		s.blocked = true
		ended := make(chan error)
		go func() { ended <- l.Serve(s) }()
		c, err := memnet.Dial("mem:patient")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(8 * time.Second) // nothing is sent
		io.WriteString(c, pack("xa"))
		time.Sleep(15 * time.Second)
		s.update(func() { s.blocked = false })
		time.Sleep(time.Minute)
		l.Shutdown(context.Background())
		got, _ := io.ReadAll(c)
		if want := strings.Repeat("..\n", 3) + "ok\n"; string(got) != want {
			t.Errorf("%q, want %q", got, want)
		}
		c.Close()
		<-ended
	})
}
