package drain

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool"
)

// Drainer ends a service: see the package documentation. All methods may be called from any goroutine.
type Drainer struct {
	o      Options
	made   time.Time
	inodes *vfs.Reserve // for the journal and the report: DIR/drain.inode-1 and so on

	mu       sync.Mutex
	classes  []*class
	down     map[string]error // classes that are configured but not running, with the reason
	lost     map[string]*LostSink
	ending   bool
	end      *run    // the Stop or Drain that has begun; nil before, and in a HandOver
	notice   *Notice // found by Terminating
	shippers context.Context
	halt     context.CancelFunc

	platforms []*platform
	watching  sync.WaitGroup // the goroutines that update and ask the platforms while Run waits

	ended  chan struct{} // closed when the end is over; from then on report and err may be read
	report *Report
	err    error

	panics atomic.Uint64 // in the program's own code
	hooks  *hooks
}

// class is a Class with its running shipper.
type class struct {
	Class
	d     *Drainer
	spool *spool.Spool
	name  string
	done  chan struct{} // closed when the shipper has ended

	freezing   sync.Mutex // one call of Spool.Freeze or Spool.Thaw at a time; guards what follows
	drained    bool       // a drain has frozen the spool
	unmarked   bool       // the spool is frozen only in this process: the disk was full, so it has no mark of the freeze
	unverified bool       // an earlier drain has left the spool frozen, and its records were not confirmed since
}

// ErrEnding is returned by Add once a Stop or Drain has begun.
var ErrEnding = errors.New("drain: the process is already ending")

// New returns a Drainer. It creates Options.Dir if necessary.
func New(o *Options) (*Drainer, error) {
	opts := o.withDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	if err := opts.makeDirs(); err != nil {
		return nil, err
	}
	d := &Drainer{o: opts, made: time.Now(), down: map[string]error{}, ended: make(chan struct{}), inodes: vfs.NewReserve(vfs.OS(), filepath.Join(opts.Dir, "drain.inode-"), 6)}
	_ = d.inodes.Fill()
	d.hooks = newHooks(d)
	for _, l := range opts.Lifecycles {
		if l == nil {
			continue
		}
		d.platforms = append(d.platforms, &platform{Lifecycle: l, telling: make(chan struct{}, 1)})
	}
	d.shippers, d.halt = context.WithCancel(context.Background())
	return d, nil
}

// Add takes over a class and starts its shipper. From then on the Drainer closes the inputs, ends the shipper and closes
// the spool. If an earlier drain has left the spool frozen because it was not verified, the Drainer verifies it again and
// then thaws it. Classes may be added while Run is waiting. Once the end has begun, Add returns ErrEnding, and the
// Outcome is not Delivered, unless the report is written already. After an error everything still belongs to the caller.
func (d *Drainer) Add(c Class) error {
	if err := c.check(); err != nil {
		return err
	}
	sp := c.Shipper.Spool()
	name := sp.Stats().Class
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ending {
		d.down[name] = ErrEnding // nothing drains it, so the report must name it
		return ErrEnding
	}
	if slices.ContainsFunc(d.classes, func(other *class) bool { return other.name == name }) {
		// Both would share one entry in the report.
		return fmt.Errorf("drain: class %q was added before: every spool needs a class of its own (spool.Options.Class)", name)
	}
	delete(d.down, name)
	cl := &class{Class: c, d: d, spool: sp, name: name, done: make(chan struct{})}
	why := sp.Shelf().Frozen() // read before a drain of this process may freeze it too
	cl.unverified = why != ""
	d.classes = append(d.classes, cl)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Shipper.Run(d.shippers); err != nil && d.shippers.Err() == nil {
			d.o.Logger.Error("drain: the shipper ended because its spool was closed; nothing more is delivered in this process, and the next start continues", "class", name, "err", err)
		}
	})
	if cl.unverified {
		wg.Go(func() { cl.reverify(d.shippers, d, why) })
	}
	go func() { wg.Wait(); close(cl.done) }()
	return nil
}

// Down tells the Drainer about a class that is configured but cannot run at present, and why; a nil err withdraws that.
// Readiness and the report name the class, and while it is down no Drain is complete.
func (d *Drainer) Down(class string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		delete(d.down, class)
		return
	}
	d.down[class] = err
}

// Stop closes the inputs, seals, and keeps the spools for the next start. The first call of Stop, Drain or HandOver, or
// the first event in Run, decides how the process ends. Later calls return the same report when it is written, or an error
// without a report if their ctx ends first.
func (d *Drainer) Stop(ctx context.Context, trigger string) (*Report, error) {
	return d.endOnce(ctx, cause{intent: Stop, trigger: trigger})
}

// Drain closes the inputs and empties the spools into every destination. It returns an error if the report could not be
// written; an incomplete drain is not an error but an Outcome.
func (d *Drainer) Drain(ctx context.Context, trigger string) (*Report, error) {
	return d.endOnce(ctx, cause{intent: Drain, trigger: trigger})
}

func (d *Drainer) endOnce(ctx context.Context, c cause) (*Report, error) {
	if err := checkContext(ctx); err != nil {
		return nil, err
	}
	if !d.begin() {
		select {
		case <-d.ended:
			return d.report, d.err
		case <-ctx.Done():
			return nil, fmt.Errorf("drain: another call is still ending this process: %w", context.Cause(ctx))
		}
	}
	defer close(d.ended)
	began := time.Now()
	r := &run{d: d, cause: c, now: phaseAnnounce, log: d.o.Logger, began: began, report: Report{
		Version: 1, Intent: c.intent, Trigger: c.trigger, Instance: d.o.Instance, Started: began.UTC(),
		Classes: map[string]ClassReport{},
	}}
	d.mu.Lock()
	d.end = r
	d.mu.Unlock()
	d.report, d.err = r.do(ctx)
	return d.report, d.err
}

// begin reports whether this call is the one that ends the process.
func (d *Drainer) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := !d.ending
	d.ending = true
	return first
}

func (d *Drainer) isEnding() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ending
}

// all returns the classes that are running.
func (d *Drainer) all() []*class {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.classes
}

// each runs f for every class at the same time and joins the errors. It turns a panic into an error.
func (d *Drainer) each(f func(*class) error) error {
	classes := d.all()
	errs := make([]error, len(classes))
	var wg sync.WaitGroup
	for i, c := range classes {
		wg.Go(func() {
			if err := d.catch("", func() error { return f(c) }); err != nil {
				errs[i] = fmt.Errorf("class %s: %w", c.name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// stacks is how many panics are logged with their stack. An Update may panic each second.
const stacks = 10

// catch turns a panic into an error, so that the later steps still run and the report is still written. It counts and logs
// the panic. A panic that leaves the state of a spool unknown still ends the process: see spool/internal/fatal.
func (d *Drainer) catch(what string, f func() error) error {
	return d.notePanic(foreign.Catch(what, f))
}

// notePanic counts and logs err if it is a panic, and returns it.
func (d *Drainer) notePanic(err error) error {
	if p, ok := errors.AsType[*foreign.PanicError](err); ok {
		if d.panics.Add(1) <= stacks {
			d.o.Logger.Error("drain: code of the program panicked; the end of the process continues", "err", err, "stack", string(p.Stack))
		}
	}
	return err
}
