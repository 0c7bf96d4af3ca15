package asg_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestScaleIns takes instances away under random faults, and checks each end: nothing is lost, nothing is duplicated, and
// the answer is CONTINUE only when everything is at both destinations and the report says so. PENSTOCK_SCALEINS is the
// number of scale-ins, PENSTOCK_SEED the first seed.
func TestScaleIns(t *testing.T) {
	seed := number("PENSTOCK_SEED", 1)
	answers, noSpace, seen, full := map[asg.Answer]int{}, map[asg.Answer]int{}, map[string]int{}, 0
	for n := range number("PENSTOCK_SCALEINS", 6) {
		t.Run(strconv.Itoa(seed+n), func(t *testing.T) {
			s := newScaleIn(t, uint64(seed+n))
			synctest.Test(t, s.test)
			answers[s.answer]++
			seen[s.mode]++
			if s.refused {
				full++
			}
			if s.noSpace > 0 {
				noSpace[s.answer]++
			}
		})
	}
	t.Logf("answers %v, faults %v, %d had a full spool, met a full disk %v", answers, seen, full, noSpace)
}

func number(env string, def int) int {
	n, err := strconv.Atoi(os.Getenv(env))
	if err != nil {
		return def
	}
	return n
}

// TestDamage: an object that is damaged between its delivery and Verify, or removed with the destination then refusing
// writes, is named in the report, and the group hears ABANDON; one that is merely removed is delivered again, and the
// group hears CONTINUE. Each as often as PENSTOCK_DAMAGES says.
func TestDamage(t *testing.T) {
	for n := range number("PENSTOCK_DAMAGES", 1) {
		for _, mode := range []string{"damaged", "lost", "removed"} {
			t.Run(mode+strconv.Itoa(n), func(t *testing.T) {
				s := newScaleIn(t, uint64(1000+n))
				// The faults do not end, no signal cuts the drain short, and the group does not retain: so there is only
				// one report. Its disk works: TestScaleIns tests full disks.
				s.mode, s.must, s.heal, s.cut, s.stay, s.full = mode, true, 1000*time.Hour, 0, false, false
				synctest.Test(t, s.test)
			})
		}
	}
}

// scaleIn is one scale-in.
type scaleIn struct {
	t      *testing.T
	dir    string
	r      *rand.Rand // for the plan only: faults have their own
	mode   string
	heal   time.Duration // when the faults end
	cut    time.Duration // when two signals come, 0: never
	stay   bool          // the group retains what is abandoned
	dereg  time.Duration
	answer asg.Answer
	// The disk becomes full some time after the start, or when the phase with that number is journalled, and stays full
	// for a time.
	full         bool
	fills, lasts time.Duration
	fillsIn      int

	dests  map[string]*shiptest.MemoryDestination
	faulty *shiptest.FaultyDestination

	mu     sync.Mutex
	faults *rand.Rand
	healed bool
	undo   func()
	// hit are the objects that were damaged or removed, by key
	hit  map[string]bool
	sent uint64
	// refused: the spool had no room for a record, for as long as its sender could wait
	refused bool
	noSpace int  // operations that the full disk has refused
	must    bool // hit the first object, and look at the report for it
}

// modes of the second destination; full is an outage that fills the spool.
var modes = []string{"none", "flaky", "outage", "outage", "silent", "damaged", "removed", "lost", "full"}

func newScaleIn(t *testing.T, seed uint64) *scaleIn {
	r := rand.New(rand.NewPCG(seed, 1))
	s := &scaleIn{
		t: t, dir: t.TempDir(), r: r, faults: rand.New(rand.NewPCG(seed, 2)), mode: modes[r.IntN(len(modes))],
		heal: time.Duration(r.Int64N(int64(5 * time.Hour))), stay: r.IntN(4) > 0, undo: func() {}, hit: map[string]bool{},
		dereg: time.Duration(r.Int64N(int64(5 * time.Minute))),
		dests: map[string]*shiptest.MemoryDestination{"good": shiptest.Memory(), "other": shiptest.Memory()},
	}
	if r.IntN(5) == 0 {
		s.cut = time.Duration(r.Int64N(int64(time.Hour)))
	}
	s.faulty = shiptest.Faulty(s.dests["other"], s.plan)
	if s.full = r.IntN(3) == 0; s.full {
		s.fills, s.fillsIn = time.Duration(r.Int64N(int64(8*time.Minute))), r.IntN(8)
		s.lasts = time.Duration(r.Int64N(int64([]time.Duration{time.Minute, 10 * time.Minute, 5 * time.Hour}[r.IntN(3)])))
		s.cut = 0 // two signals may lose records that are in memory only because the disk is full
	}
	return s
}

// disk is a hook for the file system. A full disk allows operations that need no new block, and partial writes.
func (s *scaleIn) disk() vfs.Hook {
	from, phases := time.Now().Add(s.fills), 0
	if s.fillsIn > 0 {
		from = from.Add(1000 * time.Hour)
	}
	return func(op vfs.Op) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if op.Kind == vfs.OpCreate && strings.HasPrefix(filepath.Base(op.Path), "drain.json") {
			if phases++; phases == s.fillsIn {
				from = time.Now()
			}
		}
		if now := time.Now(); now.Before(from) || now.Sub(from) >= s.lasts {
			return nil
		}
		switch op.Kind {
		case vfs.OpWrite, vfs.OpAllocate:
		case vfs.OpCreate, vfs.OpMkdirAll, vfs.OpTruncate, vfs.OpRename: // there may be room in the directory's block
			if s.faults.IntN(2) == 0 {
				return nil
			}
		default:
			return nil
		}
		s.noSpace++
		return &vfs.Fault{Err: syscall.ENOSPC, Bytes: s.faults.IntN(2) * s.faults.IntN(4096)}
	}
}

var errFault = errors.New("fault of the test")

// plan is what goes wrong at the second destination.
func (s *scaleIn) plan(c shiptest.Call) shiptest.Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.healed {
		return shiptest.Fault{}
	}
	put := c.Op == shiptest.Put && strings.HasPrefix(c.Key, "class=")
	p := s.faults.Float64()
	hits := put && !s.hit[c.Key] && (p < 0.5 || s.must && len(s.hit) == 0)
	switch {
	case s.mode == "outage", s.mode == "full", s.mode == "flaky" && p < 0.3:
		return shiptest.FailBefore(errFault)
	case s.mode == "flaky" && p < 0.5: // the connection is cut before the answer
		return shiptest.Fault{After: func(context.Context) error { return errFault }}
	case s.mode == "silent":
		return shiptest.Fault{Before: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
	case s.mode == "damaged" && hits:
		s.hit[c.Key] = true
		return shiptest.Fault{After: func(context.Context) error {
			m := s.dests["other"]
			s.mu.Lock()
			defer s.mu.Unlock()
			before, body := s.undo, m.Bytes(c.Key)
			s.undo = func() { before(); m.Set(c.Key, body) }
			m.Set(c.Key, damage(s.faults, body))
			return nil
		}}
	case s.mode == "lost" && put && s.hit[c.Key]:
		return shiptest.FailBefore(errFault)
	case (s.mode == "removed" || s.mode == "lost") && hits:
		s.hit[c.Key] = true // once: an object that is removed after every confirmation can never be delivered
		return shiptest.Fault{After: func(context.Context) error { s.dests["other"].Remove(c.Key); return nil }}
	}
	return shiptest.Fault{}
}

// damage returns a body as a failing store may hold it.
func damage(r *rand.Rand, body []byte) []byte {
	b := bytes.Clone(body)
	switch r.IntN(4) {
	case 0:
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	case 1:
		b = b[:r.IntN(len(b))]
	case 2:
		b = append(b, 0)
	default:
		clear(b)
	}
	return b
}

func (s *scaleIn) recover() {
	s.mu.Lock()
	undo := s.undo
	s.healed, s.undo = true, func() {}
	s.mu.Unlock()
	undo()
}

// listener sends until it is shut down, and waits for room in the spool no longer than it has time for that.
type listener struct {
	stop, stopped chan struct{}
	ctx           context.Context
	cancel        context.CancelFunc
}

func (l *listener) Shutdown(ctx context.Context) error {
	close(l.stop)
	defer l.cancel()
	defer context.AfterFunc(ctx, l.cancel)()
	<-l.stopped
	return nil
}

func (s *scaleIn) serve(sp *spool.Spool, l *listener, seed uint64) {
	defer close(l.stopped)
	r := rand.New(rand.NewPCG(seed, 3))
	send := func(n int) {
		for range n {
			size := 100 + r.IntN(900)
			if s.mode == "full" {
				size *= 20
			}
			rec := []segment.Record{{Time: time.Now().UnixNano(), Data: bytes.Repeat([]byte{'x'}, size)}}
			last, err := sp.Append(l.ctx, rec)
			if err != nil && !s.full && (s.mode != "full" || l.ctx.Err() == nil) {
				s.t.Error(err)
			}
			if last == 0 { // the full spool has not taken it: its sender keeps it
				s.mu.Lock()
				s.refused = true
				s.mu.Unlock()
				return
			}
			s.mu.Lock()
			s.sent++
			s.mu.Unlock()
		}
	}
	send(50 + r.IntN(300))
	for range 8 { // late ones, up to the end of a UDP flow at the load balancer
		select {
		case <-time.After(time.Duration(r.Int64N(int64(40 * time.Second)))):
			send(r.IntN(20))
		case <-l.stop:
			return
		}
	}
	<-l.stop
}

// start runs a process on the instance until it ends.
func (s *scaleIn) start(g *draintest.Group, i *draintest.Instance, sig chan os.Signal, seed uint64) *drain.Report {
	quota := int64(256 << 20)
	if s.mode == "full" {
		quota = 2 << 20
	}
	sp, err := spool.Open(filepath.Join(s.dir, "vpn"), &spool.Options{
		Class: "vpn", Destinations: []string{"good", "other"}, SegmentBytes: 64 << 10, MaxBytes: quota,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	sh, err := ship.New(sp, &ship.Options{Codec: "none", Destinations: map[string]ship.Destination{"good": s.dests["good"], "other": s.faulty}})
	if err != nil {
		s.t.Fatal(err)
	}
	l, err := asg.New(&asg.Options{Metadata: i, Service: g})
	if err != nil {
		s.t.Fatal(err)
	}
	d, err := drain.New(&drain.Options{Dir: s.dir, Timeout: time.Hour, Lifecycles: []drain.Lifecycle{l}})
	if err != nil {
		s.t.Fatal(err)
	}
	if s.mode == "damaged" || s.mode == "removed" || s.mode == "lost" {
		defer hold(sp)() // the drain cannot restore objects whose segments the spool had deleted before
	}
	c := drain.Class{Shipper: sh}
	n, goes := d.Terminating(s.t.Context())
	if !goes {
		in := &listener{stop: make(chan struct{}), stopped: make(chan struct{})}
		in.ctx, in.cancel = context.WithCancel(context.Background())
		c.Inputs = []drain.Input{in}
		go s.serve(sp, in, seed)
	}
	if err := d.Add(c); err != nil {
		s.t.Fatal(err)
	}
	var r *drain.Report
	if goes {
		r, err = d.Resume(n.Trigger)
	} else {
		r, err = d.RunWith(s.t.Context(), sig)
	}
	if unwritten := s.full && errors.Is(err, syscall.ENOSPC); err != nil && (!unwritten || r.Outcome == drain.Delivered) {
		s.t.Fatalf("%v, and says %s", err, r.Outcome)
	}
	return r
}

// hold keeps every segment in the spool until release is called, even after the drain.
func hold(sp *spool.Spool) (release func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range sp.Tail(ctx, 0, &spool.TailOptions{Hold: true}) {
			<-ctx.Done()
		}
	}()
	synctest.Wait()
	return func() { cancel(); <-done }
}

func (s *scaleIn) test(t *testing.T) {
	s.t = t
	g := draintest.NewGroup(&draintest.GroupOptions{
		HeartbeatTimeout: 30 * time.Minute, Deregistration: s.dereg, Terminate: !s.stay,
		Fault: func(op string) error {
			s.mu.Lock()
			p := s.faults.Float64()
			s.mu.Unlock()
			if op == string(asg.Continue) {
				s.proven()
			}
			if p < 0.2 {
				return errFault
			}
			return nil
		},
	})
	room := func() {}
	if s.full {
		room = vfs.Interpose(s.disk())
		defer room()
	}
	i := g.Launch()
	sig, over := make(chan os.Signal), make(chan struct{})
	go func() {
		time.Sleep(10 * time.Second)
		i.Terminate()
		signals := s.cut
		if signals == 0 {
			signals = 100 * time.Hour // signals end a drain that cannot finish
		}
		heal, end := time.After(s.heal), time.After(signals)
		for {
			select {
			case <-heal:
				s.recover()
			case <-end:
				for range 2 {
					select {
					case sig <- syscall.SIGTERM:
					case <-over:
						return
					}
				}
			case <-over:
				return
			}
		}
	}()
	r := s.start(g, i, sig, 1)
	close(over)
	answer, expired := i.Answered()
	s.answer = answer
	switch {
	case r.Outcome == drain.Delivered && !r.Retained && answer != asg.Continue:
		t.Errorf("complete, and answered %q", answer)
	case r.Outcome != drain.Delivered && answer == asg.Continue, r.Retained && answer != asg.Abandon:
		t.Errorf("%s (retained %v), and answered %q", r.Outcome, r.Retained, answer)
	case expired && s.cut == 0:
		t.Error("the hook was left to its time-out")
	}
	if s.stay && s.cut == 0 && s.mode != "silent" && r.Outcome != drain.Delivered {
		// Only a destination that never answers may delay it indefinitely; its driver must have time-outs.
		t.Errorf("retained, and all was well long before the end by hand: %s", r.JSON())
	}
	s.heartbeats(i)
	s.named(r)
	if r.Outcome == drain.Delivered {
		s.exactly()
		return
	}
	// When the faults are over, another process takes over the volume: then nothing is missing.
	t.Logf("%s: %s %s, answered %q: %d left", s.mode, r.Outcome, i.State(), answer, len(r.Left))
	s.recover()
	room()
	next := g.Launch()
	again := make(chan os.Signal)
	go func() { time.Sleep(15 * time.Minute); next.Terminate() }()
	if r := s.start(g, next, again, 2); r.Outcome != drain.Delivered {
		t.Errorf("all is well, and the drain is not complete: %s", r.JSON())
	}
	s.exactly()
}

// named: the report names every object that was hit, unless it was restored.
func (s *scaleIn) named(r *drain.Report) {
	if !s.must {
		return
	}
	left := map[string]bool{}
	for _, l := range r.Left {
		if l.Destination == "other" && l.Why != "" {
			left[l.Where] = true
		}
	}
	for key := range s.hit {
		if left[key] != (s.mode != "removed") {
			s.t.Errorf("%s was %s, and the report says %s", key, s.mode, r.JSON())
		}
	}
	outcome := map[string]drain.Outcome{"damaged": drain.Mismatch, "lost": drain.Mismatch, "removed": drain.Delivered}[s.mode]
	restored := r.Classes["vpn"].Destinations["other"].Restored
	if len(s.hit) == 0 || r.Outcome != outcome || (s.mode == "removed") != (restored == len(s.hit)) {
		s.t.Errorf("%d objects %s, %d stored again, %s", len(s.hit), s.mode, restored, r.Outcome)
	}
}

// proven: at the moment of CONTINUE the report on the volume says complete, and it is.
func (s *scaleIn) proven() {
	b, err := os.ReadFile(filepath.Join(s.dir, "report.json"))
	var r drain.Report
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil || r.Outcome != drain.Delivered {
		s.t.Errorf("CONTINUE without a complete report: %v %s", err, b)
	}
	s.exactly()
}

// heartbeats: none was late as long as they were sent.
func (s *scaleIn) heartbeats(i *draintest.Instance) {
	var last time.Time
	for _, c := range i.Calls() {
		if c.Answer == asg.Heartbeat && c.Err == nil {
			if gap := c.Time.Sub(last); !last.IsZero() && gap > 15*time.Minute {
				s.t.Errorf("a gap of %v between heartbeats", gap)
			}
			last = c.Time
		}
	}
}

// exactly: every record is at both destinations, once.
func (s *scaleIn) exactly() {
	s.mu.Lock()
	sent := s.sent
	s.mu.Unlock()
	for name, m := range s.dests {
		seen := map[uint64]int{}
		for _, key := range m.Keys() {
			if !strings.HasPrefix(key, "class=") {
				continue
			}
			for line := range bytes.Lines(m.Bytes(key)) {
				var rec struct{ Seq uint64 }
				if err := json.Unmarshal(line, &rec); err != nil {
					s.t.Errorf("%s: %s: %v", name, key, err)
					break
				}
				seen[rec.Seq]++
			}
		}
		for seq := uint64(1); seq <= sent; seq++ {
			if seen[seq] != 1 {
				s.t.Errorf("%s: record %d is there %d times, of %d sent", name, seq, seen[seq], sent)
				break
			}
		}
		if len(seen) != int(sent) {
			s.t.Errorf("%s: %d records, %d sent (%s)", name, len(seen), sent, s.mode)
		}
	}
}
