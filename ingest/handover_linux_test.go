package ingest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/penstock-go/penstock/spool/segment"
)

// heirEnv makes the test binary a successor; its value says where it dies, if anywhere.
const heirEnv = "PENSTOCK_INGEST_HEIR"

func init() {
	if mode := os.Getenv(heirEnv); mode != "" {
		if err := runHeir(mode); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// haul is what a successor reports at its end: the numbers of the records that it has received, and its account.
type haul struct {
	Seqs  []uint64
	Lines []string
	Lost  uint64
}

// runHeir takes over the listeners "dgram" and "lines", holds for a while what they receive, and serves until stdin ends.
func runHeir(mode string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	die := func(at string) {
		if mode == at {
			os.Exit(3)
		}
	}
	die("early")
	// It can check its command line before it knows the kind of "dgram", although it was not started by systemd.
	if _, err := Parse("systemd://dgram", nil); err != nil {
		return err
	}
	i, err := Inherit()
	if err != nil || i == nil {
		return fmt.Errorf("nothing to inherit: %w", err)
	}
	if mode == "hang" {
		io.Copy(io.Discard, os.Stdin)
	}
	if err := i.Take(ctx, "dgram", "lines", "new"); err != nil {
		return err
	}
	die("released")
	hold := NewHold(&HoldOptions{MemoryBytes: 64 << 20, SocketDrops: i.SocketDrops})
	var listeners []Listener
	for name, url := range map[string]string{"dgram": "systemd://dgram?rcvbuf=8MiB", "lines": "tcp://127.0.0.1:1?framing=newline", "new": "udp://127.0.0.1:0"} {
		var o Options
		i.Apply(name, &o)
		o.TCP.Grace = 20 * time.Second
		l, err := Listen(url, &o)
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
	}
	if i.File("lines") == nil || i.File("absent") != nil {
		return fmt.Errorf("%v", i.items)
	}
	die("taken")
	if err := i.Commit(ctx); err != nil {
		return err
	}
	die("yours")
	for _, l := range listeners {
		go l.Serve(hold)
	}
	i.Serving()
	ended := make(chan struct{})
	go func() { io.Copy(io.Discard, os.Stdin); close(ended) }()
	// This simulates the time until the predecessor has closed its spool; on a busy machine fewer records may arrive before
	// the end. A listener that does not serve yet would lose its queue at the end.
	for last := false; !last && hold.Held().Records < 100 || slices.ContainsFunc(listeners, idle); {
		select {
		case <-time.After(time.Millisecond):
		case <-ended:
			last = true
		}
	}
	s := newSink()
	if err := hold.Attach(ctx, s); err != nil {
		return err
	}
	<-ended
	for _, l := range listeners {
		if err := l.Shutdown(ctx); err != nil {
			return err
		}
	}
	h := haul{Lost: lostRecords(&s.acct.Lost)}
	h.Seqs, h.Lines = sorted(s.recs)
	return json.NewEncoder(os.Stdout).Encode(h)
}

// idle reports whether a listener does not serve yet.
func idle(l Listener) bool {
	switch l := l.(type) {
	case *UDP:
		return !l.life.isServing()
	case *TCP:
		return !l.life.isServing()
	}
	return false
}

// sorted returns the numbers of datagrams, and records that are not datagrams of this test.
func sorted(recs []segment.Record) (seqs []uint64, lines []string) {
	for _, r := range recs {
		if len(r.Data) == 200 {
			seqs = append(seqs, binary.BigEndian.Uint64(r.Data))
		} else {
			lines = append(lines, string(r.Data))
		}
	}
	slices.Sort(seqs)
	slices.Sort(lines)
	return seqs, lines
}

// flood sends numbered datagrams from several sockets until stopped, and returns how many.
func flood(t *testing.T, to net.Addr) (stop func() uint64) {
	t.Helper()
	end := make(chan struct{})
	total := make(chan uint64)
	var conns []net.Conn
	for range 4 {
		c, err := net.Dial("udp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	go func() {
		b := make([]byte, 200)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		n := uint64(0)
		for last := false; ; {
			if last {
				total <- n
				return
			}
			select {
			case <-end: // with a last round, so that the process that has the sockets now receives something
				last = true
			case <-tick.C:
			}
			for range 20 {
				binary.BigEndian.PutUint64(b, n)
				if _, err := conns[n%4].Write(b); err != nil {
					t.Error(err)
				}
				n++
			}
		}
	}()
	return sync.OnceValue(func() uint64 {
		close(end)
		n := <-total
		for _, c := range conns {
			c.Close()
		}
		return n
	})
}

// handOver hands the two listeners over to this test binary, run again as the successor that mode names. finish ends it
// and returns what it received.
func handOver(t *testing.T, u *UDP, l *TCP, mode string, timeout time.Duration) (finish func() haul, err error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	stdin, closeStdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), heirEnv+"="+mode)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, os.Stderr
	err = HandOver(t.Context(), &Successor{Cmd: cmd, Listeners: map[string]Listener{"dgram": u, "lines": l}, Timeout: timeout})
	stdin.Close()
	stdout.Close()
	t.Cleanup(func() { closeStdin.Close(); out.Close() })
	return func() (h haul) {
		closeStdin.Close()
		if err := json.NewDecoder(out).Decode(&h); err != nil {
			t.Fatalf("the successor says nothing: %v", err)
		}
		return h
	}, err
}

// A successor takes over under traffic that partly overflows: one of the two processes has each datagram or has counted
// it as lost, and one of them has each line of TCP.
func TestHandOverProcess(t *testing.T) {
	for round := range 3 {
		u := listenUDP(t, &UDPOptions{Sockets: 2, ReceiveBuffer: 200_000})
		l := listenTCP(t, &TCPOptions{Framing: Newline, Grace: 20 * time.Second})
		s := newSink()
		served, accepted := serve(t, u, s), serve(t, l, s)
		stop := flood(t, u.Addr())
		s.await(t, "some records", func() bool { return s.n > 500 })
		old := dialTCP(t, l)
		send(t, old, []byte("of the old one\nand its "))
		s.await(t, "a line", func() bool { return slices.Contains(texts(s.recs), "of the old one") })
		s.update(func() { s.blocked = true })
		s.await(t, "some drops", func() bool { return lostRecords(&s.acct.Lost) > 0 })
		s.update(func() { s.blocked = false })

		finish, err := handOver(t, u, l, "serve", 20*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		served()
		fresh := dialTCP(t, l)
		send(t, fresh, []byte("of the new one\n"))
		send(t, old, []byte("end\n"))
		if n, err := io.Copy(io.Discard, old); n > 0 || err != nil { // the old process has closed its side
			t.Errorf("%d bytes, %v", n, err)
		}
		old.CloseWrite()
		shutdown(t, l)
		accepted()
		shutdown(t, u)
		s.balance(t, u.Stats().plus(l.Stats()))

		sent := stop()
		fresh.CloseWrite()
		h := finish()
		seqs, lines := sorted(s.recs)
		if !slices.Equal(lines, []string{"and its end", "of the old one"}) || !slices.Equal(h.Lines, []string{"of the new one"}) {
			t.Errorf("round %d: lines %q and %q", round, lines, h.Lines)
		}
		lost := lostRecords(&s.acct.Lost)
		all := append(seqs, h.Seqs...)
		slices.Sort(all)
		if n := len(slices.Compact(slices.Clone(all))); n != len(all) {
			t.Errorf("round %d: %d of %d are there twice", round, len(all)-n, len(all))
		}
		if got := uint64(len(all)) + lost + h.Lost; got != sent {
			t.Errorf("round %d: sent %d; kept %d + %d, lost %d + %d, together %d", round, sent, len(seqs), len(h.Seqs), lost, h.Lost, got)
		}
		if len(h.Seqs) == 0 {
			t.Error("the successor has got nothing")
		}
	}
}

func texts(recs []segment.Record) (all []string) {
	for _, r := range recs {
		all = append(all, string(r.Data))
	}
	return all
}

// plus adds the counts of two listeners of one sink.
func (s Stats) plus(o Stats) Stats {
	addTally(&s.Received, o.Received)
	addTally(&s.InHand, o.InHand)
	addLosses(&s.Lost, &o.Lost)
	return s
}

// If the successor dies or hangs at any step before it finally owns the sockets, the predecessor continues as if nothing
// had happened, and a second attempt succeeds.
func TestHandOverFails(t *testing.T) {
	u := listenUDP(t, nil)
	l := listenTCP(t, &TCPOptions{Framing: Newline, Grace: -1})
	s := newSink()
	served, accepted := serve(t, u, s), serve(t, l, s)
	stop := flood(t, u.Addr())
	for mode, want := range map[string]string{
		"early": "has ended before it sent \"ready\"", "hang": "time is up", "released": "before it sent \"taken\"",
		"taken": "before it sent \"taken\"", "yours": "before it sent \"serving\"",
	} {
		timeout := 20 * time.Second
		if mode == "hang" {
			timeout = 50 * time.Millisecond
		}
		_, err := handOver(t, u, l, mode, timeout)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%s: %v, want %q", mode, err, want)
		}
		var n uint64
		s.update(func() { n = s.n })
		c := dialTCP(t, l)
		send(t, c, []byte(mode+"\n"))
		s.await(t, "the records after "+mode, func() bool { return s.n > n+500 && slices.Contains(texts(s.recs), mode) })
	}
	finish, err := handOver(t, u, l, "serve", 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	served()
	shutdown(t, l)
	accepted()
	sent := stop()
	h := finish()
	seqs, _ := sorted(s.recs)
	if got := uint64(len(seqs)+len(h.Seqs)) + lostRecords(&s.acct.Lost) + h.Lost; got != sent {
		t.Errorf("sent %d, kept %d + %d, lost %d + %d", sent, len(seqs), len(h.Seqs), lostRecords(&s.acct.Lost), h.Lost)
	}
}

// TestHandOverMisuse: the error names everything that is missing in a Successor, and nothing is started.
func TestHandOverMisuse(t *testing.T) {
	var udp *UDP
	s := &Successor{Cmd: exec.Command(os.Args[0]), Listeners: map[string]Listener{"tcp": nil, "udp": udp}}
	for _, tt := range []struct {
		s    *Successor
		want []string
	}{
		{nil, []string{"the Successor is nil"}},
		{&Successor{Listeners: s.Listeners}, []string{"Cmd is missing", `Listeners["tcp"] is nil`}},
		{s, []string{`Listeners["tcp"] is nil (<nil>)`, `Listeners["udp"] is nil (*ingest.UDP)`}},
	} {
		err := HandOver(t.Context(), tt.s)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v lacks %q", err, want)
			}
		}
	}
	if s.Cmd.Process != nil {
		t.Error("the successor was started")
	}
}

// TestHandOverFirstProcess: if PID 1 ended, its successor would die with it.
func TestHandOverFirstProcess(t *testing.T) {
	was := getpid
	getpid = func() int { return 1 }
	t.Cleanup(func() { getpid = was })
	s := &Successor{Cmd: exec.Command(os.Args[0])}
	if err := HandOver(t.Context(), s); !errors.Is(err, errFirstProcess) || s.Cmd.Process != nil {
		t.Errorf("%v, process %v", err, s.Cmd.Process)
	}
}

// A listener whose sink takes nothing cannot hand over what it has in hand. It keeps its sockets, and continues when the
// sink does.
func TestHandOverStuck(t *testing.T) {
	u := listenUDP(t, nil)
	l := listenTCP(t, &TCPOptions{Grace: -1})
	s := newSink()
	s.blocked = true
	served, accepted := serve(t, u, s), serve(t, l, s)
	c := dialUDP(t, u)
	send(t, c, []byte("stuck"))
	s.await(t, "a waiting Offer", func() bool { return s.waiting > 0 })
	_, err := handOver(t, u, l, "serve", 300*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "1 records (5 bytes) in hand") && !strings.Contains(err.Error(), "ready") {
		t.Fatal(err)
	}
	s.update(func() { s.blocked = false })
	send(t, c, []byte("going on"))
	s.await(t, "both records", func() bool { return s.n == 2 })
	shutdown(t, u)
	shutdown(t, l)
	served()
	accepted()
	s.balance(t, u.Stats().plus(l.Stats()))
}

// The records that a Hold was offered reach the sink once and in order, after the accounts, even if the first Attach
// fails half way, and while more arrive.
func TestHold(t *testing.T) {
	h := NewHold(&HoldOptions{MemoryBytes: 4 * (200 + recordCost), SocketDrops: func(cookie uint64) uint64 { return cookie * 2 }})
	if h.SocketDrops(21) != 42 {
		t.Error("baseline")
	}
	ctx := t.Context()
	var want []string
	offer := func(i int) error {
		r := segment.Record{Data: bytes.Repeat([]byte{byte('a' + i)}, 200)}
		h.Account(segment.Account{Received: segment.Tally{Records: 1, Bytes: 200}, Socket: 7, Drops: uint64(i)})
		_, err := h.Offer(ctx, []segment.Record{r})
		clear(r.Data) // the listener reuses it
		return err
	}
	for i := range 4 {
		if err := offer(i); err != nil {
			t.Fatal(err)
		}
		want = append(want, strings.Repeat(string(rune('a'+i)), 200))
	}
	if got := h.Held(); got != (segment.Tally{Records: 4, Bytes: 800}) {
		t.Errorf("held %+v", got)
	}
	full, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := h.Offer(full, records(1)); err == nil {
		t.Error("took more than its budget")
	}
	if _, err := h.Append(full, records(1)); err == nil {
		t.Error("Append did not wait")
	}
	waiting := make(chan error, 1)
	go func() { waiting <- offer(4) }()
	want = append(want, strings.Repeat("e", 200))

	s := newSink()
	s.blocked = true
	part, cancel := context.WithCancel(ctx)
	go func() {
		s.await(t, "the first batch", func() bool { return s.waiting > 0 })
		cancel()
	}()
	if err := h.Attach(part, s); err == nil || !strings.Contains(err.Error(), "4 records") {
		t.Errorf("%v", err)
	}
	s.update(func() { s.blocked = false })
	if err := h.Attach(ctx, s); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
	if _, err := h.Append(ctx, []segment.Record{{Data: []byte("behind")}}); err != nil {
		t.Fatal(err)
	}
	h.Account(segment.Account{Received: segment.Tally{Records: 1, Bytes: 6}, Socket: 7, Drops: 9})
	if got := s.payloads(); !slices.Equal(got, append(want, "behind")) {
		t.Errorf("%q", got)
	}
	if h.Held() != (segment.Tally{}) || s.acct.Received != (segment.Tally{Records: 6, Bytes: 1006}) || s.acct.Drops != 9 {
		t.Errorf("held %+v, account %+v", h.Held(), s.acct)
	}
}

// While a hand-over waits for a listener whose sink takes nothing, the others receive: their sockets would overflow.
func TestHandOverStuckAlone(t *testing.T) {
	good, stuck := listenUDP(t, nil), listenUDP(t, nil)
	s, full := newSink(), newSink()
	full.blocked = true
	serve(t, good, s)
	serve(t, stuck, full)
	send(t, dialUDP(t, stuck), []byte("stuck"))
	full.await(t, "a waiting Offer", func() bool { return full.waiting > 0 })
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	ours, err := newWire(pair[0])
	if err != nil {
		t.Fatal(err)
	}
	defer ours.c.Close()
	o := &offer{Successor: &Successor{Listeners: map[string]Listener{"a": good, "b": stuck}}, timeout: time.Minute, wire: ours}
	ctx, cancel := context.WithCancel(t.Context())
	released := make(chan error, 1)
	go func() { released <- o.release(ctx, []string{"a", "b"}) }()
	for stuck.sockets[0].paused() == nil {
		runtime.Gosched()
	}
	send(t, dialUDP(t, good), []byte("going on"))
	s.await(t, "a record", func() bool { return s.n == 1 })
	cancel()
	if err := <-released; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, l := range o.paused {
		l.resume()
	}
	full.update(func() { full.blocked = false })
	full.await(t, "the other record", func() bool { return full.n == 1 })
}

func (s *socket) paused() *pause {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	return s.gate.pause
}
