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

// ruleset is what the table says: see write.
type ruleset struct {
	table   string
	listen  []netip.AddrPort
	targets []netip.AddrPort
	// ports are the source ports that datagrams get; count 0 leaves theirs.
	first, count int
	// create refuses a table that is there: another program has made it.
	create bool
}

// families are the address families, in the words of nft.
var families = []struct {
	is                 func(netip.Addr) bool
	name, ip, typeName string
}{
	{netip.Addr.Is4, "4", "ip", "ipv4_addr"},
	{netip.Addr.Is6, "6", "ip6", "ipv6_addr"},
}

// last is the greatest priority that nft takes.
const last = math.MaxInt32

// The names of counters. That of a target is outPrefix and the target's address.
const (
	inCounter       = "in"
	noTargetCounter = "no_target"
	outPrefix       = "out_"
)

// write writes the commands that make the table say this, for nft -f -. The kernel carries them out as one transaction: each
// datagram meets the rules of before or of after. Whatever can be there already is added once more, which changes nothing, so
// that counters go on.
//
// A datagram for the relay is counted, exempted from connection tracking, which would remember one connection a port, and gets
// the address of the next target. After routing it is counted once more, under the target. That rule has a second effect: it
// mentions the state of connections, and only for such a rule the kernel puts fragments together before all others. Without it
// the second fragment of a datagram, which has no ports, would match no rule. It comes after the rules of all other tables, any of
// which can drop a datagram.
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

// writeSpread writes the chains of one family. Each target has a chain of its own, by its place in the list; chains that are
// left over from a longer list stay, and are not used.
//
// The last rule is for the datagrams during whose evaluation the kernel replaces the rules. It goes on with the rules of before, chains
// included, but the elements of their maps are already gone: without that rule, the datagram would be delivered to this host.
//
// nft writes the upper half of a number into a port: hence the shift. A map from numbers to ports would do as well, but takes
// seconds to load.
//
// A datagram may have no checksum: 0 is in its place. When nft changes a port, it adjusts the checksum, even that which is not there,
// and the receiver would drop the datagram. So there are two rules for each change, and that for datagrams without a checksum puts the
// 0 back.
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

// counterOf is the name of a target's counter. Names have no colons.
func counterOf(a netip.AddrPort) string {
	return outPrefix + strings.ReplaceAll(a.Addr().String(), ":", "-") + "_" + strconv.Itoa(int(a.Port()))
}

// targetOf is the target of a counter; false for a counter of none.
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
