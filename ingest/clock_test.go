package ingest

import (
	"bytes"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// admitted returns a connection, over a pipe, of a listener that does not serve: its time-outs use the fake clock of
// synctest.
func admitted(t *testing.T, o *TCPOptions, s *memSink) (l *TCP, peer net.Conn) {
	l = listenTCP(t, o)
	l.sink, l.append = s, s.Append
	ours, peer := net.Pipe()
	l.admit(ours)
	t.Cleanup(func() { peer.Close(); l.wg.Wait(); l.Close() })
	return l, peer
}

// FrameTimeout counts only the time of the peer, not that of the sink. Otherwise every connection with half a frame in
// hand would end as soon as a full spool has room again.
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

// The time that a connection waits for memory does not count either.
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

// silent acknowledges nothing, and its peer has not asked.
type silent struct{ Framer }

func (silent) Answers() []byte { return nil }
func (silent) Bye() []byte     { return nil }
func (silent) Asked() bool     { return false }

// Nor does it count for the time in which the peer of a protocol with acknowledgements must show that it speaks the protocol.
func TestTCPHandshakeTimeoutOfMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink()
		l, peer := admitted(t, &TCPOptions{
			Framing: func(st *Stream) Framer { return silent{Newline(st)} }, MaxRecord: 200_000,
			MemoryBytes: 210_000,
		}, s)
		if err := l.memory.acquire(t.Context(), 100_000); err != nil {
			t.Fatal(err)
		}
		send(t, peer, bytes.Repeat([]byte("x"), smallBuffer))
		time.Sleep(time.Hour)
		l.memory.release(100_000)
		synctest.Wait()
		send(t, peer, []byte("x\n"))
		synctest.Wait()
		if s.bytes != smallBuffer+1 {
			t.Errorf("kept %d bytes, lost %+v", s.bytes, s.acct.Lost)
		}
	})
}

// While the sink stalls, connections that wait for it keep their memory. Other connections wait for that memory, however long it
// takes, since they are within all limits. Close ends the wait, and counts what was read as given up.
func TestTCPMemoryOfStalledSink(t *testing.T) {
	for _, end := range []string{"sink", "close"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSink()
			s.blocked = true
			l, one := admitted(t, &TCPOptions{Framing: Newline, MaxRecord: 200_000, MemoryBytes: 210_000}, s)
			ours, two := net.Pipe()
			defer two.Close()
			l.admit(ours)
			line := append(bytes.Repeat([]byte("x"), 100_000), '\n')
			send(t, one, line)
			synctest.Wait()
			go two.Write(line)
			time.Sleep(time.Hour)
			if end == "close" {
				l.life.cancel()
				l.conns.abort()
				l.wg.Wait()
				if n, want := s.acct.Lost[segment.GivenUp], uint64(100_000+smallBuffer); n.Records != 2 || n.Bytes < want || s.acct.Lost[segment.FrameTooLong].Records > 0 {
					t.Errorf("lost %+v", s.acct.Lost)
				}
				return
			}
			s.update(func() { s.blocked = false })
			synctest.Wait()
			if s.n != 2 || s.bytes != 200_000 {
				t.Errorf("kept %d records, %d bytes, lost %+v", s.n, s.bytes, s.acct.Lost)
			}
		})
	}
}
