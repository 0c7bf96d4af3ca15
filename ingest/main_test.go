package ingest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/spool/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memSink keeps everything. It checks that the ledger never has fewer records received than kept.
type memSink struct {
	mu      sync.Mutex
	cond    *sync.Cond
	recs    []segment.Record
	keep    bool // copy payloads; otherwise only count
	n       uint64
	bytes   uint64
	acct    segment.Account
	behind  bool
	blocked bool
	waiting int   // calls that are blocked
	err     error // returned instead of taking the batch
	late    bool  // err comes after the batch was taken
	refused uint64
}

func newSink() *memSink {
	s := &memSink{keep: true}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *memSink) take(ctx context.Context, batch []segment.Record) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stop := context.AfterFunc(ctx, s.cond.Broadcast)
	defer stop()
	for s.blocked && ctx.Err() == nil {
		s.waiting++
		s.cond.Broadcast()
		s.cond.Wait()
		s.waiting--
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if s.err != nil && !s.late {
		s.refused += uint64(len(batch))
		s.cond.Broadcast()
		return 0, s.err
	}
	for _, r := range batch {
		if s.keep {
			r.Data = slices.Clone(r.Data)
			s.recs = append(s.recs, r)
		}
		s.bytes += uint64(len(r.Data))
	}
	s.n += uint64(len(batch))
	lost := lostRecords(&s.acct.Lost)
	if s.acct.Received.Records+s.acct.Made.Records < s.n+lost {
		s.behind = true
	}
	s.cond.Broadcast()
	return s.n, s.err
}

func (s *memSink) Append(ctx context.Context, b []segment.Record) (uint64, error) {
	return s.take(ctx, b)
}

func (s *memSink) Offer(ctx context.Context, b []segment.Record) (uint64, error) {
	return s.take(ctx, b)
}

func (s *memSink) TryOffer(b []segment.Record) (uint64, error) {
	s.mu.Lock()
	blocked := s.blocked
	s.mu.Unlock()
	if blocked {
		return 0, errors.New("full")
	}
	return s.take(context.Background(), b)
}

func (s *memSink) Account(a segment.Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acct.Add(a)
	if a.Socket != 0 {
		s.acct.Socket, s.acct.Drops = a.Socket, a.Drops
	}
	s.cond.Broadcast()
}

func lostRecords(l *segment.Losses) (n uint64) {
	for i := range l {
		n += l[i].Records
	}
	return n
}

// update changes the sink's behaviour and wakes up all callers that wait.
func (s *memSink) update(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.cond.Broadcast()
}

// await waits until f holds; it fails the test after 20 s.
func (s *memSink) await(t testing.TB, what string, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, s.cond.Broadcast)()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !f() {
		if ctx.Err() != nil {
			t.Fatalf("still not: %s (%d records, %d lost, %+v)", what, s.n, lostRecords(&s.acct.Lost), s.acct)
		}
		s.cond.Wait()
	}
}

func (s *memSink) payloads() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := make([]string, len(s.recs))
	for i, r := range s.recs {
		p[i] = string(r.Data)
	}
	return p
}

// balance checks the sink's own count against the listener's and against what was accounted for.
func (s *memSink) balance(t testing.TB, st Stats) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.behind {
		t.Error("the account of received records was behind the kept ones")
	}
	if st.Received != s.acct.Received || st.Lost != s.acct.Lost {
		t.Errorf("Stats %+v %+v differ from the account %+v", st.Received, st.Lost, s.acct)
	}
	if got := s.n + st.InHand.Records + lostRecords(&st.Lost); got != st.Received.Records {
		t.Errorf("received %d, but kept %d + in hand %d + lost %d", st.Received.Records, s.n, st.InHand.Records, lostRecords(&st.Lost))
	}
}

// serve runs l, and returns when it serves (a Shutdown before that would find nothing to do), with a function that waits
// for its end.
func serve(t testing.TB, l Listener, s Sink) (wait func()) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- l.Serve(s) }()
	for !l.(interface{ isServing() bool }).isServing() {
		runtime.Gosched()
	}
	wait = sync.OnceFunc(func() {
		if err := <-ended; err != ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() { l.Close(); wait() })
	return wait
}

func (u *UDP) isServing() bool { return u.life.isServing() }
func (t *TCP) isServing() bool { return t.life.isServing() }

func shutdown(t testing.TB, l Listener) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := l.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}

func numbered(i int) string { return fmt.Sprintf("record %d", i) }
