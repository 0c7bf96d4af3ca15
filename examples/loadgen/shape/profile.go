// Package shape describes how a load is distributed: a Profile over time, a Spread over the sources.
package shape

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Profile is a rate over time. The zero value has no rate: lines are sent as fast as possible.
type Profile struct {
	text string
	rate func(seconds float64) float64
	// due is the integral of rate from 0, so that the number of lines that a late sender must catch up on is exact.
	due func(seconds float64) float64
}

// Profiles are the forms that ParseProfile accepts.
const Profiles = "constant:rate=N, ramp:from=N,to=N,over=TIME, burst:rate=N,to=N,every=TIME,length=TIME or day:from=N,to=N,period=TIME"

// Constant returns the profile of a constant rate. 0 means as fast as possible.
func Constant(rate float64) Profile {
	if rate == 0 {
		return Profile{}
	}
	return Profile{
		text: "constant:rate=" + strconv.FormatFloat(rate, 'f', -1, 64),
		rate: func(float64) float64 { return rate },
		due:  func(t float64) float64 { return rate * t },
	}
}

// String returns the form that ParseProfile accepts.
func (p Profile) String() string {
	if p.rate == nil {
		return "as fast as possible"
	}
	return p.text
}

// Paced reports whether there is a rate to keep.
func (p Profile) Paced() bool { return p.rate != nil }

// Rate returns the rate per second at a time after the start.
func (p Profile) Rate(at time.Duration) float64 {
	if p.rate == nil {
		return 0
	}
	return p.rate(max(0, at.Seconds()))
}

// Due returns how many lines must have been sent at a time after the start.
func (p Profile) Due(at time.Duration) float64 {
	if p.due == nil {
		return 0
	}
	return p.due(max(0, at.Seconds()))
}

// ParseProfile parses a profile: its kind, a colon, and its parameters. The error names every mistake.
//
//   - constant: always rate.
//   - ramp: rises or falls from one rate (from) to another (to) in the time over, then stays there.
//   - burst: rate; but for the time length, at the end of each period of the time every, the rate to.
//   - day: follows the curve of a day in period (24h by default): from the night's rate from up to the noon's rate to, and down
//     again.
func ParseProfile(text string) (Profile, error) {
	kind, rest, _ := strings.Cut(text, ":")
	p := newParams(rest)
	var out Profile
	switch kind {
	case "constant":
		out = Constant(p.positive("rate"))
	case "ramp":
		out = ramp(p.rate("from"), p.rate("to"), p.seconds("over", 0))
	case "burst":
		every, length := p.seconds("every", 0), p.seconds("length", 0)
		if every > 0 && length >= every {
			p.bad("length=%gs: a burst must be shorter than every=%gs", length, every)
		}
		out = burst(p.rate("rate"), p.positive("to"), every, length)
	case "day":
		out = day(p.rate("from"), p.positive("to"), p.seconds("period", 24*time.Hour))
	default:
		return Profile{}, fmt.Errorf("use %s", Profiles)
	}
	if err := p.err(); err != nil {
		return Profile{}, err
	}
	out.text = text
	return out, nil
}

func ramp(from, to, over float64) Profile {
	return Profile{
		rate: func(t float64) float64 { return from + (to-from)*min(t, over)/over },
		due: func(t float64) float64 {
			up := min(t, over)
			return from*up + (to-from)*up*up/(2*over) + to*(t-up)
		},
	}
}

func burst(rate, to, every, length float64) Profile {
	inBurst := func(t float64) float64 { return math.Mod(t, every) - (every - length) }
	return Profile{
		rate: func(t float64) float64 {
			if inBurst(t) >= 0 {
				return to
			}
			return rate
		},
		due: func(t float64) float64 {
			return rate*t + (to-rate)*(math.Floor(t/every)*length+max(0, inBurst(t)))
		},
	}
}

func day(from, to, period float64) Profile {
	w := 2 * math.Pi / period
	return Profile{
		rate: func(t float64) float64 { return from + (to-from)*(1-math.Cos(w*t))/2 },
		due:  func(t float64) float64 { return from*t + (to-from)*(t-math.Sin(w*t)/w)/2 },
	}
}

// maxRate bounds a rate: higher rates are of no use, and up to it the integral stays exact.
const maxRate = 1e9

// params are the parameters after a colon. Each is removed when it is read; the remaining ones are unknown.
type params struct {
	values map[string]string
	errs   []error
}

func newParams(text string) *params {
	p := &params{values: map[string]string{}}
	for part := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(part, "=")
		if part == "" {
			continue
		}
		if _, again := p.values[name]; !ok || again {
			p.bad("%q: each parameter is NAME=VALUE, once", part)
		}
		p.values[name] = value
	}
	return p
}

func (p *params) bad(format string, a ...any) { p.errs = append(p.errs, fmt.Errorf(format, a...)) }

func (p *params) take(name string) (string, bool) {
	v, ok := p.values[name]
	delete(p.values, name)
	return v, ok
}

// number reads a number between low and high.
func (p *params) number(name string, low, high, preset float64) float64 {
	text, given := p.take(name)
	if !given {
		if math.IsNaN(preset) {
			p.bad("%s is missing", name)
		}
		return preset
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= low && v <= high) {
		p.bad("%s=%s: a number from %g to %g", name, text, low, high)
	}
	return v
}

func (p *params) rate(name string) float64     { return p.number(name, 0, maxRate, math.NaN()) }
func (p *params) positive(name string) float64 { return p.number(name, 0.001, maxRate, math.NaN()) }

// seconds reads a time; preset 0 means that the time is required.
func (p *params) seconds(name string, preset time.Duration) float64 {
	text, given := p.take(name)
	if !given && preset == 0 {
		p.bad("%s is missing", name)
	}
	if !given {
		return preset.Seconds()
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		p.bad("%s=%s: use a time such as 90s or 10m", name, text)
	}
	return d.Seconds()
}

func (p *params) err() error {
	for _, name := range slices.Sorted(maps.Keys(p.values)) {
		p.bad("there is no parameter %q", name)
	}
	return errors.Join(p.errs...)
}
