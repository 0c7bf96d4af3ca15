package udprelay

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// portSet has the sockets that a sender sends from. They are plain descriptors: nothing is read from them, and thousands of
// net.Conn would each be registered with the poller.
type portSet struct {
	family int // AF_INET6 for both families, AF_INET if there is no IPv6
	fds    []int
}

// spare is how many descriptors the process needs besides the ports.
const spare = 128

// room raises the soft limit of descriptors as needed, or returns which hard limit prevents that.
func room(need int) error {
	need += spare
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	if l.Cur >= uint64(need) {
		return nil
	}
	hard := l.Max
	l.Cur, l.Max = uint64(need), max(hard, uint64(need)) // beyond the hard limit it takes CAP_SYS_RESOURCE
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("%d file descriptors are needed, one for each source port, and the hard limit is %d: raise LimitNOFILE= or ulimit -Hn, or use at most %d ports: %w",
			need, hard, max(0, int(hard)-spare), os.NewSyscallError("setrlimit", err))
	}
	return nil
}

// open opens the ports one by one, and after each closes one of those that were open, so only one more descriptor is needed.
// It omits a port that another socket has.
func (p *portSet) open(ports senderPorts) error {
	old := p.fds
	p.fds = nil
	defer func() {
		for _, fd := range old {
			unix.Close(fd)
		}
	}()
	if ports.count == 0 {
		ports = senderPorts{count: 1}
	}
	var failed error
	for i := range ports.count {
		fd, err := p.bind(ports.first + i*ports.step)
		if err != nil {
			failed = err
			continue
		}
		p.fds = append(p.fds, fd)
		if len(old) > 0 {
			unix.Close(old[0])
			old = old[1:]
		}
	}
	if len(p.fds) == 0 {
		p.fds, old = old, nil // keep the former ports rather than none
		return failed
	}
	if failed != nil && len(p.fds) < ports.count*3/4 {
		return fmt.Errorf("only %d of %d: %w", len(p.fds), ports.count, failed)
	}
	return nil
}

// drop is a filter that drops everything, because nothing reads what is sent to the ports.
var drop = []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}

// bind opens a socket; port 0 means any.
func (p *portSet) bind(port int) (fd int, err error) {
	if p.family == 0 {
		p.family = unix.AF_INET6
		probe, err := unix.Socket(p.family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if errors.Is(err, unix.EAFNOSUPPORT) {
			p.family = unix.AF_INET
		} else if err == nil {
			unix.Close(probe)
		}
	}
	fd, err = unix.Socket(p.family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	var addr unix.Sockaddr = &unix.SockaddrInet4{Port: port}
	if p.family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0) // the default, unless net.ipv6.bindv6only is set
		addr = &unix.SockaddrInet6{Port: port}
	}
	// If a sandbox refuses the filter, the socket's queue fills up once, and this keeps it small.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1)
	_ = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(drop)), Filter: &drop[0]})
	if err := unix.Bind(fd, addr); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("port %d: %w", port, os.NewSyscallError("bind", err))
	}
	return fd, nil
}

func (p *portSet) close() {
	for _, fd := range p.fds {
		unix.Close(fd)
	}
	p.fds = nil
}
