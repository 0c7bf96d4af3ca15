package shape

import (
	"math"
	"strings"
	"testing"
	"time"
)

// TestProfiles: each profile has the rates that it promises, and Due returns their integral.
func TestProfiles(t *testing.T) {
	for text, want := range map[string]map[time.Duration]float64{
		"constant:rate=20":                           {0: 20, time.Hour: 20},
		"ramp:from=1000,to=5000,over=4s":             {0: 1000, 2 * time.Second: 3000, 4 * time.Second: 5000, time.Hour: 5000},
		"burst:rate=100,to=4000,every=10s,length=2s": {0: 100, 7 * time.Second: 100, 8 * time.Second: 4000, 9 * time.Second: 4000, 10 * time.Second: 100, 19 * time.Second: 4000},
		"day:from=10,to=110":                         {0: 10, 6 * time.Hour: 60, 12 * time.Hour: 110, 24 * time.Hour: 10},
		"day:from=0,to=50,period=20s":                {0: 0, 10 * time.Second: 50, 20 * time.Second: 0},
	} {
		p, err := ParseProfile(text)
		if err != nil {
			t.Error(err)
			continue
		}
		if p.String() != text || !p.Paced() {
			t.Errorf("%s is %s", text, p)
		}
		for at, rate := range want {
			if got := p.Rate(at); math.Abs(got-rate) > 0.01 {
				t.Errorf("%s: %g/s at %v, want %g", text, got, at, rate)
			}
		}
		const step = time.Millisecond
		sum := 0.0
		for at := time.Duration(0); at < 25*time.Second; at += step {
			sum += p.Rate(at+step/2) * step.Seconds()
			if got := p.Due(at + step); math.Abs(got-sum) > 1+sum/1000 {
				t.Fatalf("%s: %g are due at %v; the rate's integral is %g", text, got, at+step, sum)
			}
		}
	}
	if p := Constant(0); p.Paced() || p.Due(time.Hour) != 0 || p.String() != "as fast as possible" {
		t.Errorf("no rate: %s, %g", p, p.Due(time.Hour))
	}
}

// TestRefused: every mistake is reported.
func TestRefused(t *testing.T) {
	for text, want := range map[string][]string{
		"sine:rate=3":                             {"use constant:"},
		"constant":                                {"rate is missing"},
		"constant:rate=-1":                        {"rate=-1"},
		"constant:rate=NaN":                       {"rate=NaN"},
		"ramp:from=x,over=0s,upto=3":              {"from=x", "to is missing", "over=0s", `"upto"`},
		"burst:rate=1,to=2,every=5s,length=5s":    {"shorter"},
		"day:from=1,to=2,period=1":                {"period=1"},
		"constant:rate=1,rate=2":                  {"once"},
		"day:from=1,to=2,period=1s,period=2s,x,,": {"once", `"x"`},
	} {
		_, err := ParseProfile(text)
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v lacks %q", text, err, w)
			}
		}
	}
	for _, text := range []string{"", "pareto", "zipf:s=x", "zipf:first=1", "even:s=1"} {
		if _, err := ParseSpread(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

// TestSpread: the shares are as requested, and the same seed repeats them.
func TestSpread(t *testing.T) {
	const n, draws = 100, 200_000
	shares := func(text string) []float64 {
		s, err := ParseSpread(text)
		if err != nil {
			t.Fatal(err)
		}
		a, b, counts := s.Picker(n, 7), s.Picker(n, 7), make([]float64, n)
		for range draws {
			i := a.Next()
			if i != b.Next() {
				t.Fatalf("%s: the same seed chooses otherwise", text)
			}
			counts[i] += 1. / draws
		}
		return counts
	}
	for _, c := range []struct {
		text  string
		index int
		share float64
	}{
		{"even", 0, 0.01},
		{"even", 99, 0.01},
		{"zipf", 0, 0.1928},
		{"zipf", 9, 0.01928},
		{"zipf:s=2", 0, 0.6117},
		{"zipf:s=1,first=0.5", 0, 0.5},
		{"zipf:s=1,first=0.5", 1, 0.5 / 4.187 / 2},
	} {
		if got := shares(c.text)[c.index]; math.Abs(got-c.share) > 0.05*c.share {
			t.Errorf("%s: source %d has a share of %.4f, want %.4f", c.text, c.index, got, c.share)
		}
	}
}
