package ship

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool"
)

// Shipper delivers the sealed segments of a spool to every one of its destinations. All methods may be called from any
// goroutine. A Shipper serves one spool, and a process must have only one for each spool.
type Shipper struct {
	sp  *spool.Spool
	o   Options
	log *slog.Logger
	enc spool.Encoder

	class, spool string
	instance     string // names this host in manifests
	epoch        uint32 // in which this process writes the chains

	lanes   atomic.Pointer[[]*lane] // by name; Join replaces the list
	changed wait.Signal             // a window, a chain or a state has changed
	ended   chan struct{}
	teller  foreign.Teller // calls the Hooks
	intake  intake         // of records, measured for the log
	joining sync.Mutex     // one Join at a time; guards o.Destinations and o.Limits

	mu      sync.Mutex
	claimed bool            // see Claim
	life    context.Context // of Run, nil before it
	cut     context.CancelCauseFunc
	started bool           // Run has started the lanes
	leaving bool           // Run waits for all that it has started: nothing more may begin
	wg      sync.WaitGroup // what Run awaits
	slots   chan struct{}  // one for each StageWorker
	staging map[uint64]*staging
	repairs turns

	rush
}

// New returns a Shipper for sp. If options are unusable, the error lists all mistakes. New contacts no destination and starts
// nothing: see Run.
func New(sp *spool.Spool, o *Options) (*Shipper, error) {
	if sp == nil {
		return nil, errors.New("ship: New needs a spool")
	}
	opts := o.withDefaults()
	st, common := sp.Stats(), sp.Options()
	enc, err := opts.encoder()
	if err := errors.Join(err, opts.validate(slices.Collect(maps.Keys(st.Pending)), []string{sp.Dir(), sp.Source()})); err != nil {
		return nil, fmt.Errorf("ship: %w", err)
	}
	s := &Shipper{
		sp: sp, o: opts, enc: safeEncoder{enc}, log: common.Logger.With("class", st.Class),
		class: st.Class, spool: st.Spool, instance: clean(common.Instance), epoch: st.Epoch, ended: make(chan struct{}),
		slots: make(chan struct{}, common.StageWorkers), staging: map[uint64]*staging{},
	}
	s.rush.init()
	s.intake.perSecond(sp.Ledger().Kept.Bytes, time.Now())
	var lanes []*lane
	for _, name := range slices.Sorted(maps.Keys(opts.Destinations)) {
		l, err := newLane(s, name, opts.Destinations[name], opts.Limits[name])
		if err != nil {
			return nil, fmt.Errorf("ship: destination %s: %w", name, err)
		}
		lanes = append(lanes, l)
	}
	s.lanes.Store(&lanes)
	return s, nil
}

// Spool returns the spool that the Shipper delivers from.
func (s *Shipper) Spool() *spool.Spool { return s.sp }

// Run ships until ctx ends, and then returns nil once every goroutine that it started has ended. No destination's state ends
// it; an error means that the spool was closed during Run, or that Run was called before. Uploads in progress when ctx ends
// are repeated by the next process's Shipper, without duplicates.
func (s *Shipper) Run(ctx context.Context) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.mu.Lock()
	if s.life != nil {
		s.mu.Unlock()
		return errors.New("ship: Run was called before")
	}
	s.life, s.cut = ctx, cancel
	s.mu.Unlock()
	claim := s.Claim(ctx)
	s.mu.Lock()
	s.started = true
	for _, l := range s.all() {
		s.wg.Go(func() {
			if errors.Is(claim, ErrFenced) {
				l.fence(claim) // an adopter that loses the first destination gives up all of them
				return
			}
			s.serve(ctx, l)
		})
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	s.wg.Wait()
	s.teller.Wait(told)
	close(s.ended)
	if err := context.Cause(ctx); errors.Is(err, spool.ErrClosed) {
		return fmt.Errorf("ship: %w", err)
	}
	return nil
}

// serve runs a lane. If it ends because the spool was closed, Run ends; otherwise the other lanes continue.
func (s *Shipper) serve(ctx context.Context, l *lane) {
	if err := l.run(ctx); errors.Is(err, spool.ErrClosed) {
		s.cut(err)
	}
}

func checkContext(ctx context.Context) error {
	if err := wait.CheckContext(ctx); err != nil {
		return fmt.Errorf("ship: %w", err)
	}
	return nil
}

// ResetBackoff makes every destination retry at once, also those that are parked. A drain calls it first.
func (s *Shipper) ResetBackoff() {
	for _, l := range s.all() {
		l.retryNow()
	}
}

func (s *Shipper) all() []*lane { return *s.lanes.Load() }

func (s *Shipper) lane(name string) (*lane, error) {
	for _, l := range s.all() {
		if l.name == name {
			return l, nil
		}
	}
	return nil, fmt.Errorf("ship: no destination %q", name)
}
