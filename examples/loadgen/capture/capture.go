// Package capture reads the UDP datagrams of pcap and pcapng files, also gzipped ones, without libpcap.
//
// A [Reader] yields each datagram with its time and its source, and joins fragments. It counts each packet that yields no
// datagram by cause, so that packets = datagrams + skipped. The files come from other parties: whatever they contain, a Reader
// at worst returns an error, and its memory is bounded.
package capture

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Datagram is one UDP datagram. The caller owns its Payload.
type Datagram struct {
	Time    time.Time
	Source  netip.AddrPort
	Port    uint16 // the destination port
	Payload []byte
}

// Causes of packets that yield no datagram.
const (
	NotUDP     = "not UDP"
	Cut        = "cut by the snap length of the capture"
	Malformed  = "malformed"
	OtherPort  = "for another port"
	Joined     = "fragment of a datagram that was joined"
	Incomplete = "fragment of a datagram that is not complete in the capture"
)

// Reader reads one file.
type Reader struct {
	port uint16
	next func() (data []byte, info gopacket.CaptureInfo, link layers.LinkType, err error)

	packets   uint64
	skipped   map[string]uint64
	fragments fragments
}

// maxPacket bounds a packet; libpcap has the same limit.
const maxPacket = 256 << 10

// NewReader returns a reader of the datagrams to a port; 0 means any.
func NewReader(file io.Reader, port uint16) (*Reader, error) {
	in := bufio.NewReaderSize(file, 64<<10)
	magic, err := in.Peek(4)
	if err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		z, zerr := gzip.NewReader(in)
		if zerr != nil {
			return nil, fmt.Errorf("gzip: %w", zerr)
		}
		in = bufio.NewReaderSize(z, 64<<10)
		magic, err = in.Peek(4)
	}
	if err != nil {
		return nil, fmt.Errorf("neither a pcap nor a pcapng file: it has %d bytes: %w", len(magic), eof(err))
	}
	r := &Reader{port: port, skipped: map[string]uint64{}, fragments: newFragments()}
	if string(magic) == "\x0a\x0d\x0d\x0a" {
		err = r.openNG(in)
	} else {
		err = r.open(in)
	}
	if err != nil {
		return nil, fmt.Errorf("neither a pcap nor a pcapng file: %w", eof(err))
	}
	return r, nil
}

func (r *Reader) open(in io.Reader) error {
	f, err := pcapgo.NewReader(in)
	if err != nil {
		return err
	}
	r.next = func() ([]byte, gopacket.CaptureInfo, layers.LinkType, error) {
		data, info, err := f.ReadPacketData()
		return data, info, f.LinkType(), err
	}
	return nil
}

func (r *Reader) openNG(in io.Reader) error {
	f, err := pcapgo.NewNgReader(in, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
	if err != nil {
		return err
	}
	r.next = func() ([]byte, gopacket.CaptureInfo, layers.LinkType, error) {
		data, info, err := f.ReadPacketData()
		link := f.LinkType()
		if len(info.AncillaryData) > 0 {
			link, _ = info.AncillaryData[0].(layers.LinkType)
		}
		return data, info, link, err
	}
	return nil
}

// Packets returns how many packets were read.
func (r *Reader) Packets() uint64 { return r.packets }

// Skipped returns how many packets yielded no datagram, by cause.
func (r *Reader) Skipped() map[string]uint64 {
	m := maps.Clone(r.skipped)
	if n := r.fragments.waiting(); n > 0 {
		m[Incomplete] += n
	}
	return m
}

// eof describes an end of the file where there should be more; it returns any other error unchanged.
func eof(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the file ends in the middle of something: it was cut off")
	}
	return err
}

// Next returns the next datagram; io.EOF at the end of the file. Any other error says which packet cannot be read, and is
// final: after a damaged length nothing in the file can be trusted.
func (r *Reader) Next() (Datagram, error) {
	for {
		data, info, link, err := r.read()
		if errors.Is(err, io.EOF) {
			return Datagram{}, io.EOF
		}
		if err != nil {
			return Datagram{}, fmt.Errorf("packet %d cannot be read, and what follows neither: %w", r.packets+1, eof(err))
		}
		r.packets++
		d, cause := r.decode(data, info, link)
		if cause == "" {
			return d, nil
		}
		if cause != Incomplete { // an incomplete datagram waits for its other fragments
			r.skipped[cause]++
		}
	}
}

// read reads a packet. It returns io.EOF only at the end of the file between two packets.
func (r *Reader) read() (data []byte, info gopacket.CaptureInfo, link layers.LinkType, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the decoder failed: %v", p)
		}
	}()
	data, info, link, err = r.next()
	switch {
	case err == nil && (len(data) > maxPacket || info.CaptureLength != len(data)):
		err = fmt.Errorf("a packet of %d bytes", info.CaptureLength)
	case errors.Is(err, io.EOF) && info.Length > 0: // after the header of a packet
		err = io.ErrUnexpectedEOF
	}
	return data, info, link, err
}

// decode finds the datagram in a packet, or returns the cause why there is none.
func (r *Reader) decode(data []byte, info gopacket.CaptureInfo, link layers.LinkType) (d Datagram, cause string) {
	if info.CaptureLength < info.Length {
		return d, Cut
	}
	packet := gopacket.NewPacket(data, link, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	network := packet.NetworkLayer()
	if network == nil {
		if packet.ErrorLayer() != nil {
			return d, Malformed
		}
		return d, NotUDP
	}
	src, payload, cause := r.fragments.transport(packet, network, info.Timestamp)
	if n := r.fragments.joined(); n > 0 {
		r.skipped[Joined] += n
	}
	if cause != "" {
		return d, cause
	}
	var u layers.UDP
	if err := u.DecodeFromBytes(payload, gopacket.NilDecodeFeedback); err != nil || int(u.Length) != len(u.Contents)+len(u.Payload) {
		return d, Malformed
	}
	if r.port != 0 && uint16(u.DstPort) != r.port {
		return d, OtherPort
	}
	return Datagram{Time: info.Timestamp, Source: netip.AddrPortFrom(src, uint16(u.SrcPort)), Port: uint16(u.DstPort), Payload: u.Payload}, ""
}
