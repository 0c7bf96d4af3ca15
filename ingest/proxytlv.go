package ingest

import (
	"bytes"
	"encoding/binary"
)

// The types of extensions (TLVs) in a PROXY header of version 2 that ConnAttrs knows.
const (
	TLVALPN      = 0x01
	TLVAuthority = 0x02
	TLVUniqueID  = 0x05
	// TLVAWS has a value whose first byte is its kind; kind 1 is the id of a VPC endpoint.
	TLVAWS = 0xea

	awsVPCEndpoint = 1

	tlvPadding = 0x04 // PP2_TYPE_NOOP: a reader ignores it (proxy-protocol.txt, 2.2.4)
)

// ProxyTLV is an extension in a PROXY header: information about a connection besides its addresses.
type ProxyTLV struct {
	Type  byte
	Value []byte
}

// ProxyHeader has the extensions of a PROXY header of version 2, in their order: at most 64, of at most 1 KiB each. Longer
// ones and padding (type 4) are omitted.
type ProxyHeader struct{ TLVs []ProxyTLV }

// TLV returns the value of the first extension of a type, and false if there is none. A nil ProxyHeader has none.
func (h *ProxyHeader) TLV(typ byte) (value []byte, ok bool) {
	if h == nil {
		return nil, false
	}
	for _, x := range h.TLVs {
		if x.Type == typ {
			return x.Value, true
		}
	}
	return nil, false
}

// The limits of the extensions that are copied from a header. Only certificates, which do not fit into an attribute, and
// extensions of a faulty proxy exceed them.
const (
	maxTLVs     = 64
	maxTLVValue = 1 << 10
)

// extensions returns the part of a valid header of version 2 that follows the addresses; nothing for any other header, and
// for a LOCAL command, whose header describes no connection.
func extensions(header []byte) []byte {
	if len(header) < fixedV2 || string(header[:len(sigV2)]) != sigV2 || header[12] != 0x21 {
		return nil
	}
	addrs := 0
	switch header[13] >> 4 { // the address family
	case 1:
		addrs = 12
	case 2:
		addrs = 36
	case 3:
		addrs = 216
	}
	if addrs == 0 || len(header) < fixedV2+addrs {
		return nil
	}
	return header[fixedV2+addrs:]
}

// parseTLVs decodes extensions, and copies them; nil if there are none. It stops at an extension that is cut short. The
// addresses in the header are still valid.
func parseTLVs(b []byte) *ProxyHeader {
	var all []ProxyTLV
	for len(b) >= 3 && len(all) < maxTLVs {
		n := int(binary.BigEndian.Uint16(b[1:]))
		if n > len(b)-3 {
			break
		}
		if n <= maxTLVValue && b[0] != tlvPadding {
			all = append(all, ProxyTLV{b[0], bytes.Clone(b[3 : 3+n])})
		}
		b = b[3+n:]
	}
	if len(all) == 0 {
		return nil
	}
	return &ProxyHeader{all}
}
