//go:build linux

package fleet

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
)

// udpEngine spreads datagrams with nftables and conntrack. Two tables: nlb is replaced as a whole whenever the targets change,
// account counts and is never replaced.
type udpEngine struct {
	ns    *Namespace
	rules rules
	seed  uint32
	in    netip.AddrPort
	port  uint16 // of the targets
}

// newUDPEngine loads the counters, one for each address that a target may ever have.
func newUDPEngine(ns *Namespace, r rules, seed uint32, in netip.AddrPort, port uint16, ever []netip.Addr) (*udpEngine, error) {
	e := &udpEngine{ns, r, seed, in, port}
	if err := ns.Set("net.ipv4.ip_forward", "1"); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "table ip account {\n counter in {}\n counter notarget {}\n")
	var pairs []string
	for _, a := range ever {
		fmt.Fprintf(&b, " counter %s {}\n", counterName(a))
		pairs = append(pairs, fmt.Sprintf("%v : %q", a, counterName(a)))
	}
	fmt.Fprintf(&b, " chain in { type filter hook prerouting priority -250; ip daddr %v udp dport %d counter name in; }\n", in.Addr(), in.Port())
	// A datagram without a target is still addressed to the balancer itself.
	fmt.Fprintf(&b, " chain local { type filter hook input priority 0; udp dport %d counter name notarget drop; }\n", in.Port())
	fmt.Fprintf(&b, " chain out { type filter hook postrouting priority 300; udp dport %d counter name ip daddr map { %s }; }\n}\n", port, strings.Join(pairs, ", "))
	return e, commandIn(ns, b.String(), "nft", "-f", "-")
}

func counterName(a netip.Addr) string { return "t" + strings.ReplaceAll(a.String(), ".", "_") }

// use replaces the table nlb in one transaction.
func (e *udpEngine) use(targets []netip.Addr) error {
	var b strings.Builder
	b.WriteString("table ip nlb\ndelete table ip nlb\n")
	fmt.Fprintf(&b, "table ip nlb {\n ct timeout u {\n  protocol udp;\n  l3proto ip;\n  policy = { unreplied : %[1]d, replied : %[1]d };\n }\n", int(e.rules.Idle.Seconds()))
	fmt.Fprintf(&b, " chain raw { type filter hook prerouting priority -200; policy accept;\n  ip daddr %v udp dport %d ct timeout set \"u\";\n }\n", e.in.Addr(), e.in.Port())
	b.WriteString(" chain pre { type nat hook prerouting priority -100; policy accept;\n")
	if len(targets) > 0 {
		fmt.Fprintf(&b, "  ip daddr %v udp dport %d dnat to jhash ip saddr . udp sport . ip daddr . udp dport mod %d seed %#x map { ", e.in.Addr(), e.in.Port(), buckets, e.seed)
		for i := range buckets { // jhash … mod N scales the hash, and a map of N targets would be uneven
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%d : %v", i, targets[i%len(targets)])
		}
		fmt.Fprintf(&b, " }:%d\n", e.port)
	}
	b.WriteString(" }\n}\n")
	return commandIn(e.ns, b.String(), "nft", "-f", "-")
}

// end implements engine.
func (e *udpEngine) end(target netip.Addr, _ bool) error { return deleteFlows(e.ns, target) }

// close implements engine: the tables go with the namespace.
func (e *udpEngine) close() error { return nil }

// forwarded are the counts of a balancer, or of a relay's machine.
type forwarded struct {
	In, NoTarget   uint64
	Aimed, Refused uint64 // of a relay: see Relay.count
	To             map[netip.Addr]uint64
}

// Out is the sum of To.
func (f forwarded) Out() (sum uint64) {
	for _, n := range f.To {
		sum += n
	}
	return sum
}

// counts reads the counters of a machine. Each packet is one datagram: nothing here puts several into one.
func counts(ns *Namespace) (f forwarded, err error) {
	out, err := output(ns, "", "nft", "-j", "list", "counters", "table", "ip", "account")
	if err != nil {
		return f, err
	}
	var list struct {
		Nftables []struct {
			Counter *struct {
				Name    string
				Packets uint64
			}
		}
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return f, fmt.Errorf("nft -j: %w", err)
	}
	f.To = map[netip.Addr]uint64{}
	for _, o := range list.Nftables {
		switch c := o.Counter; {
		case c == nil:
		case c.Name == "in":
			f.In = c.Packets
		case c.Name == "notarget":
			f.NoTarget = c.Packets
		case c.Name == "aimed":
			f.Aimed = c.Packets
		case c.Name == "refused":
			f.Refused = c.Packets
		default:
			a, err := netip.ParseAddr(strings.ReplaceAll(c.Name[1:], "_", "."))
			if err != nil {
				return f, err
			}
			if c.Packets > 0 {
				f.To[a] = c.Packets
			}
		}
	}
	return f, nil
}
