package ingest

import (
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// parseControl returns the kernel's arrival time, or now if there is none, and the size of the datagrams of a GRO
// aggregate, or 0. size is the length of the control messages in bytes (see cmsg(3)).
func parseControl(buf []uint64, size int) (at int64, segment int) {
	b := unsafe.Slice((*byte)(unsafe.Pointer(&buf[0])), len(buf)*8)
	b = b[:max(0, min(size, len(b)))]
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		n := int(h.Len)
		if n < unix.SizeofCmsghdr || n > len(b) {
			break
		}
		data := b[unix.CmsgLen(0):n]
		switch {
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS && len(data) >= int(unsafe.Sizeof(unix.Timespec{})):
			ts := (*unix.Timespec)(unsafe.Pointer(&data[0]))
			// This fits into 64 bits: Linux accepts no clock beyond the year 2232 (TIME_SETTOD_SEC_MAX).
			at = int64(ts.Sec)*1e9 + int64(ts.Nsec)
		case h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(data) >= 4:
			segment = int(*(*int32)(unsafe.Pointer(&data[0])))
		}
		b = b[min(len(b), unix.CmsgSpace(n-unix.CmsgLen(0))):]
	}
	if at == 0 { // the kernel had no room for it and set MSG_CTRUNC, or this kind of socket has none
		at = time.Now().UnixNano()
	}
	return at, segment
}

// parseName turns the sender's address into a netip.AddrPort without allocation. A zone is omitted: records have no field
// for it.
func parseName(sa *unix.RawSockaddrInet6) netip.AddrPort {
	port := func(p *uint16) uint16 { b := (*[2]byte)(unsafe.Pointer(p)); return uint16(b[0])<<8 | uint16(b[1]) }
	switch sa.Family {
	case unix.AF_INET:
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa4.Addr), port(&sa4.Port))
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), port(&sa.Port))
	}
	return netip.AddrPort{}
}
