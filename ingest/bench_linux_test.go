package ingest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/penstock-go/penstock/spool/segment"
)

// senderEnv makes the test binary a sender: see runSender.
const senderEnv = "PENSTOCK_INGEST_SENDER"

func init() {
	if to := os.Getenv(senderEnv); to != "" {
		runSender(to)
	}
}

// runSender floods an address with 512-byte datagrams, 64 in one system call (UDP_SEGMENT): a process of its own, so
// that its CPU time is not the receiver's.
func runSender(to string) {
	c, err := net.Dial("udp", to)
	if err != nil {
		os.Exit(1)
	}
	raw, _ := c.(*net.UDPConn).SyscallConn()
	raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, 512) })
	b := make([]byte, 512*64)
	for os.Getppid() != 1 {
		c.Write(b)
	}
	os.Exit(0)
}

func startSender(b *testing.B, to string) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), senderEnv+"="+to)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
}

func cpuSeconds() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// discard is a Sink that takes everything.
type discard struct{ n atomic.Uint64 }

func (d *discard) Append(_ context.Context, b []segment.Record) (uint64, error) {
	return d.n.Add(uint64(len(b))), nil
}

func (d *discard) Offer(_ context.Context, b []segment.Record) (uint64, error) {
	return d.n.Add(uint64(len(b))), nil
}
func (d *discard) Account(segment.Account) {}

// measure runs until b.N datagrams have been received and reports rate and CPU.
func measure(b *testing.B, count func() uint64) {
	b.ReportAllocs()
	b.ResetTimer()
	begin, cpu, from := time.Now(), cpuSeconds(), count()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for count()-from < uint64(b.N) {
		<-tick.C
	}
	n := float64(count() - from)
	b.StopTimer()
	b.ReportMetric(n/time.Since(begin).Seconds()/1e3, "kpps")
	b.ReportMetric((cpuSeconds()-cpu)/n*1e6, "cpu-s/M")
}

// BenchmarkUDPRaw is the limit: recvmmsg(2) into one arena, and nothing done with it.
func BenchmarkUDPRaw(b *testing.B) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		b.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	})
	var total atomic.Uint64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var hdrs [batch]mmsghdr
		var iovs [batch]unix.Iovec
		arena := make([]byte, batch*2048)
		for i := range hdrs {
			iovs[i].Base = &arena[i*2048]
			iovs[i].SetLen(2048)
			hdrs[i].hdr.Iov = &iovs[i]
			hdrs[i].hdr.SetIovlen(1)
		}
		read := func(fd uintptr) bool {
			n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&hdrs[0])), batch, unix.MSG_DONTWAIT, 0, 0)
			if errno == 0 {
				total.Add(uint64(n))
			}
			return errno != unix.EAGAIN
		}
		for raw.Read(read) == nil {
		}
	}()
	startSender(b, c.LocalAddr().String())
	measure(b, total.Load)
	c.Close()
	<-ended
}

func benchmarkUDP(b *testing.B, o *UDPOptions) {
	u := listenUDP(b, o)
	d := &discard{}
	serve(b, u, d)
	startSender(b, u.Addr().String())
	measure(b, d.n.Load)
}

func BenchmarkUDP(b *testing.B)    { benchmarkUDP(b, nil) }
func BenchmarkUDPMax(b *testing.B) { benchmarkUDP(b, &UDPOptions{MaxRecord: 2048}) }
func BenchmarkUDPGRO(b *testing.B) { benchmarkUDP(b, &UDPOptions{GRO: true}) }

func BenchmarkTCP(b *testing.B) {
	for _, size := range []int{512} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			l := listenTCP(b, &TCPOptions{Framing: Newline, Grace: -1})
			d := &discard{}
			serve(b, l, d)
			c := dialTCP(b, l)
			block := make([]byte, 0, 256<<10)
			for len(block) < cap(block) {
				block = append(append(block, make([]byte, size-1)...), '\n')
			}
			go func() {
				for {
					if _, err := c.Write(block); err != nil {
						return
					}
				}
			}()
			b.SetBytes(int64(size))
			measure(b, d.n.Load)
		})
	}
}
