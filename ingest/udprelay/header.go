package udprelay

import (
	"encoding/binary"
	"net/netip"
)

// maxHeader is the length of the longest PROXY header that is written, that for IPv6.
const maxHeader = 16 + 36

// putHeader writes a PROXY header of version 2 for a datagram (proxy-protocol.txt, 2.2) into b, and returns its length.
// Both addresses must have one family: if only one of them is IPv4, it is written as an IPv4-mapped IPv6 address.
func putHeader(b *[maxHeader]byte, from, to netip.AddrPort) int {
	copy(b[:], "\r\n\r\n\x00\r\nQUIT\n\x21") // version 2, command PROXY
	src, dst := from.Addr(), to.Addr()
	if src.Is4() && dst.Is4() {
		b[13] = 0x12 // IPv4, datagrams
		s, d := src.As4(), dst.As4()
		copy(b[16:], s[:])
		copy(b[20:], d[:])
		return putPorts(b, 24, from.Port(), to.Port())
	}
	b[13] = 0x22 // IPv6, datagrams
	s, d := src.As16(), dst.As16()
	copy(b[16:], s[:])
	copy(b[32:], d[:])
	return putPorts(b, 48, from.Port(), to.Port())
}

func putPorts(b *[maxHeader]byte, at int, src, dst uint16) int {
	binary.BigEndian.PutUint16(b[at:], src)
	binary.BigEndian.PutUint16(b[at+2:], dst)
	binary.BigEndian.PutUint16(b[14:], uint16(at+4-16))
	return at + 4
}
