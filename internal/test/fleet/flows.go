//go:build linux

package fleet

import (
	"errors"
	"net/netip"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"
)

// deleteFlows removes the entries of a target from the flow table of a namespace: the next datagram of each is a new flow.
func deleteFlows(ns *Namespace, target netip.Addr) error {
	c, err := conntrack.Dial(&netlink.Config{NetNS: int(ns.file.Fd())})
	if err != nil {
		return err
	}
	defer c.Close()
	flows, err := c.Dump(nil)
	if err != nil {
		return err
	}
	for _, f := range flows {
		if f.TupleReply.IP.SourceAddress != target {
			continue
		}
		if err := c.Delete(f); err != nil && !errors.Is(err, unix.ENOENT) { // it has just timed out
			return err
		}
	}
	return nil
}
