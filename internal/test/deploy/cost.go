package deploy

import "math"

// price is what Amazon charges for a unit. No price could be verified with Amazon when this was written, so the runbook names
// each as an assumption that the reader replaces.
type price struct {
	name, unit string
	usd        float64
	page       string
}

// The prices of the example, US dollars in eu-central-1.
var prices = map[string]price{
	"nlcu":      {"network load balancer, capacity unit", "NLCU-hour", 0.006, elbPage},
	"nlb":       {"network load balancer", "hour", 0.027, elbPage},
	"server":    {"c7g.2xlarge, on demand", "hour", 0.33, "https://aws.amazon.com/ec2/pricing/on-demand/"},
	"gp3":       {"gp3, 3,000 IOPS and 125 MiB/s included", "GB-month", 0.0952, "https://aws.amazon.com/ebs/pricing/"},
	"put":       {"S3 PUT", "thousand", 0.0054, s3Page},
	"get":       {"S3 GET and HEAD", "thousand", 0.00043, s3Page},
	"storage":   {"S3 Standard, first 50 TB", "GB-month", 0.0245, s3Page},
	"internet1": {"transfer out to the internet, also through a VPN, first 10 TB", "GB", 0.09, transferPage},
	"internet2": {"the next 40 TB", "GB", 0.085, transferPage},
	"zone":      {"transfer between zones, each direction", "GB", 0.01, transferPage},
	"vpn":       {"VPN connection", "hour", 0.05, "https://aws.amazon.com/vpn/pricing/"},
}

const (
	elbPage      = "https://aws.amazon.com/elasticloadbalancing/pricing/"
	s3Page       = "https://aws.amazon.com/s3/pricing/"
	transferPage = "https://aws.amazon.com/ec2/pricing/on-demand/#Data_Transfer"
)

// order is that of the tables.
var order = []string{"nlcu", "nlb", "server", "gp3", "put", "get", "storage", "internet1", "internet2", "zone", "vpn"}

// tunnel is the bandwidth of a tunnel of AWS Site-to-Site VPN, in bits a second.
const tunnel = 1.25e9

// used is how much of each price a month takes.
func (t fleetTraffic) used() map[string]float64 {
	s := t.sizes()
	gb := t.bytesPerDay * monthDays / 1e9
	out := gb * t.ratio
	requests := s.objects * monthDays / 1000 * 3 // an object, at most one manifest, at most one note of the other chain
	vpns := math.Ceil(s.busiest * t.vpnShare * 8 / (0.8 * tunnel))
	return map[string]float64{
		"nlcu": s.mean * hour / 1e9 * month, "nlb": float64(t.loadBalancers) * month, "server": float64(s.servers) * month,
		"gp3": s.volume * float64(s.servers), "put": requests, "get": requests, "storage": out,
		"internet1": min(out, 10_000), "internet2": max(0, out-10_000),
		"zone": gb * float64(t.zones-1) / float64(t.zones) * 2, "vpn": vpns * month,
	}
}

// costFormulas say how used is computed.
var costFormulas = map[string]string{
	"nlcu":      "r × 3,600 s ÷ 1 GB × 730 h",
	"nlb":       "load balancers × 730 h",
	"server":    "n × 730 h",
	"gp3":       "n × volume",
	"put":       "objects × 30 d × 3 (object, manifest, head), at most",
	"get":       "as many HEADs",
	"storage":   "D·c × 30 d, for each month that is kept",
	"internet1": "D·c × 30 d to the IDC, the first 10 TB",
	"internet2": "the rest of it",
	"zone":      "D × 30 d × (zones − 1) ÷ zones, out and in",
	"vpn":       "⌈r·p × share of the VPN ÷ (0.8 × 1.25 Gbit/s)⌉ × 730 h",
}

// costTable is the cost of a month.
func (t fleetTraffic) costTable() string {
	used, sum := t.used(), 0.0
	b := newTable("item", "formula", "units", "US$ a unit (assumed)", "US$ a month")
	for _, k := range order {
		p := prices[k]
		cost := used[k] * p.usd
		sum += cost
		b.row("["+p.name+"]("+p.page+")", costFormulas[k], num(used[k], 0)+" "+p.unit, trim(p.usd), num(cost, 0))
	}
	b.row("**sum**", "", "", "", "**"+num(sum, 0)+"**")
	return b.b.String()
}

// trim prints a price with all of its digits.
func trim(x float64) string {
	for d := 2; ; d++ {
		if s := num(x, d); math.Abs(math.Round(x*math.Pow10(d))-x*math.Pow10(d)) < 1e-9 {
			return s
		}
	}
}
