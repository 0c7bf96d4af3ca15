package relp_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ingest/relp"
	"github.com/penstock-go/penstock/spool/segment"
)

// A session from its open to its close.
func TestSession(t *testing.T) {
	s := newSink()
	l := start(t, s, nil)
	c := dial(t, l).open()
	c.send(c.frame("syslog", "one") + c.frame("syslog", "two\nlines") + "4 syslog 0\n" + "5 syslog 0 \n" + "0 hint 2 hm\n" + "6 close 0\n")
	c.want("2 rsp 200 OK", "3 rsp 200 OK", "4 rsp 200 OK", "5 rsp 200 OK", "6 rsp 200 OK", "0 serverclose ", "EOF")
	if !s.has("one", "two\nlines", "", "") {
		t.Errorf("kept %q", s.recs)
	}
	shutdown(t, l)
	s.balance(t, l.Stats())
}

// Messages have the attributes of their connection.
func TestAttributes(t *testing.T) {
	s := newSink()
	l := start(t, s, &ingest.TCPOptions{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Attributes: ingest.ConnAttrs})
	c := dial(t, l)
	// A PROXY header with the id of a VPC endpoint.
	c.send("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x16\xc0\x00\x02\x01\xc6\x33\x64\x05\x13\x88\x02\x02\xea\x00\x07\x01vpce-1")
	c.open()
	c.send(c.frame("syslog", "one") + c.frame("syslog", "two"))
	c.want("2 rsp 200 OK", "3 rsp 200 OK")
	s.update(func() {
		for i, a := range s.attrs {
			if v, _ := a.Get("aws.vpce"); v != "vpce-1" || a != s.attrs[0] {
				t.Errorf("message %d has %v", i, a)
			}
		}
		if len(s.attrs) != 2 {
			t.Errorf("%d messages", len(s.attrs))
		}
	})
}

// Nothing is acknowledged before it is durable, and one sync serves all that was read.
func TestAcknowledgesDurable(t *testing.T) {
	s := newSink()
	l := start(t, s, nil)
	c := dial(t, l).open()
	s.update(func() { s.stuck = true })
	var all strings.Builder
	const n = 500
	for i := range n {
		all.WriteString(c.frame("syslog", fmt.Sprint(i)))
	}
	c.send(all.String())
	s.await(t, "a call of WaitDurable", func() bool { return s.waiting == 1 })
	c.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if got := c.answer(); !strings.Contains(got, "timeout") {
		t.Errorf("answered before it was durable: %q", got)
	}
	c.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	s.update(func() { s.stuck = false })
	for i := range n {
		c.want(fmt.Sprintf("%d rsp 200 OK", i+2))
	}
	s.update(func() {
		if s.durable != n || len(s.recs) != n || s.syncs > n/10 {
			t.Errorf("%d records, %d durable, %d syncs", len(s.recs), s.durable, s.syncs)
		}
	})
}

// Window bounds what is not acknowledged.
func TestWindow(t *testing.T) {
	s := newSink()
	l := start(t, s, &ingest.TCPOptions{Window: 10})
	c := dial(t, l).open()
	s.update(func() { s.stuck = true })
	var all strings.Builder
	for range 100 {
		all.WriteString(c.frame("syslog", "x"))
	}
	c.send(all.String())
	s.await(t, "a call of WaitDurable", func() bool { return s.waiting == 1 })
	s.update(func() {
		if len(s.recs) > 10 {
			t.Errorf("%d records are appended and not acknowledged", len(s.recs))
		}
		s.stuck = false
	})
	for i := range 100 {
		c.want(fmt.Sprintf("%d rsp 200 OK", i+2))
	}
}

// rejected is the error of a full spool with the policy Reject.
type rejected struct{}

func (rejected) Error() string  { return "full" }
func (rejected) Rejected() bool { return true }

// A record that was not made durable, or not taken at all, is not acknowledged: the connection closes, and the client
// sends it again.
func TestNotKept(t *testing.T) {
	for name, test := range map[string]struct {
		fail func(s *sink)
		end  []string
	}{
		"commit failed": {func(s *sink) { s.failSync = errors.New("disk on fire") }, []string{"EOF"}},
		"rejected":      {func(s *sink) { s.reject = rejected{} }, []string{"0 serverclose ", "EOF"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSink()
			l := start(t, s, nil)
			c := dial(t, l).open()
			c.send(c.frame("syslog", "good"))
			c.want("2 rsp 200 OK")
			s.update(func() { test.fail(s) })
			c.send(c.frame("syslog", "bad"))
			c.want(test.end...)
			s.update(func() { s.reject = nil })
			c = dial(t, l).open()
			c.send(c.frame("syslog", "bad"))
			c.want("2 rsp 200 OK")
		})
	}
}

// Shutdown acknowledges what is durable, says goodbye, and takes nothing that it does not acknowledge.
func TestShutdown(t *testing.T) {
	s := newSink()
	l := start(t, s, nil)
	c, idle, mute := dial(t, l).open(), dial(t, l).open(), dial(t, l)
	s.update(func() { s.stuck = true })
	c.send(c.frame("syslog", "first"))
	s.await(t, "a call of WaitDurable", func() bool { return s.waiting == 1 })
	c.send(c.frame("syslog", "second") + "4 syslog 5 cut")
	s.await(t, "the second one", func() bool { return len(s.recs) == 2 })
	ended := make(chan struct{})
	go func() { defer close(ended); shutdown(t, l) }()
	idle.want("0 serverclose ", "EOF")
	mute.want("0 serverclose ", "EOF")
	idle.conn.Close()
	mute.conn.Close()
	c.send("ab\n" + frame(5, "syslog", "too late"))
	s.update(func() { s.stuck = false })
	c.want("2 rsp 200 OK", "3 rsp 200 OK")
	acked := 2
	for c.answer() != "0 serverclose " { // whether the rest was read is random, but if it was kept, it must be acknowledged
		acked++
	}
	c.want("EOF")
	c.conn.Close()
	<-ended
	if st := l.Stats(); len(s.recs) != acked || st.Received.Records != uint64(acked) {
		t.Errorf("%d acknowledged, kept %q, received %d", acked, s.recs, st.Received.Records)
	}
	s.balance(t, l.Stats())
}

// If a client reads no answers, the server reads no more from it, whatever the answers are, and a shutdown does not wait
// for it.
func TestDeafClient(t *testing.T) {
	for _, command := range []string{"syslog", "other"} {
		t.Run(command, func(t *testing.T) { deafClient(t, command) })
	}
}

func deafClient(t *testing.T, command string) {
	filler := strings.Repeat("x", 1000)
	s := newSink()
	l := start(t, s, &ingest.TCPOptions{Grace: 10 * time.Millisecond})
	c := dial(t, l).open()
	c.conn.(*net.TCPConn).SetReadBuffer(4096)
	// When the client cannot write any more, the server has stopped reading, because it cannot write.
	for err := error(nil); err == nil; {
		c.conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		var b []byte
		for range 500 {
			b = append(b, c.frame(command, filler)...)
		}
		_, err = c.conn.Write(b)
	}
	shutdown(t, l)
	s.balance(t, l.Stats())
}

// Input that no honest client sends ends the connection, is counted by cause, and does not affect the others.
func TestBad(t *testing.T) {
	open := frame(1, "open", offers)
	for name, test := range map[string]struct {
		send   string
		want   []string
		lost   map[segment.Cause]uint64 // records
		kept   int
		closes bool // the client closes
	}{
		"garbage":        {send: "GET / HTTP/1.1\r\n\r\n", lost: lost(segment.Malformed)},
		"binary":         {send: "\x16\x03\x01\x02\x00\x01", lost: lost(segment.Malformed)},
		"long number":    {send: "1234567890 open 0\n", lost: lost(segment.Malformed)},
		"long command":   {send: "1 " + strings.Repeat("a", 33) + " 0\n", lost: lost(segment.Malformed)},
		"not open":       {send: frame(1, "syslog", "x"), want: []string{"1 rsp 500 relp: the session is not open"}, lost: lost(segment.Malformed)},
		"no version":     {send: frame(1, "open", "commands=syslog"), want: []string{"1 rsp 500 relp: the client offers no relp_version"}, lost: lost(segment.Malformed)},
		"other commands": {send: frame(1, "open", "relp_version=1\ncommands=eventlog"), want: []string{"1 rsp 500 relp: the client does not offer the command syslog"}, lost: lost(segment.Malformed)},
		"open twice":     {send: open + frame(2, "open", offers), want: []string{opened, "2 rsp 500 relp: the session is open already"}, lost: lost(segment.Malformed)},
		"gap":            {send: open + frame(2, "syslog", "a") + frame(4, "syslog", "b"), want: []string{opened, "2 rsp 200 OK"}, kept: 1, lost: lost(segment.Malformed)},
		"repeated":       {send: open + frame(2, "syslog", "a") + frame(2, "syslog", "a"), want: []string{opened, "2 rsp 200 OK"}, kept: 1, lost: lost(segment.Malformed)},
		"hint syslog":    {send: open + frame(0, "syslog", "a"), want: []string{opened}, lost: lost(segment.Malformed)},
		"huge open":      {send: "1 open 999999999 relp_version", lost: lost(segment.Malformed)},
		"huge hint":      {send: "0 hint 999999999 relp_version", lost: lost(segment.Malformed)},
		"no LF":          {send: open + "2 syslog 1 ab", want: []string{opened}, lost: lost(segment.Malformed)},
		"no LF, skipped": {send: open + "2 syslog 101 " + strings.Repeat("x", 102), want: []string{opened}, lost: lost(segment.Malformed)},
		"too long": {
			send:   open + frame(2, "syslog", strings.Repeat("x", 101)) + frame(3, "syslog", "a"),
			want:   []string{opened, "2 rsp 500 message of 101 bytes, the limit is 100", "3 rsp 200 OK"},
			closes: true, kept: 1, lost: lost(segment.FrameTooLong),
		},
		"unknown command": {
			send:   open + frame(2, "eventlog", "b") + frame(3, "eventlog", strings.Repeat("x", 5000)) + frame(4, "syslog", "a"),
			want:   []string{opened, "2 rsp 500 command not supported", "3 rsp 500 command not supported", "4 rsp 200 OK"},
			closes: true, kept: 1, lost: map[segment.Cause]uint64{segment.Malformed: 2},
		},
		"closed in a header":    {send: open + "2 sys", want: []string{opened}, closes: true, lost: lost(segment.Malformed)},
		"closed in a message":   {send: open + "2 syslog 50 x", want: []string{opened}, closes: true, lost: lost(segment.Malformed)},
		"closed in a long one":  {send: open + "2 syslog 999999999 x", want: []string{opened}, closes: true, lost: lost(segment.FrameTooLong)},
		"closed before an open": {send: "", closes: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSink()
			l := start(t, s, &ingest.TCPOptions{MaxRecord: 100})
			good := dial(t, l).open()
			c := dial(t, l)
			c.send(test.send)
			c.want(test.want...)
			if test.closes {
				c.conn.(*net.TCPConn).CloseWrite()
				if test.lost[segment.FrameTooLong] > 0 && len(test.want) == 1 {
					c.want("2 rsp 500 message of 1 bytes, the limit is 100")
				}
			}
			c.want("0 serverclose ", "EOF")
			c.conn.Close()
			good.send(good.frame("syslog", "still here"))
			good.want("2 rsp 200 OK")
			good.conn.Close()
			shutdown(t, l)
			st := l.Stats()
			for cause := range segment.Cause(len(st.Lost)) {
				if got := st.Lost[cause].Records; got != test.lost[cause] {
					t.Errorf("%d lost by %v, want %d", got, cause, test.lost[cause])
				}
			}
			if len(s.recs) != test.kept+1 {
				t.Errorf("kept %q", s.recs)
			}
			s.balance(t, st)
		})
	}
}

func lost(c segment.Cause) map[segment.Cause]uint64 { return map[segment.Cause]uint64{c: 1} }

// A reset in mid-frame is counted as such.
func TestReset(t *testing.T) {
	s := newSink()
	l := start(t, s, nil)
	c := dial(t, l).open()
	c.send(c.frame("syslog", "whole") + "3 syslog 50 x")
	c.want("2 rsp 200 OK")
	c.conn.(*net.TCPConn).SetLinger(0)
	c.conn.Close()
	s.await(t, "a loss", func() bool { return s.acct.Lost[segment.Reset].Records == 1 })
	shutdown(t, l)
	s.balance(t, l.Stats())
}

// A client must open its session, complete a frame that it has begun, and read answers, each in time.
func TestTimeouts(t *testing.T) {
	s := newSink()
	l := start(t, s, &ingest.TCPOptions{HandshakeTimeout: 30 * time.Millisecond, FrameTimeout: -1, IdleTimeout: -1})
	mute := dial(t, l)
	mute.want("0 serverclose ", "EOF")
	for begin := time.Now(); l.Stats().Lost[segment.Malformed].Records == 0; { // a busy machine may send it only when the time is over
		half := dial(t, l)
		_, _ = io.WriteString(half.conn, "1 open 100 relp")
		if got := half.answer(); l.Stats().Lost[segment.Malformed].Records > 0 && (got != "0 serverclose " || half.answer() != "EOF") {
			t.Errorf("the server answered %q to half a frame", got)
		}
		if time.Since(begin) > time.Minute {
			t.Fatal("half a frame was not read")
		}
	}

	l = start(t, s, &ingest.TCPOptions{FrameTimeout: 30 * time.Millisecond})
	loris := dial(t, l).open()
	loris.send("2 syslog 1000 ")
	go func() {
		for {
			if _, err := io.WriteString(loris.conn, "x"); err != nil {
				return
			}
		}
	}()
	loris.want("0 serverclose ")

	l = start(t, s, &ingest.TCPOptions{IdleTimeout: 30 * time.Millisecond})
	for begin := time.Now(); ; { // a busy machine may open a session only when the time is over
		c := dial(t, l)
		_, _ = io.WriteString(c.conn, c.frame("open", offers))
		if c.answer() == opened {
			c.want("0 serverclose ", "EOF")
			break
		}
		if time.Since(begin) > time.Minute {
			t.Fatal("no session was opened")
		}
	}

	l = start(t, s, &ingest.TCPOptions{FrameTimeout: 30 * time.Millisecond, Grace: -1})
	deaf := dial(t, l).open()
	deaf.conn.(*net.TCPConn).SetReadBuffer(4096)
	for {
		if _, err := io.WriteString(deaf.conn, deaf.frame("syslog", "")); err != nil {
			break // the server has closed
		}
	}
}

// A sink that cannot say what is durable is refused.
func TestSinkNotDurable(t *testing.T) {
	l, err := ingest.ListenTCP("127.0.0.1:0", &ingest.TCPOptions{Framing: relp.Framing})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Serve(struct{ ingest.Sink }{newSink()}); err == nil || !strings.Contains(err.Error(), "WaitDurable") {
		t.Errorf("Serve: %v", err)
	}
}
