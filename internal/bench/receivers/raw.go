package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/penstock-go/penstock/internal/bench/result"
	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// discardRaw is the upper bound: recvmmsg(2) into one buffer, which is never read.
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

// pacedRate is the rate at which the CPU time is compared with that of the raw socket.
const pacedRate = 300_000

// againstRaw compares our receiver with the raw socket, in turns.
func (b *bench) againstRaw() error {
	all := []*receiver{
		{"raw, discarded", startOurs("raw", false)},
		{"listener, discarded", startOurs("discard plain", false)},
		{"listener, GRO, discarded", startOurs("discard gro", false)},
		{"into the spool", startOurs("penstock plain", true)},
		{"GRO, into the spool", startOurs("penstock gro", true)},
	}
	type turns struct{ pps, cpu, paced []float64 }
	results := make([]turns, len(all))
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
	t := result.Table{Title: fmt.Sprintf("Beside a raw recvmmsg(2) loop, %d turns", b.rounds), Columns: []result.Column{
		{Name: "kpps of a flood"},
		{Name: "÷ raw", Bars: true},
		{Name: "CPU s/M"},
		{Name: "÷ raw"},
		{Name: fmt.Sprintf("CPU s/M at %d/s", pacedRate)},
		{Name: "÷ raw"},
		{Name: "lossless/s"},
		{Name: "÷ raw", Bars: true},
	}}
	var highest, rawHighest int
	for i, r := range all {
		lossless, part := result.Cell{Text: "-"}, result.Cell{Text: "-"}
		if b.search {
			var err error
			if highest, _, err = b.highest(r); err != nil {
				return err
			}
			if i == 0 {
				rawHighest = highest
			}
			lossless, part = result.Num("%.0f", float64(highest)), result.Num("%.2f", float64(highest)/float64(max(rawHighest, 1)))
		}
		of, raw := results[i], results[0]
		t.Rows = append(t.Rows, result.Row{Name: r.name, Cells: []result.Cell{
			result.Num("%.0f", median(of.pps)/1e3), result.Num("%.2f", ratio(of.pps, raw.pps)),
			result.Num("%.2f", median(of.cpu)), result.Num("%.2f", ratio(of.cpu, raw.cpu)),
			result.Num("%.2f", median(of.paced)), result.Num("%.2f", ratio(of.paced, raw.paced)), lossless, part,
		}})
	}
	return b.out.Write(t)
}

// ratio returns the median of the ratios of all rounds.
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
