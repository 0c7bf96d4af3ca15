package ingest

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/penstock-go/penstock/spool/segment"
)

// logLines is a log that a test reads.
type logLines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logLines) with(text string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// The line about drops names their cause: the sink that made the listener wait, or the rate.
func TestUDPDropsNameTheirCause(t *testing.T) {
	for _, blocked := range []bool{true, false} {
		log := new(logLines)
		u := listenUDP(t, &UDPOptions{ReceiveBuffer: 4096, Logger: log.logger()})
		s := newSink()
		s.blocked = blocked
		c := dialUDP(t, u)
		flood := func() {
			for range 1000 {
				send(t, c, make([]byte, 300))
			}
		}
		if !blocked {
			flood() // nothing is read yet, and the listener does not wait for the sink
		}
		wait := serve(t, u, s)
		if blocked {
			send(t, c, []byte("the one that waits"))
			s.await(t, "a waiting Offer", func() bool { return s.waiting > 0 })
			flood()
		}
		s.await(t, "an account of drops", func() bool { return s.acct.Lost[segment.KernelOverflow].Records > 0 })
		s.update(func() { s.blocked = false })
		shutdown(t, u)
		wait()
		want, other := "arrived faster than the process reads them", "while the listener waited for the spool"
		if blocked {
			want, other = other, want
		}
		got := log.with("the kernel dropped datagrams")
		if len(got) == 0 || !strings.Contains(got[0], want) || strings.Contains(got[0], other) {
			t.Errorf("sink blocked %v: %q", blocked, got)
		}
		for _, attr := range []string{"records=", "total=", "receive_buffer=", "holds_datagrams="} {
			if len(got) > 0 && !strings.Contains(got[0], attr) {
				t.Errorf("%q is not in %s", attr, got[0])
			}
		}
	}
}

func TestCauseOfDrops(t *testing.T) {
	for _, c := range []struct {
		waited         time.Duration
		asked, granted int
		now            udpErrors
		want           string
	}{
		{time.Second, 64, 32, udpErrors{mem: 100}, dropsSink},
		{time.Millisecond, 64, 128, udpErrors{mem: 90}, dropsMem},
		{0, 64, 128, udpErrors{mem: 20, sum: 60}, dropsSum},
		{0, 64, 32, udpErrors{mem: 20}, dropsCut},
		{0, 64, 0, udpErrors{}, dropsRate}, // not known how much
		{0, 64, 128, udpErrors{}, dropsRate},
	} {
		if got := causeOfDrops(100, c.waited, c.asked, c.granted, udpErrors{}, c.now); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestUDPErrorsOfTheKernel(t *testing.T) {
	four := parseSNMP("Tcp: A MemErrors\nTcp: 1 9\nUdp: InDatagrams RcvbufErrors InCsumErrors MemErrors\nUdp: 1 2 3 4\nUdpLite: MemErrors\nUdpLite: 7\n")
	if four != (udpErrors{mem: 4, sum: 3}) {
		t.Errorf("%+v", four)
	}
	six := parseSNMP6("Ip6InReceives \t1\nUdp6InCsumErrors \t5\nUdp6MemErrors \t6\nUdpLite6MemErrors 9\n")
	if six != (udpErrors{mem: 6, sum: 5}) {
		t.Errorf("%+v", six)
	}
	if parseSNMP("Udp:") != (udpErrors{}) || parseSNMP6("Udp6MemErrors x\n") != (udpErrors{}) {
		t.Error("damaged files are no zeros")
	}
}

// The kernel counts a dropped aggregate as one, so the loss is a lower bound, and is marked as such.
func TestUDPDropsOfAggregates(t *testing.T) {
	u := listenUDP(t, &UDPOptions{ReceiveBuffer: 64 << 10, GRO: true})
	s := newSink()
	s.blocked = true
	wait := serve(t, u, s)
	c := dialUDP(t, u)
	const size, each, aggregates = 30, 10, 2000
	control(t, c, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, size) })
	for range aggregates {
		send(t, c, make([]byte, size*each))
	}
	s.update(func() { s.blocked = false })
	shutdown(t, u)
	wait()
	l := u.Stats().Lost[segment.KernelOverflow]
	if l.Records == 0 || !l.AtLeast || !l.BytesUnknown {
		t.Errorf("lost %+v, want a lower bound of unknown bytes", l)
	}
	if sent := uint64(each * aggregates); s.n+l.Records > sent || s.n+each*l.Records < sent {
		t.Errorf("kept %d, lost at least %d of %d", s.n, l.Records, sent)
	}
	s.balance(t, u.Stats())
}
