package ingest

import (
	"context"
	"errors"
	"testing"

	"github.com/penstock-go/penstock/internal/wait"
)

// TestMisuse: a nil Sink and a nil context are refused at the call, and not by a panic at the first record or the end.
func TestMisuse(t *testing.T) {
	udp, err := ListenUDP("127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := ListenTCP("127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	var none context.Context
	var sink *memSink
	hold := NewHold(nil)
	for call, err := range map[string]error{
		"UDP.Shutdown": udp.Shutdown(none),
		"TCP.Shutdown": tcp.Shutdown(none),
		"Attach":       hold.Attach(none, hold),
		"WaitDurable":  hold.WaitDurable(none, 1),
		"Append":       func() error { _, err := hold.Append(none, nil); return err }(),
	} {
		if !errors.Is(err, wait.ErrNilContext) {
			t.Errorf("%s: %v", call, err)
		}
	}
	for call, err := range map[string]error{
		"UDP.Serve": udp.Serve(nil), "UDP.Serve, typed": udp.Serve(sink), "TCP.Serve": tcp.Serve(nil), "TCP.Serve, typed": tcp.Serve(sink),
		"Attach": hold.Attach(t.Context(), sink),
	} {
		if !errors.Is(err, errNoSink) {
			t.Errorf("%s: %v", call, err)
		}
	}
	for _, l := range []Listener{udp, tcp} { // neither call has changed anything
		if err := l.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
