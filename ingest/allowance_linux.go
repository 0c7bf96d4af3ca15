package ingest

import (
	"bytes"
	"net"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtool(8)'s interface to drivers, linux/ethtool.h.
const (
	statsSet  = 1  // ETH_SS_STATS
	stringLen = 32 // ETH_GSTRING_LEN
	// statsSpare is for statistics that a driver adds between two calls: the kernel writes as many as there are then,
	// however long the buffer is.
	statsSpare = 1024
)

// findEvery is how often the process looks for interfaces: some are attached while the instance runs.
const findEvery = time.Minute

// nics are the interfaces of this machine whose driver counts allowances.
type nics struct {
	fd    int // a socket to ask through; -1 before the first use
	found time.Time
	names map[string][]string // statistics by interface
}

func newNICs() *nics { return &nics{fd: -1} }

// read returns the counters of every interface that has them. It omits counters that it cannot read: they are unknown,
// not 0.
func (n *nics) read() (all []Allowance) {
	if n.found.IsZero() || time.Since(n.found) >= findEvery {
		n.found = time.Now()
		n.find()
	}
	for name, stats := range n.names {
		values, err := n.values(name, len(stats))
		if err != nil || len(values) != len(stats) {
			n.found = time.Time{} // gone, or changed
			continue
		}
		if a, ok := allowanceOf(name, stats, values); ok {
			all = append(all, a)
		}
	}
	return all
}

// find looks for interfaces that are driven by ena.
func (n *nics) find() {
	n.names = make(map[string][]string)
	interfaces, err := net.Interfaces()
	if err != nil {
		return
	}
	if n.fd < 0 {
		if n.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			n.fd = -1
			return
		}
	}
	for _, i := range interfaces {
		info, err := unix.IoctlGetEthtoolDrvinfo(n.fd, i.Name)
		if err != nil || unix.ByteSliceToString(info.Driver[:]) != "ena" {
			continue
		}
		if stats, err := n.strings(i.Name); err == nil {
			n.names[i.Name] = stats
		}
	}
}

// strings returns the names of an interface's statistics.
func (n *nics) strings(name string) ([]string, error) {
	info := struct { // struct ethtool_sset_info
		cmd, reserved uint32
		mask          uint64
		size          uint32
	}{cmd: unix.ETHTOOL_GSSET_INFO, mask: 1 << statsSet}
	if err := n.ask(name, unsafe.Pointer(&info)); err != nil {
		return nil, err
	}
	const header = 12 // struct ethtool_gstrings: cmd, string_set, len
	b := make([]uint32, (header+(int(info.size)+statsSpare)*stringLen)/4)
	b[0], b[1], b[2] = unix.ETHTOOL_GSTRINGS, statsSet, info.size
	if err := n.ask(name, unsafe.Pointer(&b[0])); err != nil {
		return nil, err
	}
	size := min(int(b[2]), int(info.size)+statsSpare)
	data := unsafe.Slice((*byte)(unsafe.Pointer(&b[0])), len(b)*4)[header:]
	names := make([]string, size)
	for i := range names {
		s, _, _ := bytes.Cut(data[i*stringLen:][:stringLen], []byte{0})
		names[i] = string(s)
	}
	return names, nil
}

// values returns an interface's statistics. size is how many there were when their names were read.
func (n *nics) values(name string, size int) ([]uint64, error) {
	b := make([]uint64, 1+size+statsSpare) // struct ethtool_stats: cmd and n_stats, 32 bits each, and the values
	header := (*[2]uint32)(unsafe.Pointer(&b[0]))
	header[0], header[1] = unix.ETHTOOL_GSTATS, uint32(size)
	if err := n.ask(name, unsafe.Pointer(&b[0])); err != nil {
		return nil, err
	}
	return b[1:][:min(int(header[1]), size+statsSpare)], nil
}

// ask passes a request to the driver of an interface, which answers in place (SIOCETHTOOL, netdevice(7)).
func (n *nics) ask(name string, request unsafe.Pointer) error {
	var r struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(r.name[:unix.IFNAMSIZ-1], name)
	r.data = request
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(n.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return os.NewSyscallError("ioctl SIOCETHTOOL", errno)
	}
	return nil
}
