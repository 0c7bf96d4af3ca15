package ingest

import (
	"encoding/hex"
	"strings"

	"github.com/penstock-go/penstock/spool/segment"
)

// ConnAttrs describes a connection, as a function for TCPOptions.Attributes and UDPOptions.Attributes. The result omits what
// is not known.
//
//	listener          network and address that the listener is bound to, such as tcp://10.0.0.7:5140
//	tls.server_name   the name that the client asked for (SNI)
//	tls.subject       the subject of the client's certificate, as RFC 2253 writes it
//	tls.sans          the alternative names of that certificate, separated by commas
//	aws.vpce          the id of the VPC endpoint that the client came through (PROXY header of a Network Load Balancer)
//	proxy.authority   the host name that the client asked the proxy for
//	proxy.alpn        the protocol that the client and the proxy have agreed on
//	proxy.unique_id   the proxy's id of the connection, in hexadecimal digits
//
// A certificate counts only if the listener has verified it (tls.RequireAndVerifyClientCert, or a client_ca in a URL). A
// program that verifies certificates itself needs its own function to name their subject. The values from a proxy come from
// the header of a proxy that ProxyFrom trusts. Control characters become question marks, and values that are too long for a
// set are cut.
func ConnAttrs(s *Stream) map[string]string {
	pairs := map[string]string{}
	set := func(key, value string, most int) {
		if value != "" {
			pairs[key] = fitting(value, most)
		}
	}
	if s.Listener != nil {
		set("listener", s.Listener.Network()+"://"+s.Listener.String(), 64)
	}
	if s.TLS != nil {
		set("tls.server_name", s.TLS.ServerName, 255)
		if len(s.TLS.VerifiedChains) > 0 && len(s.TLS.PeerCertificates) > 0 {
			cert := s.TLS.PeerCertificates[0]
			names := append(append([]string(nil), cert.DNSNames...), cert.EmailAddresses...)
			for _, ip := range cert.IPAddresses {
				names = append(names, ip.String())
			}
			for _, u := range cert.URIs {
				names = append(names, u.String())
			}
			set("tls.subject", cert.Subject.String(), 400)
			set("tls.sans", strings.Join(names, ","), 500)
		}
	}
	if aws, ok := s.Proxy.TLV(TLVAWS); ok && len(aws) > 1 && aws[0] == awsVPCEndpoint {
		set("aws.vpce", string(aws[1:]), 64)
	}
	for _, x := range []struct {
		typ  byte
		key  string
		most int
	}{{TLVAuthority, "proxy.authority", 255}, {TLVALPN, "proxy.alpn", 64}} {
		value, _ := s.Proxy.TLV(x.typ)
		set(x.key, string(value), x.most)
	}
	id, _ := s.Proxy.TLV(TLVUniqueID)
	set("proxy.unique_id", hex.EncodeToString(id), 256)
	return pairs
}

// fitting makes text from an untrusted source the value of an attribute, of at most so many bytes.
func fitting(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r // what is no UTF-8 is U+FFFD already
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}

// makeAttrs calls an embedder's function. If the function panics or returns no valid set, the records have no attributes,
// but are kept.
func makeAttrs(attributes func(*Stream) map[string]string, s *Stream, m *meter, log *limiter) (a *segment.Attrs) {
	defer func() {
		if r := recover(); r != nil {
			m.panicked()
			log.panicked("ingest: Attributes panicked; the records have no attributes", r, "src", s.Peer.String())
		}
	}()
	a, err := segment.NewAttrs(attributes(s))
	if err != nil {
		log.warn("ingest: Attributes returned an invalid set; the records have no attributes", "src", s.Peer.String(), "err", err)
	}
	return a
}

// datagramAttrs makes the attributes of datagrams, once for all datagrams that have the same. A nil *datagramAttrs makes
// none.
type datagramAttrs struct {
	attributes func(*Stream) map[string]string
	stream     Stream
	meter      *meter
	log        *limiter
	plain      *segment.Attrs            // of datagrams without extensions in a PROXY header
	known      map[string]*segment.Attrs // of the others, by their extensions
}

// maxKnownAttrs bounds how many sets are remembered for a socket: a proxy may give each datagram an id of its own.
const maxKnownAttrs = 1024

func newDatagramAttrs(attributes func(*Stream) map[string]string, s Stream, m *meter, log *limiter) *datagramAttrs {
	if attributes == nil {
		return nil
	}
	return &datagramAttrs{
		attributes: attributes, stream: s, meter: m, log: log,
		plain: makeAttrs(attributes, &s, m, log), known: make(map[string]*segment.Attrs),
	}
}

// of returns the attributes of a datagram with this PROXY header, which is empty or valid.
func (d *datagramAttrs) of(header []byte) *segment.Attrs {
	if d == nil {
		return nil
	}
	tlvs := extensions(header)
	if len(tlvs) == 0 {
		return d.plain
	}
	a, ok := d.known[string(tlvs)]
	if !ok {
		s := d.stream
		s.Proxy = parseTLVs(tlvs)
		a = makeAttrs(d.attributes, &s, d.meter, d.log)
		if len(d.known) == maxKnownAttrs {
			clear(d.known)
		}
		d.known[string(tlvs)] = a
	}
	return a
}
