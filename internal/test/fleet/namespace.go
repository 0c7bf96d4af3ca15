//go:build linux

package fleet

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Namespace is the network of one machine.
type Namespace struct {
	name string
	file *os.File
}

// newNamespace makes a network namespace with a loopback interface that is up.
func newNamespace(name string) (*Namespace, error) {
	if err := command("ip", "netns", "add", name); err != nil {
		return nil, err
	}
	f, err := os.Open("/run/netns/" + name)
	if err != nil {
		return nil, err
	}
	// A server has no route to the clients, as one has that answers by way of its balancer: a packet must not be refused for it.
	return &Namespace{name, f}, batch("ip", "-n", name, "link set lo up")
}

// Do calls f on a thread in the namespace. Sockets that f opens, and processes that it starts, belong to the namespace.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("%s: setns: %w", n.name, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// Start starts a process in the namespace.
func (n *Namespace) Start(cmd *exec.Cmd) error { return n.Do(cmd.Start) }

// StartAs is Start on a machine with a host name.
func (n *Namespace) StartAs(host string, cmd *exec.Cmd) error {
	return n.Do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
			return fmt.Errorf("unshare the host name: %w", err)
		}
		if err := unix.Sethostname([]byte(host)); err != nil {
			return fmt.Errorf("sethostname: %w", err)
		}
		return cmd.Start()
	})
}

// Listen listens on TCP.
func (n *Namespace) Listen(addr string) (l net.Listener, err error) {
	err = n.Do(func() error { l, err = net.Listen("tcp", addr); return err })
	return l, err
}

// Dial is net.Dialer.DialContext from the namespace.
func (n *Namespace) Dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = n.Do(func() error { c, err = new(net.Dialer).DialContext(ctx, network, addr); return err })
	return c, err
}

// Set sets a kernel parameter of the namespace.
func (n *Namespace) Set(key, value string) error {
	return n.Do(func() error {
		return os.WriteFile("/proc/sys/"+strings.ReplaceAll(key, ".", "/"), []byte(value), 0o644)
	})
}

// udpCounters are the kernel's own counts of datagrams in one namespace.
type udpCounters struct {
	Read      uint64 // by a process
	NoPort    uint64 // nobody listened
	NoRoom    uint64 // the socket's buffer was full
	OtherLost uint64
}

// Arrived returns the number of all datagrams that arrived, except those in a socket's buffer at present.
func (u udpCounters) Arrived() uint64 { return u.Read + u.NoPort + u.NoRoom + u.OtherLost }

// UDP reads the counters.
func (n *Namespace) UDP() (u udpCounters, err error) {
	var b []byte
	if err := n.Do(func() error { b, err = os.ReadFile("/proc/thread-self/net/snmp"); return err }); err != nil {
		return u, err
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "Udp:" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		value := map[string]uint64{}
		for i, name := range names[1:] {
			value[name], _ = strconv.ParseUint(f[i+1], 10, 64)
		}
		u = udpCounters{Read: value["InDatagrams"], NoPort: value["NoPorts"], NoRoom: value["RcvbufErrors"]}
		u.OtherLost = value["InErrors"] - u.NoRoom
		return u, nil
	}
	return u, fmt.Errorf("%s: no UDP counters in /proc/net/snmp", n.name)
}

// command runs a program to its end.
func command(name string, args ...string) error { return commandIn(nil, "", name, args...) }

// commandIn runs a program to its end in a namespace (nil: this one), with a standard input.
func commandIn(n *Namespace, stdin, name string, args ...string) error {
	_, err := output(n, stdin, name, args...)
	return err
}

// output is commandIn with what the program prints.
func output(n *Namespace, stdin, name string, args ...string) ([]byte, error) {
	path, err := find(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if n == nil {
		err = cmd.Run()
	} else if err = n.Start(cmd); err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, errs.String(), head(stdin, 400))
	}
	return out.Bytes(), nil
}

// batch runs one line each with a program that takes a batch from its standard input, as ip and tc do. args come first.
func batch(name string, args ...string) error {
	flags := 0
	for flags < len(args) && (strings.HasPrefix(args[flags], "-") || flags > 0 && args[flags-1] == "-n") {
		flags++
	}
	return commandIn(nil, strings.Join(args[flags:], "\n")+"\n", name, append(args[:flags:flags], "-batch", "-")...)
}

func head(s string, n int) string { return s[:min(len(s), n)] }
