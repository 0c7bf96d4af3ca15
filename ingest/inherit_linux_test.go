package ingest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// childEnv makes the test binary a process that was started with sockets: its value has the systemd URLs to serve.
const childEnv = "PENSTOCK_INGEST_CHILD"

func init() {
	if urls := os.Getenv(childEnv); urls != "" {
		runChild(strings.Fields(urls))
	}
}

// runChild serves until each URL's listener has received a record, and prints the records.
func runChild(urls []string) {
	for _, u := range urls {
		l, err := Listen(u, &Options{TCP: TCPOptions{Grace: -1}})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		s := newSink()
		go l.Serve(s)
		s.mu.Lock()
		for s.n == 0 {
			s.cond.Wait()
		}
		s.mu.Unlock()
		if err := l.Shutdown(context.Background()); err != nil {
			fmt.Println(err)
		}
		fmt.Printf("%s %q\n", u, s.payloads())
	}
	os.Exit(0)
}

// A process that was started with sockets finds them by name, and what had arrived before it began.
func TestSystemd(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	udp, err := pc.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 { // the sockets outlive the first process
		for _, to := range []net.Addr{pc.LocalAddr(), ln.Addr()} {
			c, err := net.Dial(to.Network(), to.String())
			if err != nil {
				t.Fatal(err)
			}
			send(t, c, []byte(numbered(round)))
			c.Close()
		}
		cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, self)
		cmd.Env = append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=traffic:lines",
			childEnv+"=systemd://traffic?rcvbuf=1MiB systemd://lines?framing=newline")
		cmd.ExtraFiles = []*os.File{udp, tcp}
		out, err := cmd.CombinedOutput()
		want := fmt.Sprintf("systemd://traffic?rcvbuf=1MiB [%q]\nsystemd://lines?framing=newline [%q]\n", numbered(round), numbered(round))
		if err != nil || string(out) != want {
			t.Fatalf("%v\n%s\nwant\n%s", err, out, want)
		}
	}
}

func TestParseInherited(t *testing.T) {
	env := func(kv ...string) func(string) string {
		return func(k string) string {
			for i := 0; i < len(kv); i += 2 {
				if kv[i] == k {
					return kv[i+1]
				}
			}
			return ""
		}
	}
	for name, e := range map[string]func(string) string{
		"none":        env(),
		"of a parent": env("LISTEN_FDS", "2", "LISTEN_PID", "1"),
		"no pid":      env("LISTEN_FDS", "2"),
	} {
		if all, err := parseInherited(e, 77); err != nil || len(all) != 0 {
			t.Errorf("%s: %v, %v", name, all, err)
		}
	}
	for name, e := range map[string]func(string) string{
		"no number": env("LISTEN_FDS", "x", "LISTEN_PID", "77"),
		"negative":  env("LISTEN_FDS", "-1", "LISTEN_PID", "77"),
		"huge":      env("LISTEN_FDS", "1000000000", "LISTEN_PID", "77"),
		"names":     env("LISTEN_FDS", "2", "LISTEN_PID", "77", "LISTEN_FDNAMES", "a"),
	} {
		if all, err := parseInherited(e, 77); err == nil {
			t.Errorf("%s: %v", name, all)
		}
	}
	if _, err := Inherited("no such socket"); err == nil || !strings.Contains(err.Error(), "no such socket") {
		t.Errorf("%v", err)
	}
	if _, err := Parse("systemd://absent?framing=newline", nil); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("%v", err)
	}
}

// ledgerSink is a Sink that knows what was accounted for before.
type ledgerSink struct {
	*memSink
	sockets map[uint64]uint64
}

func (s ledgerSink) SocketDrops(cookie uint64) uint64 { return s.sockets[cookie] }

// One listener after another reads the same socket, under traffic that overflows it now and then: every datagram is
// with one of them, or counted as lost by one of them.
func TestHandOver(t *testing.T) {
	pc, f := bound(t)
	var sent atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		c, err := net.Dial("udp", pc.LocalAddr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := c.Write(make([]byte, 200)); err != nil {
				t.Error(err)
				return
			}
			sent.Add(1)
		}
	}()
	ledger := map[uint64]uint64{}
	var kept, lost uint64
	const rounds = 5
	for round := range rounds {
		u, err := ListenUDP("", &UDPOptions{Files: []*os.File{f}, ReceiveBuffer: 50_000})
		if err != nil {
			t.Fatal(err)
		}
		s := ledgerSink{newSink(), ledger}
		s.keep = false
		wait := serve(t, u, s)
		s.await(t, "some records", func() bool { return s.n > 2000 })
		s.update(func() { s.blocked = true })
		s.await(t, "some drops", func() bool { return lostRecords(&s.acct.Lost) > 0 })
		if round == rounds-1 {
			close(stop)
			<-stopped
		}
		s.update(func() { s.blocked = false })
		shutdown(t, u)
		wait()
		st := u.Stats()
		s.balance(t, st)
		kept, lost = kept+s.n, lost+lostRecords(&st.Lost)
		ledger[s.acct.Socket] = s.acct.Drops
	}
	if kept+lost != sent.Load() {
		t.Errorf("sent %d, kept %d + lost %d = %d", sent.Load(), kept, lost, kept+lost)
	}
	pc.SetReadDeadline(time.Now())
	if n, _, err := pc.ReadFrom(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes were left", n)
	}
}

// bound returns a socket on loopback, and a file of it as an earlier process would leave it.
func bound(t *testing.T) (*net.UDPConn, *os.File) {
	t.Helper()
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	f, err := pc.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return pc, f
}

// listenBeside takes over a socket that another process has too.
func listenBeside(t *testing.T) *UDP {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	f, err := pc.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return listenUDP(t, &UDPOptions{Files: []*os.File{f}})
}

// lookedAt is a sink that reads the Stats of its listener while that asks how many drops are accounted for.
type lookedAt struct {
	*memSink
	u      *UDP
	looked chan struct{}
}

func (l *lookedAt) SocketDrops(uint64) uint64 {
	go func() { defer close(l.looked); l.u.Stats() }()
	return 1 << 33
}

// Stats can be called while Serve finds out how many drops of an inherited socket are accounted for.
func TestStatsWhileAttaching(t *testing.T) {
	u := listenBeside(t)
	sink := &lookedAt{newSink(), u, make(chan struct{})}
	wait := serve(t, u, sink)
	<-sink.looked
	u.Close()
	wait()
}

// A listener that was never served leaves a socket that it has handed over as it is: the address of a unix socket belongs
// to the next process.
func TestLeaveBeforeServe(t *testing.T) {
	addr := t.TempDir() + "/s"
	u, err := ListenUDP(addr, &UDPOptions{Network: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := u.pause(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	if !u.leave() {
		t.Fatal("it has ended")
	}
	u.halt()
	if _, err := os.Stat(addr); err != nil {
		t.Errorf("the next process has no address: %v", err)
	}
}
