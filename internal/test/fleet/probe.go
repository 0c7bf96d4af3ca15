//go:build linux

package fleet

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
	"time"

	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
)

// Probe sends single records over RELP. The receiver answers each when it is durable, so the time until the answer is how long
// a sender waits for durability.
type Probe struct {
	Run string
	ns  *Namespace
	to  string
	gen *fwlog.Generator

	mu    sync.Mutex
	times []probed
	// sent again under a new number, because the connection had ended: they may be there or not.
	unconfirmed []uint64
	sent        uint64
}

type probed struct {
	at   time.Time
	took time.Duration
}

func newProbe(run string, ns *Namespace, to string, seed uint64) (*Probe, error) {
	g, err := fwlog.NewGenerator(run, seed)
	return &Probe{Run: run, ns: ns, to: to, gen: g}, err
}

// Run sends a record every interval until ctx ends.
func (p *Probe) Send(ctx context.Context, every time.Duration) {
	for ctx.Err() == nil {
		c, err := p.ns.Dial(ctx, "tcp", p.to)
		if err == nil {
			err = p.session(ctx, c, every)
			c.Close()
		}
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// session is one connection. It ends after 200 records, so that it follows the balancer.
func (p *Probe) session(ctx context.Context, c net.Conn, every time.Duration) error {
	r := bufio.NewReader(c)
	if err := exchange(c, r, 1, "open", "relp_version=0\nrelp_software=fleet\ncommands=syslog"); err != nil {
		return err
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for n := 2; n < 202; n++ {
		select {
		case <-ctx.Done():
			return exchange(c, r, n, "close", "")
		case <-t.C:
		}
		p.mu.Lock()
		seq := p.sent
		p.sent++
		p.mu.Unlock()
		begin := time.Now()
		p.gen.Tick(begin)
		err := exchange(c, r, n, "syslog", string(p.gen.Append(nil, 0, seq, lineSize)))
		p.mu.Lock()
		if err != nil {
			p.unconfirmed = append(p.unconfirmed, seq)
		} else {
			p.times = append(p.times, probed{begin, time.Since(begin)})
		}
		p.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return exchange(c, r, 202, "close", "")
}

// exchange sends a frame and reads its answer.
func exchange(c net.Conn, r *bufio.Reader, n int, command, data string) error {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	frame := fmt.Sprintf("%d %s %d", n, command, len(data))
	if data != "" {
		frame += " " + data
	}
	if _, err := io.WriteString(c, frame+"\n"); err != nil {
		return err
	}
	head := make([]string, 3)
	for i := range head {
		for { // the length of an empty answer ends with the frame
			b, err := r.ReadByte()
			if err != nil {
				return err
			}
			if b == ' ' || b == '\n' {
				break
			}
			head[i] += string(b)
		}
	}
	size, err := strconv.Atoi(head[2])
	if err != nil || head[1] != "rsp" || head[0] != strconv.Itoa(n) {
		return fmt.Errorf("RELP answer %q", head)
	}
	if size == 0 {
		return nil
	}
	body := make([]byte, size+1)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	if !strings.HasPrefix(string(body), "200") {
		return fmt.Errorf("RELP answer %q", body)
	}
	return nil
}

// P99 is that of the records sent between two times, with their number.
func (p *Probe) P99(from, to time.Time) (p99 time.Duration, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []time.Duration
	for _, t := range p.times {
		if !t.at.Before(from) && t.at.Before(to) {
			all = append(all, t.took)
		}
	}
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return all[(len(all)-1)*99/100], len(all)
}
