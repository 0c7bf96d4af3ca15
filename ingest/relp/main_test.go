package relp_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ingest/relp"
	"github.com/penstock-go/penstock/spool/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink keeps everything, and makes it durable when the test says so.
type sink struct {
	mu       sync.Mutex
	cond     *sync.Cond
	recs     []string
	attrs    []*segment.Attrs // of these
	durable  uint64
	syncs    int
	waiting  int
	stuck    bool  // WaitDurable waits
	failSync error // what WaitDurable returns, once
	reject   error // what Append returns
	acct     segment.Account
}

func newSink() *sink {
	s := &sink{}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *sink) Append(_ context.Context, batch []segment.Record) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reject != nil {
		return 0, s.reject
	}
	for _, r := range batch {
		s.recs, s.attrs = append(s.recs, string(r.Data)), append(s.attrs, r.Attrs)
	}
	s.cond.Broadcast()
	return uint64(len(s.recs)), nil
}

func (s *sink) Offer(ctx context.Context, batch []segment.Record) (uint64, error) {
	return s.Append(ctx, batch)
}

func (s *sink) WaitDurable(ctx context.Context, seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer context.AfterFunc(ctx, s.cond.Broadcast)()
	for s.waiting++; s.stuck && ctx.Err() == nil; {
		s.cond.Broadcast()
		s.cond.Wait()
	}
	s.waiting--
	if err := s.failSync; err != nil {
		s.failSync = nil
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.syncs++
	s.durable = max(s.durable, seq)
	s.cond.Broadcast()
	return nil
}

func (s *sink) Account(a segment.Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acct.Received.Add(a.Received)
	s.acct.Lost.Add(a.Lost)
	s.cond.Broadcast()
}

func (s *sink) update(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.cond.Broadcast()
}

// await waits until f holds; it fails the test after 20 s.
func (s *sink) await(t testing.TB, what string, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, s.cond.Broadcast)()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !f() {
		if ctx.Err() != nil {
			t.Fatalf("still not: %s (%d records, %+v)", what, len(s.recs), s.acct)
		}
		s.cond.Wait()
	}
}

// balance checks that everything received is kept or lost.
func (s *sink) balance(t testing.TB, st ingest.Stats) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.Received != s.acct.Received || st.Lost != s.acct.Lost {
		t.Errorf("Stats %+v %+v differ from the account %+v", st.Received, st.Lost, s.acct)
	}
	if kept, lost := uint64(len(s.recs)), st.Lost.Total().Records; kept+lost+st.InHand.Records != st.Received.Records {
		t.Errorf("received %d, but kept %d + lost %d + in hand %d", st.Received.Records, kept, lost, st.InHand.Records)
	}
}

// start serves a RELP listener until the end of the test.
func start(t testing.TB, s ingest.Sink, o *ingest.TCPOptions) *ingest.TCP {
	t.Helper()
	var c ingest.TCPOptions
	if o != nil {
		c = *o
	}
	c.Framing = relp.Framing
	l, err := ingest.ListenTCP("127.0.0.1:0", &c)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, s)
	return l
}

func serve(t testing.TB, l ingest.Listener, s ingest.Sink) {
	ended := make(chan error, 1)
	go func() { ended <- l.Serve(s) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-ended; err != ingest.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
	})
}

func shutdown(t testing.TB, l ingest.Listener) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := l.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}

const offers = "relp_version=0\nrelp_software=test\ncommands=syslog"

// client sends RELP as a test says, valid or not.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	txnr int
}

// dial connects, without opening the session.
func dial(t testing.TB, l ingest.Listener) *client {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return talk(t, c)
}

func talk(t testing.TB, c net.Conn) *client {
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{t: t, conn: c, r: bufio.NewReader(c), txnr: 1}
}

// frame sends the next frame.
func (c *client) frame(command, data string) string {
	f := frame(c.txnr, command, data)
	c.txnr++
	return f
}

func frame(txnr int, command, data string) string {
	if data == "" {
		return fmt.Sprintf("%d %s 0\n", txnr, command)
	}
	return fmt.Sprintf("%d %s %d %s\n", txnr, command, len(data), data)
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatal(err)
	}
}

// answer returns the next frame of the server as "TXNR COMMAND DATA", or "EOF", or "reset".
func (c *client) answer() string {
	c.t.Helper()
	head, err := c.r.ReadString(' ')
	if err != nil {
		return c.ended(err)
	}
	command, err := c.r.ReadString(' ')
	if err != nil {
		return c.ended(err)
	}
	var digits []byte
	var b byte
	for b, err = c.r.ReadByte(); err == nil && b >= '0' && b <= '9'; b, err = c.r.ReadByte() {
		digits = append(digits, b)
	}
	size, bad := strconv.Atoi(string(digits))
	if err != nil || bad != nil {
		c.t.Fatalf("no frame: %q %q %q %v", head, command, digits, err)
	}
	if size == 0 {
		return head + command
	}
	data := make([]byte, size+1)
	if _, err := io.ReadFull(c.r, data); err != nil || data[size] != '\n' {
		c.t.Fatalf("no frame: %q %v", data, err)
	}
	return head + command + string(data[:size])
}

func (c *client) ended(err error) string {
	if err == io.EOF {
		return "EOF"
	}
	if strings.Contains(err.Error(), "reset") {
		return "reset"
	}
	return err.Error()
}

func (c *client) want(answers ...string) {
	c.t.Helper()
	for _, w := range answers {
		if got := c.answer(); got != w {
			c.t.Fatalf("the server answered %q, want %q", got, w)
		}
	}
}

const opened = "1 rsp 200 OK\nrelp_version=0\nrelp_software=penstock\ncommands=syslog"

// open opens the session.
func (c *client) open() *client {
	c.t.Helper()
	c.send(c.frame("open", offers))
	c.want(opened)
	return c
}

func (s *sink) has(want ...string) bool { return slices.Equal(s.recs, want) }
