package udprelay

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"regexp"
	"time"

	"github.com/penstock-go/penstock/internal/steadylog"
)

// Mode is how datagrams are spread.
type Mode uint8

const (
	// Spray sends each datagram to the next target in turn. The targets are the receivers themselves.
	Spray Mode = iota
	// Generations gives each datagram the next of many source ports. The targets are the addresses of a load balancer.
	Generations
)

// String implements fmt.Stringer.
func (m Mode) String() string {
	if m == Generations {
		return "generations"
	}
	return "spray"
}

// Options configure an engine. The zero value of every field but Listen means its documented default.
type Options struct {
	// Listen are the addresses at which datagrams arrive. The unspecified address (0.0.0.0, ::) means all addresses of the
	// host. The NFT engine forwards datagrams only to targets of the same address family.
	Listen []netip.AddrPort
	// Mode is how datagrams are spread.
	Mode Mode
	// Ports are the source ports of the mode Generations.
	Ports Ports

	// Table is the name of the NFT engine's table; default "penstock_relay". Two engines in one network namespace need
	// different tables.
	Table string
	// Leave keeps the table, and so the forwarding, when Run returns. The next engine takes the table over.
	Leave bool

	// Files are bound sockets that the User engine takes over instead of binding Listen, in the same order, as
	// ingest.Inherited returns them. Datagrams are queued in them while no process receives.
	Files []*os.File
	// Sockets is the number of sockets per address of the User engine; default 1. See ingest.UDPOptions.
	Sockets int
	// ReceiveBuffer is the size in bytes that each socket of the User engine requests; default 64 MiB.
	ReceiveBuffer int
	// NoHeader omits the PROXY header of the User engine. Receivers then see the relay as the sender.
	NoHeader bool

	// Logger gets lines about the life cycle, and about losses at a bounded rate; nil discards.
	Logger *slog.Logger
}

// Ports are the source ports that the mode Generations uses: Count ports per generation, one generation after the other
// from First on. Each generation is in use for Every, and rests while the others are in use.
type Ports struct {
	First       int           // default 16,384
	Count       int           // default 24,576; at least MinPorts
	Generations int           // default 2
	Every       time.Duration // default 150 s
	// Forgets is how long the load balancer remembers a flow without datagrams; default 120 s, as at AWS. Ports rest for
	// longer.
	Forgets time.Duration
}

// MinPorts is the least number of ports of a generation. With fewer, the shares of the targets differ by more than 5 %.
const MinPorts = 8192

// rest returns how long a port rests between two uses.
func (p Ports) rest() time.Duration { return time.Duration(p.Generations-1) * p.Every }

// first is the first port of a generation.
func (p Ports) first(generation int) int { return p.First + generation*p.Count }

func (p Ports) withDefaults() Ports {
	if p.First == 0 {
		p.First = 16384
	}
	if p.Count == 0 {
		p.Count = 24576
	}
	if p.Generations == 0 {
		p.Generations = 2
	}
	if p.Every == 0 {
		p.Every = 150 * time.Second
	}
	if p.Forgets == 0 {
		p.Forgets = 120 * time.Second
	}
	return p
}

// Check reports everything that is wrong with the ports.
func (p Ports) Check() error {
	p = p.withDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("udprelay: "+format, args...)) }
	if p.First < 1024 || p.First > 65535 {
		bad("Ports.First %d: want 1024 to 65535", p.First)
	}
	if p.Count < MinPorts || p.Count > 65536 {
		bad("Ports.Count %d: want at least %d, with fewer ports the targets' shares are not even", p.Count, MinPorts)
	}
	if p.Generations < 2 || p.Generations > 7 {
		bad("Ports.Generations %d: want 2 to 7, of which one is in use and the others rest", p.Generations)
	} else if end := p.first(p.Generations); len(errs) == 0 && end > 65536 {
		bad("Ports: %d generations of %d ports from %d on end at %d, after the last port", p.Generations, p.Count, p.First, end-1)
	}
	if p.Every <= 0 || p.Forgets <= 0 {
		bad("Ports.Every %v, Forgets %v: want positive times", p.Every, p.Forgets)
	} else if p.rest() <= p.Forgets {
		bad("Ports: a port rests %v between two uses, not longer than the %v after which the load balancer forgets a flow: raise Every", p.rest(), p.Forgets)
	}
	return errors.Join(errs...)
}

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	c.Ports = c.Ports.withDefaults()
	if c.Table == "" {
		c.Table = "penstock_relay"
	}
	c.Logger = steadylog.Wrap(c.Logger)
	return c
}

var tableName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,60}$`)

// Check reports everything that is wrong with the options.
func (o *Options) Check() error {
	c := o.withDefaults()
	return c.validate()
}

func (o *Options) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("udprelay: "+format, args...)) }
	if len(o.Listen) == 0 {
		bad("Listen is empty")
	}
	seen := map[netip.AddrPort]bool{}
	for _, l := range o.Listen {
		if err := checkAddress(l, true); err != nil {
			bad("Listen %v: %w", l, err)
		}
		if seen[l] {
			bad("Listen %v is there twice", l)
		}
		seen[l] = true
	}
	if o.Mode > Generations {
		bad("Mode %d: want Spray or Generations", o.Mode)
	}
	if o.Mode == Generations {
		errs = append(errs, o.Ports.Check())
	}
	if !tableName.MatchString(o.Table) {
		bad("Table %q: want a letter, then letters, digits and _", o.Table)
	}
	if len(o.Files) > 0 && len(o.Files) != len(o.Listen) {
		bad("Files: %d sockets for %d addresses", len(o.Files), len(o.Listen))
	}
	return errors.Join(errs...)
}
