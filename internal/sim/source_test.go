package sim

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/penstock-go/penstock/internal/memnet"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// sink is the sink of a process's listener. It records what the spool has promised.
type sink struct {
	*spool.Intake
	p *process
}

// Append implements ingest.Sink.
func (s *sink) Append(ctx context.Context, batch []segment.Record) (uint64, error) {
	last, err := s.Intake.Append(ctx, batch)
	s.p.took(batch, last, err == nil)
	return last, err
}

// Offer implements ingest.Sink.
func (s *sink) Offer(ctx context.Context, batch []segment.Record) (uint64, error) {
	last, err := s.Intake.Offer(ctx, batch)
	s.p.took(batch, last, false)
	return last, err
}

// transform is between a listener and its spool: it drops noise, splits pairs, and gives each record attributes.
func transform(r segment.Record, out []segment.Record) []segment.Record {
	if len(r.Data) > 0 && r.Data[0] == noise {
		return out
	}
	parts := [][]byte{r.Data}
	if len(r.Data) > 0 && r.Data[0] == pair {
		parts = bytes.Split(r.Data[1:], []byte{pair})
	}
	for _, r.Data = range parts {
		r.Attrs = attrsOf(r.Data)
		out = append(out, r)
	}
	return out
}

// The prefixes of a frame that is no record, and of one that is two; the second prefix also separates these two.
const noise, pair = '#', '|'

// attrsOf returns the attributes of a record, which depend on its number: none, or one of a few sets.
func attrsOf(data []byte) *segment.Attrs {
	if len(data) < 10 || data[9]%4 == 0 {
		return nil
	}
	return someAttrs[data[9]%4]
}

var someAttrs = func() (sets [4]*segment.Attrs) {
	for i := range sets {
		var err error
		if sets[i], err = segment.NewAttrs(map[string]string{"set": fmt.Sprint(i), "text": strings.Repeat(`"`, i*50)}); err != nil {
			panic(err)
		}
	}
	return sets
}()

// entry is for sources that call Append and Offer themselves. It is a drain.Input, so that they end before the spool is closed.
type entry struct {
	mu   sync.Mutex
	ctx  context.Context
	end  context.CancelFunc
	busy sync.WaitGroup
}

func (d *entry) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctx, d.end = context.WithCancel(context.Background())
}

// enter returns the context of a source; nil after Shutdown. leave must be called.
func (d *entry) enter() (ctx context.Context, leave func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx == nil || d.ctx.Err() != nil {
		return nil, nil
	}
	d.busy.Add(1)
	return d.ctx, d.busy.Done
}

// Shutdown implements drain.Input. Records that wait for room are not accepted: their sender keeps them.
func (d *entry) Shutdown(context.Context) error {
	d.mu.Lock()
	end := d.end
	d.mu.Unlock()
	if end != nil {
		end()
	}
	d.busy.Wait()
	return nil
}

// send makes a source send to a process.
func (w *world) send(p *process, e Event) {
	sp, _, _ := p.running()
	if sp == nil {
		return
	}
	n, size := int(e.A), int(e.B)
	switch e.Kind {
	case Append, Offer:
		go w.direct(p, sp, e.Kind == Append, n, size)
	case Flood:
		for range n {
			go w.stream(p, Octet, size, 1000)
		}
	default:
		go w.stream(p, e.Kind, n, size)
	}
}

// direct appends or offers in batches of up to ten.
func (w *world) direct(p *process, sp *spool.Spool, wait bool, n, size int) {
	ctx, leave := p.entry.enter()
	if ctx == nil {
		return
	}
	defer leave()
	for n > 0 {
		batch := make([]segment.Record, min(n, 10))
		n -= len(batch)
		for i := range batch {
			batch[i] = w.journal.record(size)
		}
		put := sp.Offer
		if wait {
			put = sp.Append
		}
		last, err := put(ctx, batch)
		p.took(batch, last, wait && err == nil)
		if err != nil {
			return // the source keeps records that were not accepted
		}
	}
}

// stream sends frames over its own connection. It notices when the listener closes, as a good sender does.
func (w *world) stream(p *process, kind Kind, n, size int) {
	c, err := memnet.Dial(p.addr())
	if err != nil {
		return
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		var b [1]byte
		_, _ = c.Read(b[:])
		_ = c.Close()
	}()
	defer func() { <-closed }()
	for i := range n {
		b := w.journal.next(size)
		switch i % 7 {
		case 3:
			b = append([]byte{pair}, b...)
			b = append(append(b, pair), w.journal.next(size)...)
		case 5:
			b = append([]byte{noise}, "nobody wants this"...)
		}
		frame := append(b, '\n')
		if kind == Octet {
			frame = append(fmt.Appendf(nil, "%d ", len(b)), b...)
		}
		if kind == Reset && i == n-1 {
			_, _ = c.Write(frame[:len(frame)/2])
			c.Reset()
			return
		}
		if _, err := c.Write(frame); err != nil {
			break
		}
	}
	_ = c.CloseWrite() // the listener closes when it has read everything
}
