package monitor

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/status"
)

// ofProcess has the metrics that exist once per process.
var ofProcess = func() *table[status.Snapshot] {
	t := &table[status.Snapshot]{}
	t.gauge("time_seconds", "The clock of this host. It should be that of Prometheus.", func(s *status.Snapshot) float64 { return float64(s.Time.UnixMilli()) / 1000 })
	t.gauge("start_time_seconds", "When the process began.", func(s *status.Snapshot) float64 { return float64(s.Started.UnixMilli()) / 1000 })
	t.gauge("ready", "Whether records of every class can be taken.", func(s *status.Snapshot) float64 { return is(s.NotReady == "") })
	t.counter("panics_total", "Panics in the program's own steps, lifecycles and hooks.", func(s *status.Snapshot) float64 { return float64(s.Panics) })
	t.gauge("drain_started_timestamp_seconds", "When the end of the process began; left out before.", func(s *status.Snapshot) float64 { return at(s.Drain.Started) })
	t.gauge("drain_deadline_timestamp_seconds", "When the report has to be written; left out before the end.", func(s *status.Snapshot) float64 { return at(s.Drain.Deadline) })
	t.gauge("drain_idle_seconds", "How long nothing has moved since the end began.", func(s *status.Snapshot) float64 { return s.Drain.Idle })
	t.gauge("drain_retained", "Whether the platform leaves the instance running because its drain is not complete.", func(s *status.Snapshot) float64 { return is(s.Drain.Retained) })
	t.gauge("adoptions", "Spools of other instances that this process has not delivered yet.", func(s *status.Snapshot) float64 { return float64(len(s.Adoptions)) })
	t.gauge("adoptions_pending_records", "Records of these spools, summed over destinations, as far as they could be read.", func(s *status.Snapshot) (n float64) {
		for _, a := range s.Adoptions {
			for _, p := range a.Pending {
				n += float64(p.Records)
			}
		}
		return n
	})
	return t
}()

// ofDisk has the metrics of a file system with spools on it.
var ofDisk = func() *table[status.Disk] {
	t := &table[status.Disk]{labels: []string{"dir"}}
	t.gauge("disk_size_bytes", "Size of the file system of a spool.", func(d *status.Disk) float64 { return known(d.Total) })
	t.gauge("disk_free_bytes", "What is left of it.", func(d *status.Disk) float64 {
		if d.Total == 0 {
			return unknown
		}
		return float64(d.Free)
	})
	t.gauge("disk_until_full_seconds", "Time until it is used up at the present rate; left out if it is not filling.", func(d *status.Disk) float64 { return optional(d.UntilFull) })
	return t
}()

var (
	buildInfo  = newFamily(gauge, "build_info", "Which program this is; always 1.", "go", "program", "revision", "system", "version")
	drainPhase = newFamily(gauge, "drain_phase", "1 for the phase that the process is in, run before its end; 0 for the others.", "phase")
	outcome    = newFamily(gauge, "drain_outcome", "1 for the outcome of the latest report.", "outcome")
	trouble    = newFamily(gauge, "trouble", "How many things need attention, by level: see the status page.", "level")
	allowance  = newFamily(counter, "network_allowance_exceeded_packets_total", "Packets that EC2 queued or dropped before the kernel saw them, by the allowance that was exceeded.", "allowance", "interface")
)

// phases are the labels of drain_phase.
var phases = append([]string{drain.PhaseRun, drain.PhaseHandOver, phaseRetained}, drain.Drain.Phases()...)

// phaseRetained is the phase between two rounds of a drain on a retained instance.
const phaseRetained = "retained"

// none has the labels of a metric without labels.
var none []*dto.LabelPair

func sendProcess(ch chan<- prometheus.Metric, s *status.Snapshot) {
	ofProcess.send(ch, none, s)
	b := &s.Build
	buildInfo.send(ch, 1, pairs([]string{"go", "program", "revision", "system", "version"}, b.Go, b.Program, b.Revision, b.System, b.Version))
	for _, p := range phases {
		drainPhase.send(ch, is(s.Drain.Phase == p), with(none, "phase", p))
	}
	if s.Drain.Outcome != "" {
		outcome.send(ch, 1, with(none, "outcome", string(s.Drain.Outcome)))
	}
	for _, l := range []status.Level{status.Warning, status.Error} {
		n := 0
		for _, t := range s.Trouble {
			if t.Level == l {
				n++
			}
		}
		trouble.send(ch, float64(n), with(none, "level", string(l)))
	}
	for i := range s.Disks {
		ofDisk.send(ch, with(none, "dir", s.Disks[i].Dir), &s.Disks[i])
	}
	sendAllowances(ch, s)
}

// sendAllowances exports each interface once: all listeners read the same counters, each counting from when it was made.
func sendAllowances(ch chan<- prometheus.Metric, s *status.Snapshot) {
	var all []status.Allowance
	for _, c := range s.Classes {
		for _, l := range c.Listeners {
			for _, a := range l.Allowances {
				i := slices.IndexFunc(all, func(b status.Allowance) bool { return b.Interface == a.Interface })
				if i < 0 {
					all = append(all, a)
					continue
				}
				b := &all[i]
				b.BandwidthIn, b.PacketRate, b.Conntrack = max(a.BandwidthIn, b.BandwidthIn), max(a.PacketRate, b.PacketRate), max(a.Conntrack, b.Conntrack)
			}
		}
	}
	for _, a := range all {
		for name, n := range map[string]uint64{"bandwidth_in": a.BandwidthIn, "packet_rate": a.PacketRate, "conntrack": a.Conntrack} {
			allowance.send(ch, float64(n), with(with(none, "interface", a.Interface), "allowance", name))
		}
	}
}
