package ingest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// The PROXY protocol (haproxy.org/download/3.2/doc/proxy-protocol.txt): a proxy puts a header with the address of its
// client before the first byte of a connection, or before the payload of each datagram.
const (
	// sigV1 and sigV2 begin a header of version 1 and 2. No framing of this package and no sane text begins with sigV2.
	sigV1 = "PROXY "
	sigV2 = "\r\n\r\n\x00\r\nQUIT\n"
	// fixedV2 is the length of the fixed part of a header of version 2; its last two bytes are the length of the rest.
	fixedV2 = 16
	// maxV2 is the longest header of version 2: its length has 16 bits. Addresses need 216 bytes at most; the rest are
	// extensions (TLVs). Load balancers send a few dozen bytes of them, proxies that pass on the client's certificate
	// (PP2_SUBTYPE_SSL_CLIENT_CERT) several KiB.
	maxV2 = fixedV2 + 1<<16 - 1
	// usualV2 is the header buffer that every connection has; a longer header takes its memory from TCPOptions.MemoryBytes.
	usualV2 = 1 << 10
)

// proxies are the sources whose PROXY headers are trusted.
type proxies []netip.Prefix

// trust reports whether a is in one of the prefixes. It is called for each datagram; there are few prefixes.
func (p proxies) trust(a netip.Addr) bool {
	for i := range p {
		if p[i].Contains(a) {
			return true
		}
	}
	return false
}

func (p proxies) validate() error {
	var errs []error
	for _, x := range p {
		switch {
		case !x.IsValid():
			errs = append(errs, fmt.Errorf("ingest: ProxyFrom: prefix %v is not valid", x))
		case x.Addr().Is4In6(): // sources are compared in their short form
			errs = append(errs, fmt.Errorf("ingest: ProxyFrom: %v would never match: want the IPv4 prefix", x))
		}
	}
	return errors.Join(errs...)
}

// verdict is the result of looking for a PROXY header in a datagram.
type verdict uint8

const (
	noHeader      verdict = iota // not from a trusted proxy, and without a header
	goodHeader                   // from a trusted proxy: removed
	badHeader                    // from a trusted proxy: missing or invalid
	foreignHeader                // not from a trusted proxy: left in the data
)

// strip removes the header of a datagram from a trusted proxy, and replaces the sender's address by the client's. It
// leaves any other datagram unchanged: a datagram with an invalid header is still a record. It allocates nothing.
func (p proxies) strip(data []byte, src netip.AddrPort) ([]byte, netip.AddrPort, verdict) {
	if !p.trust(src.Addr()) {
		if len(data) >= len(sigV2) && string(data[:len(sigV2)]) == sigV2 {
			return data, src, foreignHeader
		}
		return data, src, noHeader
	}
	client, size, ok := parseV2(data)
	if !ok {
		return data, src, badHeader
	}
	if client.IsValid() {
		src = client
	}
	return data[size:len(data):len(data)], src, goodHeader
}

// parseV2 decodes a header of version 2 in place. The client is not valid if the header has no address that a record
// could have: in health checks of the proxy itself (command LOCAL) and for unix sockets. parseV2 accepts the same headers
// as go-proxyproto, which allocates for each datagram and has a limit of 4 KiB; a fuzz test compares the two.
func parseV2(b []byte) (client netip.AddrPort, size int, ok bool) {
	if len(b) < fixedV2 || string(b[:len(sigV2)]) != sigV2 {
		return client, 0, false
	}
	size = fixedV2 + int(binary.BigEndian.Uint16(b[14:]))
	if size > len(b) {
		return client, 0, false
	}
	addrs := b[fixedV2:size]
	local := b[12] == 0x20 // version 2, command LOCAL
	if !local && b[12] != 0x21 {
		return client, 0, false
	}
	var want int
	switch b[13] { // address family, and whether it is a stream or datagrams
	case 0x00: // unspecified
		return client, size, local
	case 0x11, 0x12: // two IPv4 addresses, two ports
		if want = 12; len(addrs) >= want {
			a := netip.AddrFrom4([4]byte(addrs[:4]))
			client = netip.AddrPortFrom(a, binary.BigEndian.Uint16(addrs[8:]))
		}
	case 0x21, 0x22: // the same of IPv6
		if want = 36; len(addrs) >= want {
			a := netip.AddrFrom16([16]byte(addrs[:16])).Unmap()
			client = netip.AddrPortFrom(a, binary.BigEndian.Uint16(addrs[32:]))
		}
	case 0x31, 0x32: // two paths
		want = 216
	default:
		return client, 0, false
	}
	if local { // its addresses mean nothing, and may be missing
		return netip.AddrPort{}, size, true
	}
	return client, size, len(addrs) >= want
}
