package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"text/tabwriter"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// discardRaw is the limit: recvmmsg(2) into one arena, and nothing done with it.
func discardRaw(ctx context.Context) error {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	err = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20) })
	if err != nil {
		return err
	}
	var total atomic.Uint64
	go func() {
		const batch, room = 64, 2048
		var hdrs [batch]mmsghdr
		var iovs [batch]unix.Iovec
		arena := make([]byte, batch*room)
		for i := range hdrs {
			iovs[i].Base = &arena[i*room]
			iovs[i].SetLen(room)
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
	announce(ctx, c.LocalAddr(), c.LocalAddr(), total.Load)
	return nil
}

// pacedRate is where CPU is compared with the raw socket's.
const pacedRate = 300_000

// againstRaw compares our receiving with the raw socket, by turns.
func (b *bench) againstRaw(w *tabwriter.Writer) error {
	all := []*receiver{
		{"raw, discarded", startOurs("raw", false)},
		{"listener, discarded", startOurs("discard plain", false)},
		{"listener, GRO, discarded", startOurs("discard gro", false)},
		{"into the spool", startOurs("penstock plain", true)},
		{"GRO, into the spool", startOurs("penstock gro", true)},
	}
	type result struct{ pps, cpu, paced []float64 }
	results := make([]result, len(all))
	for range b.rounds {
		for i, r := range all {
			full, err := b.udp(r, 0)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			paced, err := b.udp(r, pacedRate)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			res := &results[i]
			res.pps = append(res.pps, float64(full.stored)/full.took.Seconds())
			res.cpu = append(res.cpu, full.cpu/float64(full.stored)*1e6)
			res.paced = append(res.paced, paced.cpu/float64(paced.stored)*1e6)
			fmt.Fprintf(os.Stderr, "%-24s flood: %.0f of %d, paced: %d of %d\n", r.name, float64(full.stored), full.sent, paced.stored, paced.sent)
		}
	}
	lossless := make([]int, len(all))
	for i, r := range all {
		var err error
		if lossless[i], _, err = b.highest(r); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "\tkpps of a flood\t÷ raw\tCPU s/M\t÷ raw\tCPU s/M at %d/s\t÷ raw\tlossless/s\t÷ raw\t\n", pacedRate)
	for i, r := range all {
		of, raw := results[i], results[0]
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%d\t%.2f\t\n", r.name,
			median(of.pps)/1e3, ratio(of.pps, raw.pps), median(of.cpu), ratio(of.cpu, raw.cpu),
			median(of.paced), ratio(of.paced, raw.paced), lossless[i], float64(lossless[i])/float64(max(lossless[0], 1)))
	}
	return w.Flush()
}

// ratio is the median of the ratios of each round.
func ratio(a, b []float64) float64 {
	r := make([]float64, len(a))
	for i := range r {
		r[i] = a[i] / b[i]
	}
	return median(r)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
