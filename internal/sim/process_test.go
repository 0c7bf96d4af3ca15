package sim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// process is one life of the service on a host. After its death nothing that it still does has any effect.
type process struct {
	w   *world
	h   *host
	n   int
	dir string // its path of the host's volume
	mem *vfs.Mem
	o   options

	life    context.Context // ended to end it
	end     context.CancelFunc
	signals chan os.Signal
	stops   chan struct{} // closed to stop it
	drains  chan struct{} // closed to drain it
	done    chan struct{} // closed when everything of it has ended
	dead    atomic.Bool
	unmount func()

	mu      sync.Mutex
	trap    trap
	stopped bool // something has asked it to end
	sp      *spool.Spool
	sh      *ship.Shipper
	d       *drain.Drainer
	tcp     *ingest.TCP
	entry   entry
	refused error // the last attempt to open its spool
	fleet   *draintest.Instance
	report  *drain.Report
	err     error

	closed    error // of its spool: without one the next process must expect a crash
	collected bool  // by world.collect
}

// trap ends a process during a step.
type trap struct {
	step  string
	left  int64
	power bool
	seed  uint64
}

// start begins a life on the host's volume.
func (w *world) start(h *host, opts int64) {
	if h.proc != nil || h.gone || len(h.jobs) > 0 {
		return
	}
	h.opts = opts
	h.mu.Lock()
	if h.mem == nil {
		h.mem = vfs.NewMem()
	}
	mem := h.mem
	h.older = mem.KillClone()
	h.judge()
	h.mu.Unlock()
	w.lives++
	p := &process{
		w: w, h: h, n: w.lives, mem: mem, dir: fmt.Sprintf("/penstock-sim/%d/%d", w.id, w.lives), o: optionsOf(opts),
		signals: make(chan os.Signal), stops: make(chan struct{}), drains: make(chan struct{}), done: make(chan struct{}),
	}
	p.life, p.end = context.WithCancel(context.Background())
	p.unmount = vfs.Mount(p.dir, vfs.Inject(gauged{mem, h}, p.operation))
	h.proc, p.trap, h.trap = p, h.trap, trap{}
	p.destinations()
	if p.o.fleet {
		g := draintest.NewGroup(&draintest.GroupOptions{Deregistration: time.Minute, Terminate: true})
		p.fleet = g.Launch()
		l, err := asg.New(&asg.Options{Metadata: p.fleet, Service: g})
		if err != nil {
			w.t.Fatal(err)
		}
		go p.run(l)
		return
	}
	go p.run(nil)
}

// destinations returns the destinations of the process. A removed one must be given up by name, and may be taken back.
func (p *process) destinations() {
	h := p.h
	p.o.spool.Destinations = []string{"a", "b"}
	joins := p.o.third && (!h.third || h.forgot)
	switch {
	case p.o.third:
		p.o.spool.Destinations = append(p.o.spool.Destinations, "c")
		h.third, h.forgot = true, false
	case h.third:
		p.o.spool.Forget, h.forgot = []string{"c"}, true
	}
	if joins || h.forgot {
		p.w.journal.each(func(r *record) { r.optional["c"] = r.optional["c"] || r.volume == h.n })
	}
	p.o.spool.Instance = h.name()
	p.o.spool.Logger = p.w.log(p)
	p.o.ship.Destinations = map[string]ship.Destination{}
	for _, name := range p.o.spool.Destinations {
		p.o.ship.Destinations[name] = door{p.w.places[name], p}
	}
}

// operation is the hook of the process's disk.
func (p *process) operation(op vfs.Op) error {
	if err := p.step(stepOf(op)); err != nil {
		return err
	}
	return p.h.fault(op)
}

// step implements mortal: it springs the trap.
func (p *process) step(what string) error {
	if p.dead.Load() {
		return errDead
	}
	p.mu.Lock()
	t := &p.trap
	if t.step == what {
		t.left--
	}
	sprung := t.step == what && t.left == 0
	p.mu.Unlock()
	if sprung {
		p.die(t.power, t.seed)
		return errDead
	}
	return nil
}

// die ends the process like SIGKILL or a power cut. From then on the host's volume is what the process has left behind.
func (p *process) die(power bool, seed uint64) {
	if p.dead.Swap(true) {
		return
	}
	h := p.h
	h.mu.Lock()
	h.look()
	h.died = time.Now()
	if h.cut = h.cut || power; power {
		h.mem = p.mem.CrashClone(vfs.Crash{Data: vfs.DataMixed, Names: vfs.NameFate(seed % 2), Seed: seed})
	} else {
		h.mem = p.mem.KillClone()
	}
	h.mu.Unlock()
	p.w.journal.each(func(r *record) {
		switch {
		case r.volume != h.n || r.excused != "":
		case power && !r.durable:
			r.excused = "not durable at a power cut"
		case r.life == p.n && r.state == taken:
			r.excused = "in memory at a kill"
		}
	})
	p.end()
	go p.reap()
}

// reap ends the goroutines of a dead process, which have no effect any more.
func (p *process) reap() {
	for {
		select {
		case p.signals <- syscall.SIGTERM:
		case <-p.done:
			return
		}
		_ = sleep(context.Background(), 300*time.Millisecond)
	}
}

// run is the main function of the service.
func (p *process) run(l *asg.Lifecycle) {
	defer close(p.done)
	defer p.unmount()
	trigger, resume, err := drain.Interrupted(p.dir)
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		if err == nil {
			err = p.open(l, !resume)
		}
		p.mu.Lock()
		p.refused = err
		p.mu.Unlock()
		if err == nil {
			break
		}
		if sleep(p.life, wait) != nil {
			return
		}
		trigger, resume, err = drain.Interrupted(p.dir)
	}
	r, err := p.serve(trigger, resume)
	p.mu.Lock()
	p.report, p.err = r, err
	p.mu.Unlock()
	if p.tcp != nil {
		_ = p.tcp.Close()
	}
	p.closed = p.sp.Close() // again, if it hung
}

// serve ends the process when asked to, and waits for its end. It does not call a drain that the operator asks for
// concurrently: two methods of the Drainer at the same time would wait for each other in a way that stops simulated time.
func (p *process) serve(trigger string, resume bool) (*drain.Report, error) {
	if resume {
		return p.d.Drain(p.life, "resumed: "+trigger)
	}
	if p.fleet == nil {
		select {
		case <-p.drains:
			return p.d.Drain(p.life, "the operator")
		case <-p.stops:
			go p.signal()
		case <-p.life.Done():
		}
	}
	return p.d.RunWith(p.life, p.signals)
}

// open opens everything or nothing.
func (p *process) open(l *asg.Lifecycle, listen bool) (err error) {
	sp, err := spool.Open(p.dir+"/spool", &p.o.spool)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, sp.Close())
		}
	}()
	sh, err := ship.New(sp, &p.o.ship)
	if err != nil {
		return err
	}
	o := drain.Options{Dir: p.dir, Instance: p.h.name(), Quiesce: 5 * time.Second, Logger: p.w.log(p)}
	if l != nil {
		o.Lifecycles = []drain.Lifecycle{l}
	}
	d, err := drain.New(&o)
	if err != nil {
		return err
	}
	c := drain.Class{Shipper: sh}
	var tcp *ingest.TCP
	if listen {
		if tcp, err = ingest.ListenTCP(p.addr(), &ingest.TCPOptions{Logger: p.w.log(p)}); err != nil {
			return err
		}
		c.Inputs = []drain.Input{tcp, &p.entry}
	}
	p.mu.Lock()
	p.sp, p.sh, p.d, p.tcp = sp, sh, d, tcp
	p.mu.Unlock()
	p.w.opened(p)
	if err = d.Add(c); err != nil {
		return err
	}
	if listen {
		before, err := ingest.NewTransform(&sink{sp.Intake(), p}, transform, nil)
		if err != nil {
			return err
		}
		go func() { _ = tcp.Serve(before) }()
		p.entry.open()
	}
	return nil
}

func (p *process) addr() string { return fmt.Sprintf("mem:%d-%d", p.w.id, p.n) }

// open returns the open parts of the process; nil before, and if its spool cannot be opened.
func (p *process) running() (*spool.Spool, *ship.Shipper, *drain.Drainer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sp, p.sh, p.d
}

// ending makes the process end by itself. It returns false if the process was already told to.
func (p *process) ending() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.stopped
	p.stopped = true
	return !before
}

// stop sends SIGTERM.
func (p *process) stop() {
	if p.ending() {
		if p.fleet != nil {
			go p.signal()
		}
		close(p.stops)
		p.endOpening()
	}
}

// drain empties the spool, as if the operator of a process or of a group had asked for it.
func (p *process) drain() {
	if p.ending() {
		if p.fleet != nil {
			p.fleet.Terminate()
		}
		close(p.drains)
		p.endOpening()
	}
}

// endOpening ends a process that still tries to open its spool.
func (p *process) endOpening() {
	if sp, _, _ := p.running(); sp == nil {
		p.end()
	}
}

func (p *process) signal() {
	select {
	case p.signals <- syscall.SIGTERM:
	case <-p.done:
	}
}

// took records the result of a batch that was passed to the spool.
func (p *process) took(batch []segment.Record, last uint64, sure bool) {
	if last == 0 || p.dead.Load() {
		return // reports of a dead process have no effect
	}
	id := p.sp.Stats().Spool
	for i := range batch {
		n, ok := p.w.journal.number(batch[i].Data)
		if !ok {
			continue // part of a record: its connection was reset
		}
		p.w.journal.note(n, func(r *record) {
			r.volume, r.life, r.spool, r.seq = p.h.n, p.n, id, last+1+uint64(i)-uint64(len(batch))
			r.optional["c"] = !p.o.third
			r.state, r.at = taken, time.Now()
			if sure {
				r.state, r.durable = kept, p.o.spool.Sync == spool.SyncAlways
			}
		})
	}
}

// sample records what the spool has written and made durable since the last sample.
func (p *process) sample() {
	sp, _, _ := p.running()
	if sp == nil || p.dead.Load() {
		return
	}
	st := sp.Stats()
	p.w.journal.each(func(r *record) {
		if r.volume != p.h.n || r.spool != st.Spool || r.excused != "" || r.state == sent || r.unfound {
			return
		}
		if r.seq <= st.Written {
			r.state = kept
		}
		if r.seq <= st.Durable {
			r.durable = true
		}
	})
}
