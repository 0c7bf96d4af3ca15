package deploy

import (
	"fmt"
	"math"
	"strings"
)

// fleetTraffic is the traffic for which a fleet is sized: the example of the runbook, 5 TB a day.
type fleetTraffic struct {
	bytesPerDay   float64
	record        float64 // bytes
	peak          float64 // the busiest minute as a multiple of the mean
	ratio         float64 // compressed bytes ÷ raw bytes
	vpnShare      float64 // of the bytes that arrive over the VPN
	zones         int
	outageHours   float64 // for which a volume holds what no destination takes
	catchUpHours  float64 // in which the rest of an outage must be delivered
	segmentBytes  float64
	loadBalancers int
}

// example is the group main of prod.tfvars. TestSizing compares the two.
var example = fleetTraffic{
	bytesPerDay: 5e12, record: 512, peak: 3, ratio: 0.2, vpnShare: 0.8, zones: 3, outageHours: 24, catchUpHours: 12,
	segmentBytes: 64 << 20, loadBalancers: 4,
}

// Measured throughputs of one server, from internal/docs/performance.md: two virtual cores (AMD Zen 5), which the sender and both
// destinations shared. measuredText has the words of that page.
const (
	measuredRecords = 200_000    // a second, through the whole way, with a backlog that stayed flat
	measuredDrain   = 1e9 / 6.25 // bytes a second of a drain, verified: 2^30 bytes took 6.7 s at most
)

var measuredText = []string{
	"2 virtual cores: AMD Zen 5",
	"On the Zen 5: At 200,000/s (102 MB/s, 40 s) the backlog stayed flat too",
	"(three rounds of 1 GiB in 5.9–6.7 s",
}

// usable is the part of a measured throughput that is planned with.
const usable = 0.7

// Limits and rules that the formulas contain.
const (
	spare        = 1.2 / 0.9 // of a volume: compressed copies, and a tenth left free
	diskPasses   = 2.6       // written, read, and as a fifth written once and read twice
	drainPasses  = 1.6       // of a drain: the same without the first write
	perDatagram  = 1280      // bytes that Linux charges a receive buffer for a datagram of up to 512 bytes
	hour         = 3600.0
	day          = 86400.0
	month        = 730.0 // hours
	stallTimeout = 600   // seconds in which nothing moves, and a drain ends: of the collector
	monthDays    = 30.0
)

// sizing is everything that follows.
type sizing struct {
	mean, busiest               float64 // bytes a second, of all servers
	meanRecords, busiestRecords float64
	survivors, servers          int
	each, eachBusiest           float64 // bytes a second, of one server of the smallest group
	eachBusiestRecords          float64
	volumeHour                  float64 // GiB
	volume                      float64 // GiB
	throughput, iops            float64
	iopsWanted                  float64
	buffer                      float64 // bytes that a socket must request for one second
	flowBuffer                  float64 // the same if one flow sends half of everything
	fill                        float64 // seconds until a segment is full
	objects                     float64 // a day
	objectBytes                 float64
	uplink                      float64 // bytes a second
	drain                       struct {
		backlog           float64 // raw bytes of a full volume
		disk, line, speed float64 // raw bytes a second
		time, heartbeat   float64 // seconds; the heartbeat at least
	}
}

func (t fleetTraffic) sizes() (s sizing) {
	s.mean = t.bytesPerDay / day
	s.busiest = s.mean * t.peak
	s.meanRecords, s.busiestRecords = s.mean/t.record, s.busiest/t.record
	s.survivors = int(math.Ceil(s.busiestRecords / (usable * measuredRecords)))
	for s.servers = s.survivors; s.servers-int(math.Ceil(float64(s.servers)/float64(t.zones))) < s.survivors; s.servers++ {
	}
	n := float64(s.servers)
	s.each, s.eachBusiest, s.eachBusiestRecords = s.mean/n, s.busiest/n, s.busiestRecords/n
	s.volumeHour = s.each * hour * spare / (1 << 30)
	s.volume = math.Ceil(s.volumeHour * t.outageHours)
	s.throughput = max(125, math.Ceil(s.eachBusiest*diskPasses/(1<<20)))
	s.iopsWanted = s.eachBusiest*diskPasses/(256<<10) + 2*100*2
	s.iops = max(3000, 4*s.throughput)
	s.buffer = s.eachBusiestRecords * perDatagram / 2
	s.flowBuffer = s.busiestRecords / 2 * perDatagram / 2
	s.fill = t.segmentBytes / s.each
	s.objects, s.objectBytes = t.bytesPerDay/t.segmentBytes, t.segmentBytes*t.ratio
	s.uplink = t.uplink(t.outageHours, t.catchUpHours)
	s.drain.backlog = s.each * hour * t.outageHours
	s.drain.disk = s.throughput * (1 << 20) / drainPasses
	s.drain.line = s.uplink / n / t.ratio
	s.drain.speed = min(s.drain.disk, s.drain.line, measuredDrain)
	s.drain.time = s.drain.backlog / s.drain.speed
	s.drain.heartbeat = max(2*stallTimeout, math.Ceil(s.drain.time/100))
	return s
}

// uplink returns the rate that the line to the IDC must carry after an outage of some hours, until the backlog is delivered.
func (t fleetTraffic) uplink(outage, catchUp float64) float64 {
	return t.bytesPerDay / day * t.ratio * (1 + outage/catchUp)
}

// table is a table of Markdown.
type table struct{ b strings.Builder }

func newTable(head ...string) *table {
	t := &table{}
	t.row(head...)
	t.row(strings.Split(strings.Repeat("---,", len(head)-1)+"---", ",")...)
	return t
}

func (t *table) row(cells ...string) { t.b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }

// num prints a number with separators, and as many decimals.
func num(x float64, decimals int) string {
	s := fmt.Sprintf("%.*f", decimals, x)
	whole, rest, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		whole += "." + rest
	}
	return whole
}

func mb(x float64) string   { return num(x/1e6, 1) + " MB/s" }
func mbit(x float64) string { return num(x*8/1e6, 0) + " Mbit/s" }
func rate(x float64) string { return num(x, 0) + "/s" }

// sizingTable is the table of sizes.
func (t fleetTraffic) sizingTable() string {
	s := t.sizes()
	b := newTable("what", "formula", "example")
	b.row("mean rate", "r = D ÷ 86,400 s", mb(s.mean)+", "+rate(s.meanRecords))
	b.row("busiest minute", "r·p", mb(s.busiest)+", "+rate(s.busiestRecords))
	b.row("servers that must be left when a zone fails", "k = ⌈(r·p ÷ record) ÷ (0.7 × measured)⌉", num(float64(s.survivors), 0))
	b.row("servers, `min`", "smallest n with n − ⌈n ÷ zones⌉ ≥ k", num(float64(s.servers), 0))
	b.row("one server: mean, busiest minute", "r ÷ n, r·p ÷ n", mb(s.each)+", "+mb(s.eachBusiest)+" ("+rate(s.eachBusiestRecords)+")")
	b.row("volume for each hour without any destination", "v = r ÷ n × 3,600 s × 1.2 ÷ 0.9", num(s.volumeHour, 1)+" GiB")
	b.row("volume", "⌈v × hours⌉", num(s.volume, 0)+" GiB for "+num(t.outageHours, 0)+" h")
	b.row("throughput of gp3", "max(125, ⌈r·p ÷ n × 2.6⌉)", num(s.throughput, 0)+" MiB/s ("+num(math.Ceil(s.eachBusiest*diskPasses/(1<<20)), 0)+" needed)")
	b.row("IOPS of gp3", "max(3,000, 4 × throughput)", num(s.iops, 0)+" ("+num(s.iopsWanted, 0)+" needed)")
	b.row("receive buffer of a socket, `net.core.rmem_max`", "(r·p ÷ n ÷ record) × 1 s × 1,280 B ÷ 2", num(math.Ceil(s.buffer/(1<<20)), 0)+" MiB")
	b.row("the same if one flow is half of all datagrams", "(r·p ÷ 2 ÷ record) × 1 s × 1,280 B ÷ 2", num(math.Ceil(s.flowBuffer/(1<<20)), 0)+" MiB")
	b.row("a segment of "+num(t.segmentBytes/(1<<20), 0)+" MiB is full after", "`segment-bytes` ÷ (r ÷ n)", num(s.fill, 1)+" s")
	b.row("objects a day at each destination, and their size", "D ÷ `segment-bytes`, `segment-bytes` × c", num(s.objects, 0)+", "+num(s.objectBytes/(1<<20), 1)+" MiB")
	b.row("uplink to the IDC", "U = r·c × (1 + hours ÷ hours to catch up)", mb(s.uplink)+" = "+mbit(s.uplink))
	b.row("backlog of a full volume", "r ÷ n × 3,600 s × hours", num(s.drain.backlog/1e9, 0)+" GB")
	b.row("speed of its drain", "min(disk ÷ 1.6, U ÷ n ÷ c, measured)", "min("+num(s.drain.disk/1e6, 0)+", "+num(s.drain.line/1e6, 0)+", "+num(measuredDrain/1e6, 0)+") = "+num(s.drain.speed/1e6, 0)+" MB/s")
	b.row("its time, below `drain_timeout`", "backlog ÷ speed", num(s.drain.time/hour, 1)+" h")
	b.row("heartbeat of the hook, at least", "max(2 × 600 s, time ÷ 100)", num(s.drain.heartbeat, 0)+" s")
	return b.b.String()
}

// uplinkTable returns the table of the rates that the line to the IDC must carry after outages.
func (t fleetTraffic) uplinkTable() string {
	catchUp := []float64{6, 12, 24, 48}
	head := []string{"outage"}
	for _, k := range catchUp {
		head = append(head, "caught up in "+num(k, 0)+" h")
	}
	b := newTable(head...)
	for _, h := range []float64{1, 8, 24} {
		row := []string{num(h, 0) + " h"}
		for _, k := range catchUp {
			row = append(row, mbit(t.uplink(h, k)))
		}
		b.row(row...)
	}
	return b.b.String()
}
