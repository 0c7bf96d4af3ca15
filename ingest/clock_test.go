package ingest

import (
	"bytes"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// admitted is a connection of a listener that does not serve, over a pipe: its time-outs keep the time of a bubble.
func admitted(t *testing.T, o *TCPOptions, s *memSink) (l *TCP, peer net.Conn) {
	l = listenTCP(t, o)
	l.sink, l.append = s, s.Append
	ours, peer := net.Pipe()
	l.admit(ours)
	t.Cleanup(func() { peer.Close(); l.wg.Wait(); l.Close() })
	return l, peer
}

// A frame's time is the peer's: what the sink takes of it does not count. Else every connection with half a frame in hand
// would end as soon as a full spool has room again.
func TestTCPFrameTimeoutOfPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink()
		s.blocked = true
		_, peer := admitted(t, &TCPOptions{Framing: OctetCounting}, s)
		send(t, peer, []byte("3 one5 th"))
		synctest.Wait()
		time.Sleep(time.Hour)
		s.update(func() { s.blocked = false })
		synctest.Wait()
		send(t, peer, []byte("ree"))
		synctest.Wait()
		if got := fmt.Sprint(s.payloads()); got != "[one three]" {
			t.Errorf("kept %s, lost %+v", got, s.acct.Lost)
		}
	})
}

// Nor does what it waits for memory.
func TestTCPFrameTimeoutOfMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink()
		l, peer := admitted(t, &TCPOptions{Framing: Newline, MaxRecord: 200_000, MemoryBytes: 210_000}, s)
		if err := l.memory.acquire(t.Context(), 100_000); err != nil {
			t.Fatal(err)
		}
		send(t, peer, bytes.Repeat([]byte("x"), smallBuffer))
		time.Sleep(59 * time.Second)
		l.memory.release(100_000)
		time.Sleep(59 * time.Second)
		send(t, peer, []byte("x\n"))
		synctest.Wait()
		if s.bytes != smallBuffer+1 {
			t.Errorf("kept %d bytes, lost %+v", s.bytes, s.acct.Lost)
		}
	})
}
