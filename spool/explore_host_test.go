package spool_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/explore"
	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// The ways in which a host dies.
const (
	killed  = iota            // the process alone
	cut                       // the machine: nothing is left that was not made durable
	fates                     // how many there are
	silence = 3 * time.Second // ship.Options.OwnerTimeout
)

// host is an actor of the chain protocol: a volume, and one process after the other on it.
type host struct {
	name  string
	adopt bool // it adopts the volume and keeps no records; otherwise it keeps more
	disk  *spool.MemHost
	w     *world
	// phase is added to its waits, so that no two hosts act at the same nanosecond: their writes have to differ.
	phase time.Duration

	life  int      // counts processes
	tries int      // of them ended with an error
	own   []string // records for which Append has returned
	said  []string // log lines that no process may write
	err   error    // why the last one gave up; nil: it has delivered everything, or found it delivered
	left  *spool.MemHost
}

// maxTries is after how many failed processes in a row an operator stops restarting.
const maxTries = 4

// main lives one life after the other until everything is delivered, or nothing helps.
func (h *host) main(a *explore.Actor) {
	for {
		l := a.Begin(func(fate int) {
			if fate == cut {
				h.left = h.disk.Crash(vfs.Crash{Data: vfs.DataDropped, Names: vfs.NamesStrict})
			} else {
				h.left = h.disk.Clone()
			}
		})
		h.err = h.live(l)
		select {
		case <-a.Over(): // which kills, too
			return
		default:
		}
		select {
		case <-l.Dead():
			h.disk = h.left
			continue
		default:
		}
		if h.err == nil {
			return
		}
		if h.tries++; h.tries == maxTries || !a.Sleep(silence+time.Second+h.phase) {
			return
		}
	}
}

// live is one process. Its error is why not everything is delivered.
func (h *host) live(l *explore.Life) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	go func() {
		select {
		case <-l.Dead():
			cancel()
		case <-ctx.Done():
		}
	}()
	h.life++
	if h.adopt {
		return h.takeOver(ctx, l)
	}
	sp, err := h.disk.OpenGated(h.gate(l), hook(l), alive(l), &spool.Options{Class: "vpn", Destinations: h.w.names(), Sync: spool.SyncAlways, SegmentAge: 24 * time.Hour, StageWorkers: 1})
	if err != nil {
		return err
	}
	defer sp.Close()
	if h.life <= 2 {
		if err := h.keep(ctx, sp); err != nil {
			return err
		}
	}
	sh, err := h.shipper(sp, l)
	if err != nil {
		return err
	}
	if err := h.deliver(ctx, sh); err != nil {
		return err
	}
	return sp.Close()
}

// keep appends two records in a segment of their own.
func (h *host) keep(ctx context.Context, sp *spool.Spool) error {
	var batch []segment.Record
	var own []string
	for i := range 2 {
		own = append(own, fmt.Sprintf("%s %d.%d", h.name, h.life, i+1))
		// No two hosts receive at the same nanosecond: by their times, the segments of copies are told apart.
		at := time.Now().Add(h.phase).UnixNano() + int64(i)
		batch = append(batch, segment.Record{Time: at, Data: []byte(own[i])})
	}
	if _, err := sp.Append(ctx, batch); err != nil {
		return err
	}
	h.own = append(h.own, own...)
	return sp.Seal(ctx)
}

// takeOver is drain.Adopt without what a drain has around it.
func (h *host) takeOver(ctx context.Context, l *explore.Life) error {
	{
		sp, err := h.disk.Adopt(h.gate(l), hook(l), alive(l), &spool.AdoptOptions{
			Work: "/work", Instance: h.name, Destinations: h.w.names(), MaxBytes: 64 << 20, StageWorkers: 1,
		})
		if errors.Is(err, spool.ErrAdopted) {
			return nil
		}
		if err != nil {
			return err
		}
		defer sp.Close()
		sh, err := h.shipper(sp, l)
		if err != nil {
			return err
		}
		err = sh.Claim(ctx)
		if err == nil {
			err = h.deliver(ctx, sh)
		}
		if err == nil {
			err = sp.Shelf().MarkAdopted()
		}
		return errors.Join(err, sp.Close())
	}
}

// instance is the name in manifests: copies of a volume have one.
func (h *host) instance() string {
	if h.adopt {
		return h.name
	}
	return "here"
}

func (h *host) shipper(sp *spool.Spool, l *explore.Life) (*ship.Shipper, error) {
	dests := map[string]ship.Destination{}
	for name, d := range h.w.to {
		dests[name] = &port{l, h, name, d}
	}
	return ship.New(sp, &ship.Options{
		Destinations: dests, Codec: "none", Workers: 1, OwnerTimeout: silence + h.phase,
		Backoff: func(int, float64) time.Duration { return time.Minute },
	})
}

// deliver ships everything and closes the chains.
func (h *host) deliver(ctx context.Context, sh *ship.Shipper) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = sh.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	err := sh.Flush(ctx)
	for _, name := range h.w.names() {
		if err == nil {
			err = sh.Finalize(ctx, name)
		}
	}
	for name, st := range sh.Stats() {
		if st.State == ship.StateConflict {
			h.said = append(h.said, "conflict at "+name+": "+st.Err.Error())
		}
	}
	return err
}

// control is a key with a random name, at which nothing ever is.
var control = regexp.MustCompile(`/control-[0-9a-f]{32}\.json$`)

// temporary is what WriteFileAtomic appends to a name.
var temporary = regexp.MustCompile(`\.\d+\.tmp$`)

// gate makes the operations on a volume that matter to chains separate steps, at which the host can die: each operation that makes
// a change of a chain's state, a proposal, an identity or a mark visible, and for a power cut those that make it durable.
// TestCrash and TestKilledShipping try all others. No other host sees these operations, so they commute with everything. As steps
// they prevent the lanes of one host from running concurrently, which no list of choices could repeat.
func (h *host) gate(l *explore.Life) spool.Gate {
	return func(kind vfs.Kind, path string) error {
		path = temporary.ReplaceAllString(path, "")
		inChain := strings.HasSuffix(path, "/chain") || strings.Contains(path, "/chain/")
		if !inChain && filepath.Base(path) != "spool.json" && filepath.Base(path) != "adopted" {
			return nil
		}
		what := fmt.Sprintf("%s: %s %s", h.name, kind, strings.Replace(path, h.w.spool, "", 1))
		if kind == vfs.OpSyncDir { // to a process that is killed, what is durable makes no difference
			return l.Point(what, cut)
		}
		return l.Do(what)
	}
}

// hook ends all operations of a dead host.
func hook(l *explore.Life) vfs.Hook {
	dead := alive(l)
	return func(vfs.Op) error { return dead() }
}

// alive returns an error once the host is dead.
func alive(l *explore.Life) func() error {
	return func() error {
		select {
		case <-l.Dead():
			return explore.ErrDead
		default:
			return nil
		}
	}
}

// port is a destination as one process of a host reaches it.
type port struct {
	l    *explore.Life
	h    *host
	name string
	d    *shiptest.MemoryDestination
}

func (p *port) around(ctx context.Context, change bool, key, as string, effect func() error) error {
	key = control.ReplaceAllString(strings.Replace(key, p.h.w.spool, "", 1), "/control.json")
	s := explore.Step{Place: p.name + " " + key, Change: change, As: as}
	if strings.Contains(key, "/heads/") && change {
		if err := alive(p.l)(); err != nil {
			return err
		}
		return effect()
	}
	if err := p.l.Before(ctx, s); err != nil {
		return err
	}
	err := effect()
	return errors.Join(err, p.l.After(s))
}

// same names the contents of an object with records, of which two hosts may send the same. Manifests all differ.
func same(o ship.Object) string {
	if strings.HasPrefix(o.Key, "class=") {
		return hex.EncodeToString(o.SHA256[:4])
	}
	return ""
}

// Put implements ship.Destination.
func (p *port) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (r ship.Receipt, err error) {
	err = p.around(ctx, true, o.Key, same(o), func() (err error) {
		if r, err = p.d.Put(ctx, o, body); err == nil {
			p.h.w.note(p.name+" "+o.Key, p.h.name)
		}
		return err
	})
	return r, err
}

// Stat implements ship.Destination.
func (p *port) Stat(ctx context.Context, key string) (r ship.Receipt, err error) {
	err = p.around(ctx, false, key, "", func() (err error) {
		r, err = p.d.Stat(ctx, key)
		return err
	})
	return r, err
}

// Open implements ship.Destination.
func (p *port) Open(ctx context.Context, key string) (b io.ReadCloser, err error) {
	err = p.around(ctx, false, key, "", func() (err error) {
		b, err = p.d.Open(ctx, key)
		return err
	})
	return b, err
}

// world is what the hosts of one run share.
type world struct {
	spool string
	to    map[string]*shiptest.MemoryDestination
	hosts []*host
	owed  []string // what their volumes held when the run began

	mu    sync.Mutex
	wrote map[string][]string // who has had a key confirmed, by destination and key
}

func (w *world) names() []string { return slices.Sorted(maps.Keys(w.to)) }

// note notes that a destination has confirmed a key to a host.
func (w *world) note(key, host string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.wrote[key], host) {
		w.wrote[key] = append(w.wrote[key], host)
	}
}
