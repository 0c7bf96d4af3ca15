package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// roleEnv makes this program one of the measured processes; its value contains the role's arguments.
const roleEnv = "PENSTOCK_BENCH_ROLE"

func roleCmd(role string, args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleEnv+"="+role+" "+strings.Join(args, " "))
	cmd.Stderr = os.Stderr
	return cmd
}

func play(role string) error {
	args := strings.Fields(role)
	switch args[0] {
	case "udp":
		rate, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		length, err := time.ParseDuration(args[3])
		if err != nil {
			return err
		}
		return sendUDP(args[1], rate, length)
	case "tcp":
		n, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return sendTCP(args[1], n)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch dir := args[len(args)-1]; args[0] {
	case "raw":
		return discardRaw(ctx)
	case "discard":
		return discard(ctx, args[1] == "gro")
	case "penstock":
		return receive(ctx, dir, args[1] == "gro")
	}
	return fmt.Errorf("no such role")
}

// sent is what a sender prints.
type sent struct {
	Sent    uint64
	Seconds float64
}

// lineSize is the length of a message; over TCP it includes the newline.
const lineSize = 512

// line returns a message of n bytes.
func line(n int) []byte {
	b := []byte("<13>1 2026-01-01T00:00:00Z host app - - - ")
	for len(b) < n {
		b = append(b, byte('a'+len(b)%26))
	}
	return b
}

const ports = 8

// sendUDP keeps the rate by sending in each millisecond the datagrams that are due; rate 0 means as fast as possible.
func sendUDP(to string, rate int, length time.Duration) error {
	var conns [ports]net.Conn
	for i := range conns {
		c, err := net.Dial("udp", to)
		if err != nil {
			return err
		}
		defer c.Close()
		raw, err := c.(*net.UDPConn).SyscallConn()
		if err != nil {
			return err
		}
		if cerr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, lineSize)
		}); cerr != nil || err != nil {
			return fmt.Errorf("UDP_SEGMENT: %w", err)
		}
		conns[i] = c
	}
	// Datagrams per call. The kernel splits them, which makes a fast sender cheap.
	gso := 16
	if rate == 0 {
		gso = 64
	}
	var burst []byte
	for range gso {
		burst = append(burst, line(lineSize)...)
	}
	begin := time.Now()
	n, turn := 0, 0
	for {
		elapsed := time.Since(begin)
		if elapsed >= length {
			break
		}
		due := int(elapsed.Seconds()*float64(rate)) - n
		if due < gso && rate > 0 {
			time.Sleep(time.Millisecond)
			continue
		}
		if _, err := conns[turn%ports].Write(burst); err != nil {
			return err
		}
		n += gso
		turn++
	}
	return json.NewEncoder(os.Stdout).Encode(sent{uint64(n), time.Since(begin).Seconds()})
}

const tcpConns = 2

// sendTCP sends lines as fast as the receiver accepts them.
func sendTCP(to string, lines int) error {
	l := line(lineSize)
	l[lineSize-1] = '\n'
	var block []byte
	for range 128 {
		block = append(block, l...)
	}
	begin := time.Now()
	var wg sync.WaitGroup
	var errs [tcpConns]error
	for i := range tcpConns {
		wg.Go(func() {
			c, err := net.Dial("tcp", to)
			for left := lines / tcpConns; err == nil && left > 0; {
				n := min(left, 128)
				_, err = c.Write(block[:n*lineSize])
				left -= n
			}
			if err == nil {
				err = c.Close()
			}
			errs[i] = err
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(sent{uint64(lines / tcpConns * tcpConns), time.Since(begin).Seconds()})
}
