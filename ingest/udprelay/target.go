package udprelay

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Target is a receiver of datagrams.
type Target struct {
	Addr netip.AddrPort
	// Draining targets get no new datagrams. They still receive datagrams that are in transit to them.
	Draining bool
}

// MaxTargets is the most targets that an engine may have.
const MaxTargets = 1024

// ErrNoTargets means that a list has no targets. It is an error because, if the list is empty by mistake, all datagrams
// would be dropped.
var ErrNoTargets = errors.New("udprelay: the list has no targets")

// ParseTargets reads a list of targets: one a line, as HOST:PORT with an IP address, then optionally the word "draining". Empty
// lines, and text after a #, are ignored. A list with a mistake is refused as a whole; all mistakes are reported.
func ParseTargets(list []byte) ([]Target, error) {
	var targets []Target
	var errs []error
	n := 0
	for line := range bytes.Lines(list) {
		n++
		text, _, _ := strings.Cut(string(line), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		if len(errs) > 16 {
			errs = append(errs, errors.New("udprelay: there are more mistakes"))
			break
		}
		t, err := parseTarget(fields)
		if err != nil {
			errs = append(errs, fmt.Errorf("udprelay: line %d: %w", n, err))
			continue
		}
		targets = append(targets, t)
	}
	if len(errs) > 0 && len(targets) == 0 {
		return nil, errors.Join(errs...)
	}
	if err := errors.Join(append(errs, CheckTargets(targets))...); err != nil {
		return nil, err
	}
	return targets, nil
}

func parseTarget(fields []string) (t Target, err error) {
	if t.Addr, err = netip.ParseAddrPort(fields[0]); err != nil {
		return t, fmt.Errorf("%.80q is no target: want an IP address and a port, such as 192.0.2.1:514 or [2001:db8::1]:514", fields[0])
	}
	t.Addr = netip.AddrPortFrom(t.Addr.Addr().Unmap(), t.Addr.Port())
	if len(fields) > 1 {
		if t.Draining = fields[1] == "draining"; !t.Draining || len(fields) > 2 {
			return t, fmt.Errorf("%.80q after the target: only the word draining may follow", strings.Join(fields[1:], " "))
		}
	}
	return t, nil
}

// CheckTargets returns what is wrong with a list of targets: addresses to which nothing can be sent, duplicate targets, and
// ErrNoTargets.
func CheckTargets(targets []Target) error {
	if len(targets) == 0 {
		return ErrNoTargets
	}
	var errs []error
	if len(targets) > MaxTargets {
		errs = append(errs, fmt.Errorf("udprelay: %d targets; %d is the most", len(targets), MaxTargets))
		targets = targets[:MaxTargets]
	}
	seen := map[netip.AddrPort]bool{}
	for _, t := range targets {
		if len(errs) > 16 {
			errs = append(errs, errors.New("udprelay: there are more mistakes"))
			break
		}
		if err := checkAddress(t.Addr, false); err != nil {
			errs = append(errs, fmt.Errorf("udprelay: target %v: %w", t.Addr, err))
		}
		if seen[t.Addr] {
			errs = append(errs, fmt.Errorf("udprelay: target %v is there twice", t.Addr))
		}
		seen[t.Addr] = true
	}
	return errors.Join(errs...)
}

// checkAddress returns why nothing can be received at an address, or sent to it.
func checkAddress(a netip.AddrPort, local bool) error {
	ip := a.Addr()
	switch {
	case !ip.IsValid():
		return errors.New("it is no address")
	case ip.Zone() != "":
		return errors.New("an address with a zone means nothing on another host")
	case ip.Is4In6():
		return errors.New("write the IPv4 address itself")
	case a.Port() == 0:
		return errors.New("the port is missing")
	case ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return errors.New("it is the address of many hosts")
	case ip.IsUnspecified() && !local:
		return errors.New("it is the address of no host")
	}
	return nil
}

// ownAddresses are the addresses of this host; none if they cannot be read.
func ownAddresses() map[netip.Addr]bool {
	own := map[netip.Addr]bool{}
	list, _ := net.InterfaceAddrs()
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own[p.Addr().Unmap()] = true
		}
	}
	return own
}
