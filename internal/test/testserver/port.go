package testserver

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
)

// The ports that FreeAddr returns. A system takes the port of a connection, or of a listener that asks for any, from 32768 on (Linux,
// ip_local_port_range) or 49152 on (other systems), and so never takes one of these.
const (
	firstPort = 12_000
	endPort   = 32_000
)

// nextPort counts on from a random port, so that test programs that run at the same time have different ones.
var nextPort atomic.Uint32

func init() { nextPort.Store(rand.Uint32N(endPort - firstPort)) }

// FreeAddr returns a loopback address on which nothing listens, over TCP or UDP, and which it returns only once. If another program takes
// it before the server does, the server ends, and the test says so.
func FreeAddr(t testing.TB) string {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func freeAddr() (addr string, err error) {
	for range endPort - firstPort {
		addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+int(nextPort.Add(1)%(endPort-firstPort))))
		if err = free(addr); err == nil {
			return addr, nil
		}
	}
	return "", fmt.Errorf("every port is taken: %w", err)
}

func free(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	return u.Close()
}
