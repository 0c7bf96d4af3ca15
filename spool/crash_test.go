package spool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// The whole sweep: go test -run 'PowerCuts|Faults' -sweep.all -sweep.seeds 20 ./spool
var (
	sweepAll   = flag.Bool("sweep.all", false, "power cuts: every state that one may leave, not a choice of them")
	sweepSeeds = flag.Int("sweep.seeds", 1, "with -sweep.all: seeds for each")
)

// world is a spool with its disk, its index, two destinations, and its promises.
type world struct {
	mu      sync.Mutex
	mem     *vfs.Mem
	index   *index.Mem
	objects map[string]map[string][]byte // by destination, by key
	kept    uint64                       // Append has returned for everything up to here
	durable uint64                       // and WaitDurable
	lost    uint64                       // records counted as malformed, and sealed with that
	opts    Options
	closed  bool // and nothing since
	crashed bool // at any time
}

func newWorld(o Options) *world {
	small(&o)
	w := &world{mem: vfs.NewMem(), index: new(index.Mem), objects: map[string]map[string][]byte{}, opts: o}
	for _, d := range o.Destinations {
		w.objects[d] = map[string][]byte{}
	}
	return w
}

// clone returns the world as a crash leaves it.
func (w *world) clone(c vfs.Crash, f index.Fate) *world {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := &world{
		mem: w.mem.CrashClone(c), index: w.index.Crash(f), objects: map[string]map[string][]byte{},
		kept: w.kept, durable: w.durable, lost: w.lost, opts: w.opts, closed: w.closed,
	}
	for d, m := range w.objects {
		k.objects[d] = maps.Clone(m)
	}
	return k
}

func (w *world) note(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// ship puts every sealed segment to a destination, up to number n (0: all), and acknowledges them.
func (w *world) ship(ctx context.Context, s *Spool, dest string, n uint64) error {
	c, err := s.shelf.Chain(dest)
	if err != nil {
		return err
	}
	manifest, err := s.shelf.Proposed(dest)
	switch {
	case err == nil:
		// The segments that the proposed manifest covers were put before it was proposed.
		if n, err = strconv.ParseUint(string(manifest[bytes.LastIndexByte(manifest, ' ')+1:]), 10, 64); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	err = nil
	last := c.Segment
	for _, seg := range s.shelf.Sealed(c.Segment, 0) {
		if n > 0 && seg.Number > n {
			break
		}
		if err := w.put(ctx, s, dest, seg); err != nil {
			return err
		}
		last, c.Through = seg.Number, seg.Last
	}
	if last == c.Segment && manifest == nil {
		return nil
	}
	if manifest == nil {
		manifest = fmt.Appendf(nil, "epoch %d manifest %d to %d", c.Epoch, c.Next, last)
		if err := s.shelf.Propose(dest, manifest, false); err != nil {
			return err
		}
	}
	key := fmt.Sprintf("_manifest/%06d/%012d", c.Epoch, c.Next)
	w.note(func() {
		if old, ok := w.objects[dest][key]; ok && !bytes.Equal(old, manifest) {
			err = fmt.Errorf("manifest %s at %s is %q, not %q", key, dest, old, manifest)
		}
		w.objects[dest][key] = manifest
	})
	if err != nil {
		return err
	}
	c.Segment = last
	c.Next++
	c.Hash = sha256.Sum256(manifest)
	return s.shelf.Ack(dest, c)
}

// put stores a segment's object, unless the same is there already.
func (w *world) put(ctx context.Context, s *Spool, dest string, seg Segment) error {
	if seg.Records == 0 && len(seg.Gaps) == 0 {
		return nil
	}
	rec, err := s.shelf.Stage(ctx, seg.Number, lineEncoder{})
	if err != nil {
		return err
	}
	body, closeBody, err := s.shelf.OpenStaged(seg.Number)
	if err != nil {
		return err
	}
	defer closeBody()
	data, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	w.note(func() {
		if old, ok := w.objects[dest][rec.Key]; ok && !bytes.Equal(old, data) {
			err = fmt.Errorf("object %s at %s exists with other content", rec.Key, dest)
		}
		w.objects[dest][rec.Key] = data
	})
	return err
}

// verify opens the spool that a crash left, goes on with it, empties it, and checks every promise. lost says which
// records may be missing: those above it.
func (w *world) verify(t *testing.T, lost uint64) error {
	var log errorLog
	o := w.opts
	o.Logger = log.logger()
	o.SegmentAge = time.Hour
	s, err := open("/spool", w.mem, w.index.Open, &o)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer s.Close()
	st := s.Stats()
	if st.Appended < lost {
		return fmt.Errorf("the log ends with record %d, %d was promised", st.Appended, lost)
	}
	l := s.Ledger()
	if got := l.Buffered(); got != (segment.Tally{}) {
		return fmt.Errorf("the balance of the ledger does not close: %+v are left", got)
	}
	if err := l.Balance(); err != nil {
		return err
	}
	if got := l.Lost[segment.Malformed].Records; got < w.lost {
		return fmt.Errorf("%d records are counted as malformed, %d were", got, w.lost)
	}
	if w.closed && !w.crashed && len(l.Unaccounted) > 0 {
		return fmt.Errorf("unaccounted after an orderly end: %+v", l.Unaccounted)
	}
	n := st.Appended
	for range 3 {
		if _, err := s.Append(t.Context(), batch(int(n)+1, 1, 20)); err != nil {
			return fmt.Errorf("append: %w", err)
		}
		n++
	}
	if err := s.Seal(t.Context()); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	for _, dest := range o.Destinations {
		for range 2 { // once for a proposal that was under way
			if err := w.ship(t.Context(), s, dest, 0); err != nil {
				return fmt.Errorf("ship: %w", err)
			}
		}
	}
	l = s.Ledger()
	for _, dest := range o.Destinations {
		if err := wantAll(w.objects[dest], n); err != nil {
			return fmt.Errorf("destination %s: %w", dest, err)
		}
		if d := l.Destinations[dest]; d.Tally != l.Kept || d.Through != n {
			return fmt.Errorf("ledger: delivered to %s %+v, kept %+v", dest, d, l.Kept)
		}
	}
	if err := s.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return log.err()
}

// wantAll checks that objects hold each record from 1 to n once, each with its own payload.
func wantAll(objects map[string][]byte, n uint64) error {
	have := make([]bool, n+1)
	for key, data := range objects {
		if strings.HasPrefix(key, "_manifest/") {
			continue
		}
		for line := range strings.Lines(string(data)) {
			num, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			seq, _ := strconv.ParseUint(num, 10, 64)
			payload, _ := strconv.Unquote(quoted)
			if seq == 0 || seq > n || have[seq] {
				return fmt.Errorf("record %d is doubled or was never promised (the last one is %d)", seq, n)
			}
			have[seq] = true
			if !strings.HasPrefix(payload, fmt.Sprintf("record %d ", seq)) {
				return fmt.Errorf("record %d is %.30q", seq, payload)
			}
		}
	}
	if i := slices.Index(have[1:], false); i >= 0 {
		return fmt.Errorf("record %d of %d is missing", i+1, n)
	}
	return nil
}

// errorLog collects logged errors: after a crash alone there must be none.
type errorLog struct {
	mu   sync.Mutex
	errs []error
}

func (l *errorLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }
func (l *errorLog) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *errorLog) WithGroup(string) slog.Handler                    { return l }

func (l *errorLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	b.WriteString("logged: " + r.Message)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(" " + a.String())
		return true
	})
	l.errs = append(l.errs, errors.New(b.String()))
	return nil
}

func (l *errorLog) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.errs...)
}

// script is the workload of the sweeps: it appends, rolls, seals, stages, acknowledges, deletes, closes and opens again.
func (w *world) script(ctx context.Context, fsys vfs.FS, lives int) error {
	n := 0
	for life := range lives {
		o := w.opts
		s, err := open("/spool", fsys, w.index.Open, &o)
		if err != nil {
			return err
		}
		w.note(func() { w.closed = false })
		err = w.life(ctx, s, life, &n)
		if cerr := s.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
		w.note(func() { w.closed = true })
	}
	return nil
}

func (w *world) life(ctx context.Context, s *Spool, life int, n *int) error {
	n0 := *n
	add := func(count, size int, durable bool) error {
		last, err := s.Append(ctx, batch(*n+1, count, size))
		if err != nil {
			return err
		}
		if int(last) != *n+count {
			return fmt.Errorf("batch of %d after %d got number %d", count, *n, last)
		}
		*n += count
		w.note(func() {
			w.kept = last
			if w.opts.Sync == SyncAlways {
				w.durable = last
			}
		})
		if durable {
			if err := s.WaitDurable(ctx, last); err != nil {
				return err
			}
			w.note(func() { w.durable = last })
		}
		return nil
	}
	for i := range 4 {
		if err := add(3+i, 100+700*i, i%2 == 1); err != nil {
			return err
		}
	}
	if _, err := s.Offer(ctx, batch(*n+1, 2, 50)); err != nil {
		return err
	}
	*n += 2
	s.Intake().Account(segment.Account{
		Received: segment.Tally{Records: 3, Bytes: 30},
		Lost:     segment.Losses{segment.Malformed: {Records: 3, Bytes: 30}},
	})
	if err := add(2, 60<<10, true); err != nil { // two segments more
		return err
	}
	if life == 0 {
		if err := add(5, 1000, false); err != nil {
			return err
		}
	}
	if err := s.Seal(ctx); err != nil {
		return err
	}
	w.note(func() {
		w.durable = uint64(*n)
		w.lost += 3
	})
	segs := s.shelf.Sealed(0, 0)
	if err := w.ship(ctx, s, "a", 0); err != nil {
		return err
	}
	if err := w.ship(ctx, s, "b", segs[0].Number); err != nil {
		return err
	}
	if life == 1 {
		// All sealed segments are deleted while a new one has begun, of which nothing is synced yet under SyncNone.
		if err := add(1, 500, false); err != nil {
			return err
		}
		if err := w.ship(ctx, s, "b", 0); err != nil {
			return err
		}
		if err := w.deleted(ctx, s, segs); err != nil {
			return err
		}
	}
	if *n == n0 {
		return errors.New("nothing done")
	}
	return add(1, 500, false)
}

// deleted waits until the files of segments are gone.
func (w *world) deleted(ctx context.Context, s *Spool, segs []Segment) error {
	again := time.NewTicker(100 * time.Microsecond)
	defer again.Stop()
	gone := func(seg Segment) bool {
		_, err := w.mem.Stat(s.segPath(seg.Number))
		return errors.Is(err, fs.ErrNotExist)
	}
	for len(segs) > 0 {
		if gone(segs[0]) {
			segs = segs[1:]
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
	return nil
}

var (
	processDies = vfs.Crash{Data: vfs.DataKept, Names: vfs.NamesKept}
	// crashes: the disk dropped everything, tore it, or the process died alone.
	crashes = []vfs.Crash{{}, {Data: vfs.DataMixed, Names: vfs.NamesJournal}, processDies}
)

// TestPowerCuts cuts the power before each operation that changes something, and checks the result.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	fates := []index.Fate{{}, {Lost: true}, {Aged: 1}, {Aged: 3}, {Damaged: true}}
	for _, policy := range []SyncPolicy{SyncAlways, SyncInterval, SyncNone} {
		t.Run(fmt.Sprint("policy ", policy), func(t *testing.T) {
			w := newWorld(Options{Sync: policy, Destinations: []string{"a", "b"}, SyncInterval: time.Millisecond})
			cuts, failed := 0, 0
			var wg sync.WaitGroup
			room := make(chan struct{}, 4)
			check := func(op vfs.Op, c vfs.Crash, f index.Fate) {
				k := w.clone(c, f)
				promised := k.durable
				if c.Data == processDies.Data && c.Names == processDies.Names {
					promised = k.kept
				}
				cuts++
				room <- struct{}{}
				wg.Go(func() {
					defer func() { <-room }()
					if err := k.verify(t, promised); err != nil {
						t.Errorf("before operation %d (%s %s), %s, %s: %v", op.N, op.Kind, op.Path, c, f, err)
						w.note(func() { failed++ })
					}
				})
			}
			hook := func(op vfs.Op) error {
				if !op.Kind.Mutates() || failed > 3 {
					return nil
				}
				if op.Kind == vfs.OpRemove && strings.HasSuffix(op.Path, cleanName) {
					w.note(func() { w.closed = false }) // open from here on
				}
				if !*sweepAll { // the disk dropped everything, tore it, or the process died alone
					if k := op.N + int(policy); k%2 == 0 {
						c := crashes[k/2%len(crashes)]
						c.Seed = uint64(op.N)
						check(op, c, fates[k/2%len(fates)])
					}
					return nil
				}
				for data := vfs.DataDropped; data <= vfs.DataMixed; data++ {
					for names := vfs.NamesStrict; names <= vfs.NamesKept; names++ {
						for seed := range *sweepSeeds {
							c := vfs.Crash{Data: data, Names: names, Seed: uint64(op.N*1000 + seed)}
							check(op, c, fates[(op.N+seed+int(data))%len(fates)])
						}
					}
				}
				return nil
			}
			if err := w.script(t.Context(), vfs.Inject(w.mem, hook), 3); err != nil {
				t.Error(err)
			}
			wg.Wait()
			t.Logf("%d power cuts", cuts)
		})
	}
}

func (l *errorLog) logger() *slog.Logger { return slog.New(l) }
