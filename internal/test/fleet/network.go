//go:build linux

package fleet

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
)

// network is two bridges on one switch: wan between the clients and the load balancers, lan between those, the servers and what
// they talk to.
type network struct {
	sw *Namespace
}

// The addresses of the stage. Load balancers have one in each network.
var (
	wanPrefix, lanPrefix = netip.MustParsePrefix("10.250.2.0/24"), netip.MustParsePrefix("10.250.3.0/24")
	apiAddr              = lan(2)
	s3Addr               = lan(3)
	idcAddr              = lan(4)
)

func lan(host int) netip.Addr { return nth(lanPrefix, host) }
func wan(host int) netip.Addr { return nth(wanPrefix, host) }

func nth(p netip.Prefix, host int) netip.Addr {
	b := p.Addr().As4()
	b[3] = byte(host)
	return netip.AddrFrom4(b)
}

// newNetwork makes the switch.
func newNetwork() (*network, error) {
	sw, err := newNamespace("switch")
	if err != nil {
		return nil, err
	}
	// A switch has no packet filter. The setting is absent where the kernel has none for bridges.
	if err := sw.Set("net.bridge.bridge-nf-call-iptables", "0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &network{sw}, batch("ip", "-n", sw.name, "link add wan type bridge", "link add lan type bridge", "link set wan up", "link set lan up")
}

// machine makes a namespace with a cable to each network in which it has an address. An invalid address is none.
func (w *network) machine(name string, inWAN, inLAN netip.Addr) (*Namespace, error) {
	n, err := newNamespace(name)
	if err != nil {
		return nil, err
	}
	if inWAN.IsValid() {
		if err := w.plug(n, "wan", inWAN); err != nil {
			return nil, err
		}
	}
	if inLAN.IsValid() {
		if err := w.plug(n, "lan", inLAN); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// plug connects a machine to a bridge. The interface is called after the bridge in the machine, and after both at the switch.
func (w *network) plug(n *Namespace, bridge string, addr netip.Addr) error {
	if err := batch("ip", "-n", w.sw.name,
		fmt.Sprintf("link add %s type veth peer name %s netns %s", port(n, bridge), bridge, n.name),
		fmt.Sprintf("link set %s master %s up", port(n, bridge), bridge)); err != nil {
		return err
	}
	return batch("ip", "-n", n.name, fmt.Sprintf("addr add %v/24 dev %s", addr, bridge), "link set "+bridge+" up")
}

// port names the end of a machine's cable at the switch.
func port(n *Namespace, bridge string) string { return n.name + "." + bridge[:1] } // at most 15 characters

// cable connects or cuts a machine's cable. Packets sent through a cut cable are lost, without an error for the sender.
func (w *network) cable(n *Namespace, bridge string, connected bool) error {
	state := "down"
	if connected {
		state = "up"
	}
	return command("ip", "-n", w.sw.name, "link", "set", port(n, bridge), state)
}

// line limits what a machine can receive through its cable.
func (w *network) line(n *Namespace, bridge, rate string) error {
	return command("tc", "-n", w.sw.name, "qdisc", "add", "dev", port(n, bridge), "root", "tbf", "rate", rate, "burst", "256kb", "latency", "300ms")
}
