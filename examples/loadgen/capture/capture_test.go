package capture

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

var start = time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)

// packet makes the bytes of a packet.
func packet(t testing.TB, all ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true}, all...); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b.Bytes())
}

func ethernet(t layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: make(net.HardwareAddr, 6), DstMAC: make(net.HardwareAddr, 6), EthernetType: t}
}

func ipv4(p layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 9, Protocol: p, SrcIP: net.IP{10, 0, 0, 7}, DstIP: net.IP{10, 0, 0, 1}, Id: 77}
}

func udp(port layers.UDPPort) *layers.UDP { return &layers.UDP{SrcPort: 5140, DstPort: port} }

// packets has one packet of each kind.
func packets(t testing.TB) [][]byte {
	ip6 := &layers.IPv6{Version: 6, NextHeader: layers.IPProtocolUDP, SrcIP: net.ParseIP("2001:db8::7"), DstIP: net.ParseIP("2001:db8::1")}
	long := bytes.Repeat([]byte("0123456789"), 190)
	whole := packet(t, udp(514), gopacket.Payload(long))
	first, last := ipv4(layers.IPProtocolUDP), ipv4(layers.IPProtocolUDP)
	first.Flags, last.FragOffset = layers.IPv4MoreFragments, 1480/8
	alone := ipv4(layers.IPProtocolUDP)
	alone.Id, alone.FragOffset = 78, 1480/8
	lied := packet(t, ethernet(layers.EthernetTypeIPv4), ipv4(layers.IPProtocolUDP), udp(514), gopacket.Payload("a wrong length"))
	lied[14+20+5]++ // the length of UDP
	return [][]byte{
		packet(t, ethernet(layers.EthernetTypeIPv4), ipv4(layers.IPProtocolUDP), udp(514), gopacket.Payload("one")),
		packet(t, ethernet(layers.EthernetTypeDot1Q), &layers.Dot1Q{VLANIdentifier: 5, Type: layers.EthernetTypeIPv4}, ipv4(layers.IPProtocolUDP), udp(514), gopacket.Payload("tagged")),
		packet(t, ethernet(layers.EthernetTypeIPv6), ip6, udp(514), gopacket.Payload("six")),
		packet(t, ethernet(layers.EthernetTypeIPv4), ipv4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1, DstPort: 514, DataOffset: 5}),
		packet(t, ethernet(layers.EthernetTypeARP), gopacket.Payload(make([]byte, 28))),
		packet(t, ethernet(layers.EthernetTypeIPv4), ipv4(layers.IPProtocolUDP), udp(53), gopacket.Payload("a question")),
		packet(t, ethernet(layers.EthernetTypeIPv4), first, gopacket.Payload(whole[:1480])),
		packet(t, ethernet(layers.EthernetTypeIPv4), last, gopacket.Payload(whole[1480:])),
		packet(t, ethernet(layers.EthernetTypeIPv4), alone, gopacket.Payload("nobody waits")),
		lied,
		packet(t, ethernet(layers.EthernetTypeIPv4), ipv4(layers.IPProtocolUDP), udp(514), gopacket.Payload("last")),
	}
}

// file writes packets as pcap or pcapng, a tenth of a second apart.
func file(t testing.TB, ng bool, all [][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	info := func(i int) gopacket.CaptureInfo {
		return gopacket.CaptureInfo{Timestamp: start.Add(time.Duration(i) * 100 * time.Millisecond), CaptureLength: len(all[i]), Length: len(all[i])}
	}
	if ng {
		w, err := pcapgo.NewNgWriter(&b, layers.LinkTypeEthernet)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range all {
			if err := w.WritePacket(info(i), p); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for i, p := range all {
		if err := w.WritePacket(info(i), p); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// read reads all datagrams.
func read(data []byte, port uint16) (got []string, r *Reader, err error) {
	r, err = NewReader(bytes.NewReader(data), port)
	if err != nil {
		return nil, nil, err
	}
	for {
		d, err := r.Next()
		if errors.Is(err, io.EOF) {
			return got, r, nil
		}
		if err != nil {
			return got, r, err
		}
		got = append(got, fmt.Sprintf("%v %s %s", d.Time.Sub(start), d.Source, d.Payload[:min(10, len(d.Payload))]))
	}
}

func gzipped(t *testing.T, data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestKinds: each kind of packet yields its datagram, or is counted by its cause.
func TestKinds(t *testing.T) {
	want := []string{"0s 10.0.0.7:5140 one", "100ms 10.0.0.7:5140 tagged", "200ms [2001:db8::7]:5140 six", "700ms 10.0.0.7:5140 0123456789", "1s 10.0.0.7:5140 last"}
	skipped := map[string]uint64{NotUDP: 2, OtherPort: 1, Joined: 1, Incomplete: 1, Malformed: 1}
	for name, data := range map[string][]byte{
		"pcap": file(t, false, packets(t)), "pcapng": file(t, true, packets(t)),
		"pcap.gz": gzipped(t, file(t, false, packets(t))), "pcapng.gz": gzipped(t, file(t, true, packets(t))),
	} {
		got, r, err := read(data, 514)
		if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: %v: %q", name, err, got)
			continue
		}
		if !maps.Equal(r.Skipped(), skipped) || r.Packets() != 11 {
			t.Errorf("%s: %d packets, %v", name, r.Packets(), r.Skipped())
		}
	}
}

// TestSnapLength: a datagram that the capture has cut is not sent as if it were whole.
func TestSnapLength(t *testing.T) {
	p := packets(t)[0]
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := errors.Join(w.WriteFileHeader(44, layers.LinkTypeEthernet), w.WritePacket(gopacket.CaptureInfo{Timestamp: start, CaptureLength: 44, Length: len(p)}, p[:44])); err != nil {
		t.Fatal(err)
	}
	got, r, err := read(b.Bytes(), 0)
	if err != nil || len(got) > 0 || r.Skipped()[Cut] != 1 {
		t.Errorf("%v, %q, %v", err, got, r.Skipped())
	}
}

// TestCutAnywhere: a file that ends in the middle of a packet yields the packets before it, and an error that says so.
func TestCutAnywhere(t *testing.T) {
	for _, ng := range []bool{false, true} {
		whole := file(t, ng, packets(t))
		ends := map[int]int{} // where a packet ends, and how many there are
		for n := range len(packets(t)) + 1 {
			ends[len(file(t, ng, packets(t)[:n]))] = n
		}
		if ng { // nor can a cut between two blocks be detected: here, between those of the section and the interface
			ends[int(binary.LittleEndian.Uint32(whole[4:]))] = 0
		}
		for at := range whole {
			_, r, err := read(whole[:at], 0)
			n, end := ends[at]
			switch {
			case end && (err != nil || r.Packets() != uint64(n)):
				t.Fatalf("ng %t: %d packets at an end: %v", ng, n, err)
			case !end && err == nil:
				t.Fatalf("ng %t: cut at %d of %d: no error after %d packets", ng, at, len(whole), r.Packets())
			case !end && !strings.Contains(err.Error(), "cut off"):
				t.Fatalf("ng %t: cut at %d of %d: %v", ng, at, len(whole), err)
			}
		}
	}
}

// TestNoCapture: files of other kinds are refused with the reason.
func TestNoCapture(t *testing.T) {
	for _, data := range []string{"", "x", "hello, this is a text", strings.Repeat("\x00", 100), "\x1f\x8b broken"} {
		if _, _, err := read([]byte(data), 0); err == nil {
			t.Errorf("%q is a capture", data)
		}
	}
}

// TestFragmentsBounded: fragments that never form a whole datagram are given up, and all are counted.
func TestFragmentsBounded(t *testing.T) {
	f := newFragments()
	const n = 3 * maxWaiting
	for i := range n {
		ip := ipv4(layers.IPProtocolUDP)
		ip.Id, ip.Flags = uint16(i), layers.IPv4MoreFragments
		ip.SrcIP = net.IP{10, byte(i >> 16), byte(i >> 8), byte(i)}
		ip.Contents, ip.Payload = make([]byte, 20), make([]byte, 1480)
		ip.IHL, ip.Length = 5, 1500
		if _, _, cause := f.join(ip, netip.IPv4Unspecified(), start); cause != Incomplete {
			t.Fatal(cause)
		}
	}
	if len(f.wait) > maxWaiting || f.waiting() != n {
		t.Errorf("%d wait, %d are counted", len(f.wait), f.waiting())
	}
}

// FuzzReader: whatever a file contains, a Reader ends, and every packet is a datagram or has a cause.
func FuzzReader(f *testing.F) {
	for _, ng := range []bool{false, true} {
		f.Add(file(f, ng, packets(f)))
		f.Add(file(f, ng, packets(f)[:1]))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, r, _ := read(data, 0)
		if r == nil {
			return
		}
		n := uint64(len(got))
		for _, skipped := range r.Skipped() {
			n += skipped
		}
		if n != r.Packets() {
			t.Fatalf("%d packets, %d datagrams, %v", r.Packets(), len(got), r.Skipped())
		}
	})
}
