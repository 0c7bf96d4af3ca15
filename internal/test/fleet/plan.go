//go:build linux

package fleet

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Form is how much of the scenario is run.
type Form struct {
	Name  string
	Rules rules
	// Datagrams a second of the class main in normal service, over both sides; the isolated class has a tenth. Streams have a
	// twentieth each.
	Rate int
	// Peak multiplies the rate when the load has risen, except where the isolated class is measured.
	Peak float64
	// Unit stretches the phases in which nothing is waited for.
	Unit time.Duration
	// Drain is the time-out of a drain: longer than the silence that precedes it.
	Drain time.Duration
	// Records that a run has at least.
	Records uint64
	Line    string // bandwidth to the IDC
}

// forms are by name. ci is a short form that leaves the rest of a machine of two cores time for other things.
var forms = map[string]Form{
	"ci":    {Name: "ci", Rules: unscaled.by(40), Rate: 700, Peak: 1, Unit: time.Second, Drain: 20 * time.Second, Records: 80_000, Line: "200mbit"},
	"short": {Name: "short", Rules: unscaled.by(24), Rate: 2000, Peak: 1, Unit: 2 * time.Second, Drain: 25 * time.Second, Records: 500_000, Line: "200mbit"},
	"long":  {Name: "long", Rules: unscaled, Rate: 4000, Peak: 2.5, Unit: 15 * time.Second, Drain: 8 * time.Minute, Records: 5_000_000, Line: "400mbit"},
}

// Plan is every decision of a run. Nothing else is drawn: the same seed makes the same plan.
type Plan struct {
	Seed     uint64
	HashSeed uint32
	// Shares of the sources of each side. The first source of the class main over the VPN sends half of all datagrams.
	Shares map[string][]float64
	Bursts []Burst
	Churn  float64 // how often a source changes its port, in a second

	Victim  int // is killed, of the first ten servers in the order of their launch
	Adopter int // gets its volume
	Outage  time.Duration
	Upgrade []int // the order, of the ten servers that serve then
	Leave   []int // five of them, in this order; the first one is retained
	Flood   float64
}

// newPlan draws a plan.
func newPlan(seed uint64, f Form) *Plan {
	r := rand.New(rand.NewPCG(seed, 0x666c656574))
	p := &Plan{Seed: seed, HashSeed: r.Uint32(), Shares: map[string][]float64{}, Churn: 0.05 + 0.1*r.Float64(), Flood: 10}
	for _, front := range fronts {
		n := 30 + r.IntN(40)
		if front.tcp {
			n = 4 + r.IntN(6)
		}
		p.Shares[front.name] = heavyTailed(r, n)
	}
	give(p.Shares["udp-vpn"], heavyShare)
	for at := time.Duration(0); at < 300*f.Unit; {
		at += time.Duration(float64(f.Unit) * (4 + 12*r.Float64()))
		p.Bursts = append(p.Bursts, Burst{At: at, For: time.Duration(float64(f.Unit) * (0.3 + 0.7*r.Float64())), Times: 2 + 2*r.Float64()})
	}
	p.Victim = r.IntN(10)
	p.Adopter = (p.Victim + 1 + r.IntN(9)) % 10
	p.Outage = time.Duration(float64(f.Unit) * (6 + 6*r.Float64()))
	p.Upgrade = r.Perm(10)
	p.Leave = r.Perm(10)[:5]
	return p
}

// heavyTailed draws shares of a Pareto distribution: a few sources send most.
func heavyTailed(r *rand.Rand, n int) []float64 {
	shares := make([]float64, n)
	for i := range shares {
		shares[i] = math.Pow(1-r.Float64(), -1/1.2)
	}
	return shares
}

// The class main sends so much of its rate over the VPN, the class apart a tenth of it. heavyShare of the VPN's part is half of all.
const (
	vpnShare   = 0.8
	apartShare = 0.1
	heavyShare = (1 + apartShare) / 2 / vpnShare
)

// give gives the first source a share of the whole.
func give(shares []float64, share float64) {
	rest := 0.0
	for _, s := range shares[1:] {
		rest += s
	}
	shares[0] = rest * share / (1 - share)
}

// String shows the decisions, without the shares.
func (p *Plan) String() string {
	b, err := json.Marshal(struct {
		Seed, HashSeed any
		Bursts         int
		Victim         int
		Adopter        int
		Outage         string
		Upgrade, Leave []int
	}{p.Seed, p.HashSeed, len(p.Bursts), p.Victim, p.Adopter, p.Outage.String(), p.Upgrade, p.Leave})
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(b)
}
