package audit

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool/segment"
)

// Place is one destination to be audited.
type Place struct {
	// Name is what findings call the place; default: its location.
	Name string
	// Destination must also be a ship.Lister.
	Destination ship.Destination
}

// Options say what is audited. The zero value of every field but Places means its documented default.
type Options struct {
	// Places are compared with each other. Each holds one copy; their order does not matter.
	Places []Place
	// Class limits the audit to one class; default all.
	Class string
	// Deep reads every object and counts its records. Without Deep, objects are compared by size, and by the place's own
	// checksum if it keeps one. If that is gone although the receipt names it, as in a copy of the place, the object is read. So are
	// the objects of a segment about which two places state different bytes of the same records: the sender may have staged it
	// again.
	Deep bool
	// Since leaves out objects whose newest record is older than Since, because a retention rule may have deleted them. Their
	// chains are still verified. If owners of copies of a volume have encoded a segment differently and one of its objects is gone, lines
	// that are all older than Since tell whether each place has it. The zero time leaves out none.
	Since time.Time
	// Hour asks about the folders of one hour only (object.HourPrefix): is it over, and is every chain past it or final? An
	// hour is over once this host's clock says so and a sender has written a manifest since; without such a manifest, five
	// minutes later. Objects of other hours are not looked for, and findings that concern only other hours (see
	// Finding.HourFrom) are not reported. The zero time means all hours.
	Hour time.Time
	// Keys, if any, are the senders' public keys. Each chain must then be signed by one of them, at least at its end: a signed
	// manifest vouches for all before it. A manifest without such a voucher is damage, no matter who wrote it.
	Keys []ed25519.PublicKey
	// Expect names spools (by id) or instances that must appear.
	Expect []string
	// Checkpoint is a file in which an audit records its progress. If the audit is interrupted, the next one with the same
	// places continues from there, provided that it has the same Deep and Hour and no earlier Since. It reads all chains again,
	// but only those objects that were not yet found right; if another one was altered meanwhile, that goes unnoticed. The
	// audit removes the file when it completes. A checkpoint that a power loss has torn is ignored. Default: none.
	Checkpoint string
	// Extra adds the program's own formats and codecs. Without them, the audit cannot count the records of objects that use
	// them.
	Extra format.Extra
	// Workers is the number of requests in flight at each place; default 16.
	Workers int
	// MaxFindings bounds the number of findings that are listed; all are counted. Default 10,000.
	MaxFindings int
	// Progress, if not nil, is kept up to date while Run runs.
	Progress *Progress
	// Logger gets a line if Checkpoint is torn and therefore ignored. Default: none.
	Logger *slog.Logger

	temp       *room
	maxKept    int // of a catalogue; tests set less
	maxClasses int // tests set less
}

// ErrOptions is wrapped by the errors of options that cannot be used.
var ErrOptions = errors.New("unusable options")

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	out.Places = append([]Place(nil), out.Places...)
	for i := range out.Places {
		p := &out.Places[i]
		if p.Name == "" {
			p.Name = location(p.Destination)
		}
		if p.Name == "" {
			p.Name = fmt.Sprintf("place %d", i+1)
		}
	}
	if out.Workers == 0 {
		out.Workers = 16
	}
	if out.MaxFindings == 0 {
		out.MaxFindings = 10_000
	}
	if out.Progress == nil {
		out.Progress = new(Progress)
	}
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	out.temp, out.maxKept, out.maxClasses = newRoom(), cmp.Or(out.maxKept, maxCatalogue), cmp.Or(out.maxClasses, maxClasses)
	if !out.Hour.IsZero() {
		out.Hour = out.Hour.UTC().Truncate(time.Hour)
	}
	return out
}

// location returns where a destination is, "" if it does not say.
func location(d ship.Destination) (at string) {
	l, ok := d.(ship.Locator)
	if !ok || foreign.IsNil(d) {
		return ""
	}
	_ = foreign.Catch("Destination.Location", func() error { at = l.Location(); return nil })
	return at
}

// validate reports every mistake at once.
func (o Options) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(o.Places) == 0 {
		bad("no place to audit")
	}
	names, locations := map[string]bool{}, map[string]string{}
	for _, p := range o.Places {
		if foreign.IsNil(p.Destination) {
			bad("%s: its destination is nil (%T)", p.Name, p.Destination)
			continue
		}
		if _, ok := p.Destination.(ship.Lister); !ok {
			bad("%s: this destination cannot list what it holds", p.Name)
		}
		if names[p.Name] {
			bad("two places are called %s", p.Name)
		}
		names[p.Name] = true
		// A place compared with itself always agrees.
		if at := location(p.Destination); at != "" {
			if other, taken := locations[at]; taken {
				bad("%s and %s are the same place, %s", other, p.Name, at)
			}
			locations[at] = p.Name
		}
	}
	if o.Class != "" && segment.CheckClass(o.Class) != nil {
		bad("invalid class %q", o.Class)
	}
	if o.Workers < 1 || o.Workers > 1024 {
		bad("%d requests in parallel; must be 1 to 1024", o.Workers)
	}
	for _, k := range o.Keys {
		if len(k) != ed25519.PublicKeySize {
			bad("a public key of %d bytes", len(k))
		}
	}
	if err := o.Extra.Check(); err != nil {
		bad("%w", err)
	}
	if o.MaxFindings < 1 {
		bad("at most %d findings", o.MaxFindings)
	}
	if len(errs) > 0 {
		return fmt.Errorf("%w: %w", ErrOptions, errors.Join(errs...))
	}
	return nil
}
