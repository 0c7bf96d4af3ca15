package udprelay

import (
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ruleset is the content of the table: see write.
type ruleset struct {
	table   string
	listen  []netip.AddrPort
	targets []netip.AddrPort
	// first and count are the source ports that datagrams get; with count 0 they keep their own.
	first, count int
	// create makes the commands fail if the table exists, because another program has made it.
	create bool
}

// families are the address families, with their names in nft.
var families = []struct {
	is                 func(netip.Addr) bool
	name, ip, typeName string
}{
	{netip.Addr.Is4, "4", "ip", "ipv4_addr"},
	{netip.Addr.Is6, "6", "ip6", "ipv6_addr"},
}

// last is the greatest priority that nft accepts.
const last = math.MaxInt32

// The names of counters. A target's counter is named outPrefix and the target's address.
const (
	inCounter       = "in"
	noTargetCounter = "no_target"
	outPrefix       = "out_"
)

// write writes the commands, for nft -f -, that give the table this content. The kernel executes them as one transaction: for
// each datagram, either all old rules or all new rules apply. Objects that may exist already are added again, which changes
// nothing, so counters continue.
//
// A datagram for the relay is counted, exempted from connection tracking, which would track one connection per port, and gets the
// address of the next target. After routing it is counted again, for the target. The rule for that comes after the rules of all
// other tables, since any of them can drop a datagram. It has a second effect: because it mentions the state of connections, the
// kernel reassembles fragments before it applies any rule. Otherwise the second fragment of a datagram, which has no ports, would
// match no rule.
func (r *ruleset) write(w io.Writer) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	t := "inet " + r.table
	if r.create {
		line("create table %s", t)
	}
	line("add table %s", t)
	line("add counter %s %s", t, inCounter)
	line("add counter %s %s", t, noTargetCounter)
	line("add chain %s before { type filter hook prerouting priority -300; policy accept; }", t)
	line("add chain %s after { type filter hook postrouting priority %d; policy accept; }", t, last)
	for _, chain := range []string{"before", "after"} {
		line("flush chain %s %s", t, chain)
	}
	for _, f := range families {
		line("add chain %s spread%s", t, f.name)
		line("flush chain %s spread%s", t, f.name)
		line("add map %s out%s { type %s . inet_service : counter; }", t, f.name, f.typeName)
		r.writeSpread(line, t, f.name, f.ip, slices.DeleteFunc(slices.Clone(r.targets), func(a netip.AddrPort) bool { return !f.is(a.Addr()) }))
		line("add rule %s after ct state untracked counter name %s daddr . udp dport map @out%s", t, f.ip, f.name)
	}
	for _, l := range r.listen {
		for _, f := range families {
			if f.is(l.Addr()) {
				to := f.ip + " daddr " + l.Addr().String()
				if l.Addr().IsUnspecified() {
					to = "meta nfproto ipv" + f.name + " fib daddr type local"
				}
				line("add rule %s before %s udp dport %d counter name %s notrack goto spread%s", t, to, l.Port(), inCounter, f.name)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeSpread writes the chains of one family. Each target has its own chain, by its place in the list; chains that remain
// from a longer list are not used.
//
// The last rule is for datagrams that the kernel is evaluating while it replaces the rules. It continues with the old rules and
// chains, but the elements of their maps are already gone: without the last rule, the datagram would be delivered to this host.
//
// nft writes the upper half of a number into a port: hence the shift. A map from numbers to ports would also work, but takes
// seconds to load.
//
// A datagram may have no checksum, which is written as 0. When nft changes a port, it adjusts the checksum even if it is 0, and the
// receiver would drop the datagram. So there are two rules for each change: the one for datagrams without a checksum restores the
// 0.
func (r *ruleset) writeSpread(line func(string, ...any), t, family, ip string, targets []netip.AddrPort) {
	if len(targets) == 0 {
		line("add rule %s spread%s counter name %s drop", t, family, noTargetCounter)
		return
	}
	if r.count > 0 {
		port := fmt.Sprintf("udp sport set (numgen inc mod %d offset %d) << 16", r.count, r.first)
		line("add rule %s spread%s udp checksum != 0 %s", t, family, port)
		line("add rule %s spread%s udp checksum 0 %s udp checksum set 0", t, family, port)
	}
	var verdicts []string
	for i, a := range targets {
		chain := "to" + family + "_" + strconv.Itoa(i)
		line("add chain %s %s", t, chain)
		line("flush chain %s %s", t, chain)
		address := fmt.Sprintf("%s daddr set %s udp dport set %d", ip, a.Addr(), a.Port())
		line("add rule %s %s udp checksum 0 %s udp checksum set 0 accept", t, chain, address)
		line("add rule %s %s %s accept", t, chain, address)
		line("add counter %s %s", t, counterOf(a))
		line("add element %s out%s { %s . %d : \"%s\" }", t, family, a.Addr(), a.Port(), counterOf(a))
		verdicts = append(verdicts, strconv.Itoa(i)+" : goto "+chain)
	}
	line("add rule %s spread%s numgen inc mod %d vmap { %s }", t, family, len(targets), strings.Join(verdicts, ", "))
	line("add rule %s spread%s goto to%s_0", t, family, family)
}

// counterOf returns the name of a target's counter. Names must not contain colons.
func counterOf(a netip.AddrPort) string {
	return outPrefix + strings.ReplaceAll(a.Addr().String(), ":", "-") + "_" + strconv.Itoa(int(a.Port()))
}

// targetOf returns the target of a counter; false for a counter of no target.
func targetOf(name string) (netip.AddrPort, bool) {
	rest, ok := strings.CutPrefix(name, outPrefix)
	if !ok {
		return netip.AddrPort{}, false
	}
	addr, port, _ := strings.Cut(rest, "_")
	ip, err := netip.ParseAddr(strings.ReplaceAll(addr, "-", ":"))
	p, perr := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(ip, uint16(p)), err == nil && perr == nil
}
