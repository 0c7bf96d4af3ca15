package udprelay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// NFT is the engine that lets the kernel forward. If the process is killed, the kernel continues to forward, and an NFT that
// is made later takes the table over, with its counters and the generation of ports in use.
type NFT struct {
	o    Options
	lock net.Listener

	mu       sync.Mutex
	targets  []netip.AddrPort
	used     bool // Use has been called
	own      bool // the table exists, and an engine has made it
	ended    bool
	schedule *schedule
	count    counting
	failing  string // the last error that was logged
}

// ErrUnusable means that this host cannot forward with nftables, and retrying is useless: use User.
var ErrUnusable = errors.New("the engine nft cannot be used")

// errForeign means that the table belongs to another program.
var errForeign = errors.New("another program has made a table of this name, which is left alone: use another Options.Table")

// NewNFT checks that the kernel can forward, and takes over an existing table that an engine has made. It changes nothing yet. It
// reports all problems at once; if this host lacks something, the error wraps ErrUnusable.
func NewNFT(ctx context.Context, o *Options) (*NFT, error) {
	n := &NFT{o: o.withDefaults()}
	errs := []error{n.o.validate()}
	if len(n.o.Files) > 0 {
		errs = append(errs, errors.New("udprelay: Files: the NFT engine receives from no socket"))
	}
	for _, l := range n.o.Listen {
		if l.Addr().IsLoopback() {
			errs = append(errs, fmt.Errorf("udprelay: Listen %v: %w: the kernel does not forward what is sent to the loopback", l, ErrUnusable))
		}
	}
	errs = append(errs, usable(ctx, n.o.Listen))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	// An abstract socket belongs to the network namespace, as the table does, and the kernel removes it with the process.
	lock, err := net.Listen("unix", "@penstock-udprelay-"+n.o.Table)
	if err != nil {
		return nil, fmt.Errorf("udprelay: another process controls the table %s: %w", n.o.Table, err)
	}
	n.lock = lock
	now := time.Now()
	n.schedule, n.count = newSchedule(n.o.Ports, now), newCounting()
	if err := n.takeOver(ctx, now); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return n, nil
}

// usable returns everything that this host lacks for the engine.
func usable(ctx context.Context, listen []netip.AddrPort) error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("udprelay: %w: nftables exist on Linux only", ErrUnusable)
	}
	var errs []error
	if _, err := exec.LookPath("nft"); err != nil {
		errs = append(errs, fmt.Errorf("udprelay: %w: the program nft is missing (package nftables): %w", ErrUnusable, err))
	} else if _, err := runNFT(ctx, nil, "list", "tables"); refused(err) {
		errs = append(errs, fmt.Errorf("udprelay: %w: CAP_NET_ADMIN may be missing: %w", ErrUnusable, err))
	} else if err != nil {
		errs = append(errs, fmt.Errorf("udprelay: %w", err)) // not ErrUnusable: nft may work later
	}
	for _, f := range []struct {
		is           func(netip.Addr) bool
		file, sysctl string
	}{
		{netip.Addr.Is4, "/proc/sys/net/ipv4/ip_forward", "net.ipv4.ip_forward"},
		{netip.Addr.Is6, "/proc/sys/net/ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding"},
	} {
		if !slices.ContainsFunc(listen, func(l netip.AddrPort) bool { return f.is(l.Addr()) }) {
			continue
		}
		if b, err := os.ReadFile(f.file); err != nil || strings.TrimSpace(string(b)) == "0" {
			errs = append(errs, fmt.Errorf("udprelay: %w: this host forwards nothing: set the sysctl %s=1", ErrUnusable, f.sysctl))
		}
	}
	return errors.Join(errs...)
}

// listOwn lists the table, if it exists and an engine has made it.
func (n *NFT) listOwn(ctx context.Context) ([]byte, error) {
	text, err := runNFT(ctx, nil, "list", "table", "inet", n.o.Table)
	if err == nil && !isOwn(text) {
		err = fmt.Errorf("table %s: %w", n.o.Table, errForeign)
	}
	return text, err
}

// takeOver finds out which ports are in use from the table that an earlier process has left.
func (n *NFT) takeOver(ctx context.Context, now time.Time) error {
	text, err := n.listOwn(ctx)
	if errors.Is(err, errNoTable) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("udprelay: %w", err)
	}
	n.own = true
	if first, last, ok := parsePorts(text); ok {
		n.schedule.found(first, last, now)
	}
	n.o.Logger.Info("udprelay: taking over an existing table", "name", n.o.Table)
	return nil
}

// Use implements Engine. It refuses a target that another engine in this network namespace has, or had.
func (n *NFT) Use(ctx context.Context, targets []netip.AddrPort) error {
	local := ownAddresses()
	for _, t := range targets {
		if t.Addr().IsLoopback() || local[t.Addr()] || slices.Contains(n.o.Listen, t) {
			return fmt.Errorf("udprelay: target %v: the kernel does not forward a datagram to its own host", t)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended {
		return errors.New("udprelay: the engine has ended")
	}
	if err := n.look(ctx, targets); err != nil {
		return fmt.Errorf("udprelay: %w", err)
	}
	if err := n.load(ctx, targets, time.Now()); err != nil {
		return err
	}
	n.targets, n.used = slices.Clone(targets), true
	return nil
}

// look checks the existing tables; n.mu is held. It returns an error if another engine's table also counts one of the targets:
// after routing, the datagrams of the two cannot be distinguished, and each would count those of the other.
func (n *NFT) look(ctx context.Context, targets []netip.AddrPort) error {
	text, err := runNFT(ctx, nil, "list", "maps")
	if err != nil {
		return err
	}
	tables, own := parseCounted(text), "inet "+n.o.Table
	if tables[own] == nil && n.own {
		n.gone()
	}
	for table, counted := range tables {
		for _, t := range targets {
			if table != own && counted[t] {
				return fmt.Errorf("target %v: table %s also has it, and the two relays could not tell their datagrams apart: let one relay listen at all addresses", t, table)
			}
		}
	}
	return nil
}

// gone notes that the table does not exist; n.mu is held.
func (n *NFT) gone() {
	if n.own {
		n.o.Logger.Warn("udprelay: another program has removed the table; it is made again, and nothing was forwarded meanwhile", "name", n.o.Table)
	}
	n.own = false
	n.count.restart()
}

// load writes the rules of the table; n.mu is held.
func (n *NFT) load(ctx context.Context, targets []netip.AddrPort, now time.Time) error {
	r := ruleset{table: n.o.Table, listen: n.o.Listen, targets: targets, create: !n.own}
	if n.o.Mode == Generations {
		p := n.o.Ports
		r.first, r.count = p.first(n.schedule.pick(now)), p.Count
	}
	var text bytes.Buffer
	if err := r.write(&text); err != nil {
		return err
	}
	_, err := runNFT(ctx, text.Bytes(), "-f", "-")
	if err != nil && n.own && !n.used && refused(err) { // the failure may be temporary
		_, err = runNFT(ctx, text.Bytes(), "-f", "-")
	}
	if err != nil && n.own && !n.used && refused(err) {
		err = n.replace(ctx, text.Bytes(), err)
	}
	if err != nil {
		return fmt.Errorf("udprelay: %w", err)
	}
	n.own = true
	return nil
}

// replace replaces the table of an earlier process of another version, which this version cannot continue; n.mu is held.
func (n *NFT) replace(ctx context.Context, rules []byte, why error) error {
	if _, err := n.listOwn(ctx); err != nil {
		return errors.Join(why, err)
	}
	n.o.Logger.Warn("udprelay: cannot continue the table; it is replaced, and its counters start at zero", "name", n.o.Table, "err", why)
	t := "table inet " + n.o.Table
	_, err := runNFT(ctx, slices.Concat([]byte(t+"\ndelete "+t+"\n"), rules), "-f", "-")
	return err
}

// Run implements Engine: it switches to the next generation of ports when that is due, and makes the table again if another
// program has removed it. At the end it removes the table, unless Options.Leave is set.
func (n *NFT) Run(ctx context.Context) error {
	defer n.lock.Close()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return n.end(context.WithoutCancel(ctx))
		case <-tick.C:
			n.mend(ctx)
		}
	}
}

// mend makes a removed table again, and switches to the next generation of ports when that is due.
func (n *NFT) mend(ctx context.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.used {
		return
	}
	now := time.Now()
	before := n.schedule.at
	err := n.read(ctx)
	switch {
	case errors.Is(err, errNoTable):
		n.gone()
		err = n.load(ctx, n.targets, now)
	case err == nil && n.o.Mode == Generations && n.schedule.pick(now) != before:
		if err = n.load(ctx, n.targets, now); err != nil {
			n.schedule.at = before // the kernel still uses it
			break
		}
		first := n.o.Ports.first(n.schedule.at)
		n.o.Logger.Info("udprelay: the next generation of source ports is in use", "first", first, "last", first+n.o.Ports.Count-1)
	}
	text := ""
	if err != nil && ctx.Err() == nil {
		text = err.Error()
	}
	if text != n.failing && text != "" {
		n.o.Logger.Error("udprelay: nft fails; the kernel goes on with the rules that it has", "err", err)
	}
	n.failing = text
}

// end counts everything that has come in, and then removes the table.
func (n *NFT) end(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended = true
	if !n.used {
		return nil
	}
	_, err := n.listOwn(ctx)
	if errors.Is(err, errNoTable) {
		return nil
	}
	if err == nil && !n.o.Leave {
		_, err = runNFT(ctx, nil, "flush", "chain", "inet", n.o.Table, "before")
	}
	if err == nil {
		if err = n.read(ctx); err == nil {
			n.count.settle()
			a := n.count.account()
			n.o.Logger.Info("udprelay: end", "received", a.In, "to", len(a.Out), "delivered", a.Sent(), "lost", a.Lost())
		}
	}
	if !n.o.Leave && !errors.Is(err, errForeign) {
		if _, derr := runNFT(ctx, nil, "delete", "table", "inet", n.o.Table); derr != nil {
			err = errors.Join(err, derr)
		}
	}
	if err != nil {
		return fmt.Errorf("udprelay: %w", err)
	}
	return nil
}

// read reads the counters; n.mu is held.
func (n *NFT) read(ctx context.Context) error {
	text, err := runNFT(ctx, nil, "list", "counters", "table", "inet", n.o.Table)
	if err != nil {
		return err
	}
	counters, err := parseCounters(text)
	if err != nil {
		return err
	}
	for name := range n.count.now {
		if _, ok := counters[name]; !ok {
			return fmt.Errorf("nft lists no counter %s of table %s: %.200q", name, n.o.Table, text)
		}
	}
	if _, ok := counters[inCounter]; !ok {
		return fmt.Errorf("nft lists no counters of table %s: %.200q", n.o.Table, text)
	}
	n.count.note(counters, time.Now())
	return nil
}

// Account implements Engine. While nft fails, it returns the account of the last success, with the error.
func (n *NFT) Account(ctx context.Context) (*Account, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.used {
		return n.count.account(), nil
	}
	err := n.read(ctx)
	if errors.Is(err, errNoTable) { // Run makes it again
		err = nil
	}
	return n.count.account(), err
}
