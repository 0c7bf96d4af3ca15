//go:build linux

package fleet

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Account says what happened to the datagrams that balancers sent to one server, as counted by kernels.
type Account struct {
	Forwarded uint64 // by the balancers and the relay
	Input     uint64 // reached the server's UDP
	Kernel    udpCounters
}

// OnTheWay are datagrams that no machine received: the server was off, or a queue between the two was full.
func (a Account) OnTheWay() uint64 { return a.Forwarded - min(a.Forwarded, a.Input) }

// InSocket are datagrams that were in a socket's buffer when its process was killed.
func (a Account) InSocket() uint64 { return a.Input - min(a.Input, a.Kernel.Arrived()) }

// countInput makes a server count what reaches its UDP.
func countInput(ns *Namespace) error {
	return commandIn(ns, fmt.Sprintf("table ip account {\n counter input {}\n chain in { type filter hook input priority 0; udp dport { %d, %d, %d } counter name input; }\n}\n",
		udpVPN, udpNet, udpApart), "nft", "-f", "-")
}

// account reads all counters of a server's datagrams.
func (s *Stage) account(srv *Server, fwd map[string]forwarded) (a Account, err error) {
	for _, f := range fwd {
		a.Forwarded += f.To[srv.addr]
	}
	out, err := output(srv.ns, "", "nft", "-j", "list", "counters", "table", "ip", "account")
	if err != nil {
		return a, err
	}
	var list struct {
		Nftables []struct{ Counter *struct{ Packets uint64 } }
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return a, err
	}
	for _, o := range list.Nftables {
		if o.Counter != nil {
			a.Input += o.Counter.Packets
		}
	}
	a.Kernel, err = srv.ns.UDP()
	return a, err
}

// forwarded reads the counters of every UDP balancer and relay, by name.
func (s *Stage) forwarded() (map[string]forwarded, error) {
	all := map[string]forwarded{}
	for _, b := range s.balancers {
		if _, ok := b.engine.(*udpEngine); ok {
			f, err := counts(b.ns)
			if err != nil {
				return nil, err
			}
			all[b.name] = f
		}
	}
	for _, r := range []*Relay{s.heavy, s.spray} {
		f, err := counts(r.ns)
		if err != nil {
			return nil, err
		}
		all[r.name] = f
	}
	return all, nil
}

// isUDP reports whether a run was sent as datagrams. Its feed is called after its balancer.
func isUDP(run string) bool { return strings.HasPrefix(run, "udp-") }

// linkDrops counts the packets that the interfaces of a machine, and the ends of its cables at the switch, have dropped.
func (s *Stage) linkDrops(n *Namespace) (drops uint64, err error) {
	for _, at := range []*Namespace{n, s.net.sw} {
		out, err := output(nil, "", "ip", "-n", at.name, "-j", "-s", "link")
		if err != nil {
			return 0, err
		}
		var links []struct {
			Name  string `json:"ifname"`
			Stats struct {
				RX, TX struct{ Dropped, Errors uint64 }
			} `json:"stats64"`
		}
		if err := json.Unmarshal(out, &links); err != nil {
			return 0, err
		}
		for _, l := range links {
			if at == n && l.Name != "lo" || strings.HasPrefix(l.Name, n.name+".") {
				drops += l.Stats.RX.Dropped + l.Stats.RX.Errors + l.Stats.TX.Dropped + l.Stats.TX.Errors
			}
		}
	}
	return drops, nil
}
