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
	// Bursts multiply the rate by something between these two.
	Bursts [2]float64
	// Unit stretches the phases in which nothing is waited for.
	Unit time.Duration
	// Fall is the share of the load that remains after it has fallen.
	Fall float64
	// Records and Loaded are how many records a run has at least, and for how long its sources send at least.
	Records uint64
	Loaded  time.Duration
	// Average and Burst are how many datagrams a second are sent at least, over the whole time of the sources, and in the busiest
	// five seconds. A machine that cannot carry this fails the run.
	Average, Burst float64
	Line           string // bandwidth to the IDC
	// Spool has the flags of the servers' spools.
	Spool []string
}

// smallSegments let a short run ship many of them.
var smallSegments = []string{"-segment-bytes", "2MiB", "-segment-age", "3s"}

// sharedDisk has fewer, larger segments, and fewer syncs: the ten servers of a stage have one disk and two cores, with the sources,
// the load balancers and both destinations.
var sharedDisk = []string{"-segment-bytes", "8MiB", "-segment-age", "10s", "-sync", "50ms"}

// forms are by name. ci is a short form that leaves the rest of a machine of two cores time for other things.
var forms = map[string]Form{
	"ci":    {Name: "ci", Rules: unscaled.by(40), Rate: 700, Peak: 1, Bursts: [2]float64{2, 4}, Unit: time.Second, Fall: 0.3, Records: 80_000, Line: "200mbit", Spool: smallSegments},
	"short": {Name: "short", Rules: unscaled.by(24), Rate: 2000, Peak: 1, Bursts: [2]float64{2, 4}, Unit: 2 * time.Second, Fall: 0.3, Records: 500_000, Line: "200mbit", Spool: smallSegments},
	"long": {
		Name: "long", Rules: unscaled.by(8), Rate: 2000, Peak: 5.2, Bursts: [2]float64{4.2, 4.8}, Unit: 15 * time.Second, Fall: 0.75, Records: 5_000_000,
		Loaded: 15 * time.Minute, Average: 10_000, Burst: 40_000, Line: "400mbit", Spool: sharedDisk,
	},
}

// Plan contains every decision of a run. Nothing else is random: the same seed makes the same plan.
type Plan struct {
	Seed     uint64
	HashSeed uint32
	// Shares of the sources of each front.
	Shares map[string][]float64
	Bursts []Burst
	Churn  float64 // how often a source changes its port, in a second

	Victim  int // is killed, of the first ten servers in the order of their launch
	Adopter int // gets its volume
	Outage  time.Duration
	Upgrade []int // the order, of the ten servers that serve then
	Leave   []int // five of them, in this order; the first one is retained
	Flood   float64

	RelayKilled int // which of the two relays is killed; the other one ends in order
}

// newPlan draws a plan.
func newPlan(seed uint64, f Form) *Plan {
	r := rand.New(rand.NewPCG(seed, 0x666c656574))
	p := &Plan{Seed: seed, HashSeed: r.Uint32(), Shares: map[string][]float64{}, Churn: 0.05 + 0.1*r.Float64(), Flood: 10}
	for _, front := range fronts {
		n := 30 + r.IntN(40)
		switch {
		case front.tcp:
			n = 4 + r.IntN(6)
		case front.name == heavyName:
			n = 1
		}
		p.Shares[front.name] = heavyTailed(r, n)
	}
	for at := time.Duration(0); at < 300*f.Unit; {
		at += time.Duration(float64(f.Unit) * (4 + 12*r.Float64()))
		p.Bursts = append(p.Bursts, Burst{At: at, For: time.Duration(float64(f.Unit) * (0.3 + 0.7*r.Float64())), Times: f.Bursts[0] + (f.Bursts[1]-f.Bursts[0])*r.Float64()})
	}
	p.Victim = r.IntN(10)
	p.Adopter = (p.Victim + 1 + r.IntN(9)) % 10
	p.Outage = time.Duration(float64(f.Unit) * (6 + 6*r.Float64()))
	p.Upgrade = r.Perm(10)
	p.Leave = r.Perm(10)[:5]
	p.RelayKilled = r.IntN(2)
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

// The class main sends so much of its rate over the VPN, the class apart a tenth of it. One source sends heavyShare, which is half of
// all datagrams.
const (
	vpnShare   = 0.8
	apartShare = 0.1
	heavyShare = (1 + apartShare) / 2
)

// shareOf is how much the sources of a front send of the rate of the class main.
func shareOf(front string) float64 {
	switch front {
	case heavyName:
		return heavyShare
	case "udp-vpn":
		return vpnShare - heavyShare
	case "udp-internet", sprayName:
		return (1 - vpnShare) / 2
	case "udp-apart":
		return apartShare
	}
	return 0.05 // a stream
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
		RelayKilled    int
	}{p.Seed, p.HashSeed, len(p.Bursts), p.Victim, p.Adopter, p.Outage.String(), p.Upgrade, p.Leave, p.RelayKilled})
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(b)
}
