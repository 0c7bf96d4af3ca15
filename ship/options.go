package ship

import (
	"crypto"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
)

// Options configure a Shipper. The zero value of every field but Destinations means its documented default. The name of
// this host (Instance), the number of segments that are staged at once (StageWorkers) and the Logger are those of
// spool.Options.
type Options struct {
	// Destinations by name. The names must be those of spool.Options.Destinations: a segment is deleted once each of them
	// has it. Two names for one place (see Locator) are refused.
	Destinations map[string]Destination
	// Format, Codec and Level of new objects; default ndjson, zstd, the codec's own default. What is staged already keeps
	// the encoding of its stage record.
	Format string
	Codec  string
	Level  int
	// Extra has formats and codecs of the program's own, which Format and Codec may then name. Do not remove those that an
	// earlier process has used: they are needed to read what it has staged, and what is at the destinations.
	Extra format.Extra
	// Workers is the number of parallel uploads to each destination; default 4. Eight segments of up to 1 MiB count as one,
	// since they wait for answers rather than for bandwidth. Twice as many segments may be ahead of a destination's chain.
	Workers int
	// Signer signs manifests and heads with an ed25519 key, see ReadPrivateKey. Nobody without the key can alter anything
	// that a chain lists undetected, not even with write access to every destination. Default nil: not signed.
	Signer crypto.Signer
	// Limits bound the rate of uploads, by name of destination; all Limiters of a destination apply. A Limiter that several
	// Shippers have bounds all of them together. Default none. While Flush or Finalize runs, they do not apply: a drain waits
	// for these, and its deadline matters more than the line's bandwidth.
	Limits map[string][]*Limiter
	// Backoff returns the wait after the given failed attempt (from 1); rnd is random in [0,1). Default is the function
	// Backoff.
	Backoff func(attempt int, rnd float64) time.Duration
	// ProbeInterval is how often a destination is tried if only an operator can cure its last error; default 30 s.
	ProbeInterval time.Duration

	// OwnerTimeout is how long another owner or adopter of an adopted spool may write nothing before it is considered dead;
	// default 15 minutes. See Claim.
	OwnerTimeout time.Duration
	// Hooks are called when certain events happen: see Hook.
	Hooks []Hook
}

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Workers == 0 {
		out.Workers = 4
	}
	if out.Backoff == nil {
		out.Backoff = Backoff
	}
	if out.ProbeInterval == 0 {
		out.ProbeInterval = 30 * time.Second
	}
	if out.OwnerTimeout == 0 {
		out.OwnerTimeout = 15 * time.Minute
	}
	return out
}

// validate reports every mistake at once. names are the spool's destinations, dirs its directories.
func (o Options) validate(names, dirs []string) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Workers < 0 || o.Workers > 256 {
		bad("Workers is %d; must be 1 to 256", o.Workers)
	}
	if o.ProbeInterval < 0 {
		bad("probe interval %v", o.ProbeInterval)
	}
	if o.Signer != nil {
		if err := CheckSigner(o.Signer); err != nil {
			bad("%w", err)
		}
	}
	if err := checkHooks(o.Hooks); err != nil {
		bad("Hooks: %w", err)
	}
	if o.OwnerTimeout < 0 {
		bad("owner timeout %v", o.OwnerTimeout)
	}
	given := slices.Sorted(maps.Keys(o.Destinations))
	slices.Sort(names)
	if !slices.Equal(given, names) {
		bad("destinations %q are given, the spool has %q", given, names)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Limits)) {
		if _, ok := o.Destinations[name]; !ok {
			bad("limits for %q, which is no destination", name)
		}
		if slices.Contains(o.Limits[name], nil) {
			bad("a limit for %q is nil", name)
		}
	}
	places := map[string]string{}
	for _, name := range given {
		d := o.Destinations[name]
		if foreign.IsNil(d) {
			bad("destination %q is nil (%T)", name, d)
			continue
		}
		place, err := location(d)
		if err != nil {
			bad("destination %q: %w", name, err)
		}
		if place == "" {
			continue
		}
		if other, taken := places[place]; taken {
			bad("destinations %q and %q are the same place, %s: one copy would be counted as two", other, name, place)
		}
		places[place] = name
		for _, dir := range dirs {
			if isInside(place, dir) {
				bad("destination %q is inside the spool's directory %s: its copies would use up the spool's space", name, dir)
			}
		}
	}
	return errors.Join(errs...)
}

// encoder returns the encoder that the options ask for.
func (o Options) encoder() (spool.Encoder, error) {
	return o.Extra.NewEncoder(object.Encoding{Format: o.Format, Codec: o.Codec, Level: o.Level})
}
