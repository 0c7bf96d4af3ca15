package shape

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"strings"
)

// Spread says which share of a load each source sends. The zero value is even.
type Spread struct {
	text  string
	s     float64
	first float64
}

// Spreads are the forms that ParseSpread accepts.
const Spreads = "even or zipf:s=N,first=SHARE"

// String returns the form that ParseSpread accepts.
func (s Spread) String() string {
	if s.text == "" {
		return "even"
	}
	return s.text
}

// ParseSpread parses a spread.
//
//   - even: all sources send equally many lines.
//   - zipf: source i (from 1) sends in proportion to 1/i^s (default 1): few sources send most lines, as with real clients. With
//     first, source 1 sends that share of everything, for example 0.5, and the others share the rest.
func ParseSpread(text string) (Spread, error) {
	kind, rest, _ := strings.Cut(text, ":")
	p := newParams(rest)
	out := Spread{text: text}
	switch kind {
	case "even":
		out = Spread{}
	case "zipf":
		out.s, out.first = p.number("s", 0.1, 5, 1), p.number("first", 0, 0.999, 0)
	default:
		return Spread{}, fmt.Errorf("use %s", Spreads)
	}
	if err := p.err(); err != nil {
		return Spread{}, err
	}
	return out, nil
}

// Picker chooses sources. It is not safe for concurrent use.
type Picker struct {
	n    int
	next int
	upTo []float64 // cumulative shares; nil: sources take turns
	rnd  *rand.Rand
}

// Picker returns a Picker for n sources. The same seed gives the same choices.
func (s Spread) Picker(n int, seed uint64) *Picker {
	p := &Picker{n: n, rnd: rand.New(rand.NewPCG(seed, 2))}
	if s.text == "" || n == 1 {
		return p
	}
	weights, sum := make([]float64, n), 0.0
	for i := range weights {
		weights[i] = math.Pow(float64(i+1), -s.s)
		sum += weights[i]
	}
	if s.first > 0 {
		rest := sum - weights[0]
		weights[0] = rest * s.first / (1 - s.first)
		sum = rest + weights[0]
	}
	at := 0.0
	for _, w := range weights {
		at += w / sum
		p.upTo = append(p.upTo, at)
	}
	p.upTo[n-1] = 1
	return p
}

// Next returns the number, from 0, of the source that sends next.
func (p *Picker) Next() int {
	if p.upTo == nil {
		p.next++
		return (p.next - 1) % p.n
	}
	return sort.SearchFloat64s(p.upTo, p.rnd.Float64())
}
