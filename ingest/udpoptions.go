package ingest

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"github.com/penstock-go/penstock/internal/steadylog"
	"github.com/penstock-go/penstock/spool/segment"
)

// maxDatagram is the length in bytes that every UDP datagram fits into.
const maxDatagram = 65535

// perDatagram is what Linux charges a receive buffer for a datagram of up to 512 bytes; a longer one costs more.
const perDatagram = 1280

// UDPOptions configure a UDP listener. The zero value of every field means its documented default.
type UDPOptions struct {
	// Network is "udp" (default), "udp4", "udp6", or "unixgram", for which the address is a path.
	Network string
	// Sockets is the number of SO_REUSEPORT sockets, each with its own goroutine and receive buffer; default 1. The
	// kernel queues all datagrams of a flow, that is of one pair of addresses and ports, in one socket, so more sockets
	// help only with more flows. More than 1 needs Linux. The port is not shared with other processes.
	Sockets int
	// ReceiveBuffer is the size that each socket requests, in bytes; default 64 MiB, about 100,000 datagrams of 512
	// bytes. The kernel grants more than net.core.rmem_max only with CAP_NET_ADMIN, and net.ipv4.udp_mem bounds all
	// sockets of the host together. See Stats.ReceiveBuffer.
	ReceiveBuffer int
	// MaxRecord is the longest record that is kept, which is the payload of a datagram, in bytes; default 65,535. This is
	// also the most for UDP, where no datagram is longer; for a unix socket it is segment.MaxRecord. A longer datagram is
	// lost as a whole (truncated).
	MaxRecord int
	// GRO lets the kernel deliver the datagrams of a flow in aggregates, at a fraction of the cost. The kernel aggregates
	// datagrams of equal length that follow each other closely, from a few dozen flows at a time. Lines of varying length
	// and datagrams of hundreds of senders mostly remain single, so that GRO gains little for them.
	//
	// The kernel then counts a dropped aggregate as one datagram, so such losses are marked AtLeast. An aggregate from the
	// network has up to 64 datagrams, one from a sender on the same host (UDP_SEGMENT) up to 128. Linux only; ignored
	// elsewhere. An inherited socket that has GRO on keeps it on.
	GRO bool
	// ExpectedRate is the number of datagrams per second that this listener must handle. If it is set, the listener
	// warns when the receive buffer holds less than one second of it.
	ExpectedRate int
	// ProxyFrom are the relays that put a PROXY header of version 2 before the payload of every datagram. Records then
	// have the client's address and do not contain the header. A datagram from a relay with a missing or invalid header
	// is kept unchanged, with the relay's address. Headers from other addresses are not trusted. Both are counted
	// (Stats.ProxyMalformed, Stats.ProxyIgnored). A header that is removed does not count towards MaxRecord.
	//
	// An AWS Network Load Balancer needs no header for UDP: it always preserves the client's address there.
	ProxyFrom []netip.Prefix
	// Attributes returns the attributes of datagrams (segment.Attrs), for example ConnAttrs; nil means none. It is called
	// when the listener is made, with a Stream that has MaxRecord and Listener only, and once for each set of extensions
	// in PROXY headers, with these in Stream.Proxy. It must not block. If it panics or returns an invalid set, the
	// datagrams have no attributes. Both are logged, and a panic is also counted (Stats.Panics).
	Attributes func(s *Stream) map[string]string
	// Mode, Owner and Group determine which users may send to a unix socket, which requires write permission to its file.
	// They are set before any process can reach the socket. Owner and Group are names or numbers; default this process's.
	// Mode has permission bits only, such as 0o666. Its default follows from the umask, which usually admits only this
	// process's user, or is 0o660 with an Owner or a Group. An inherited socket keeps its own.
	Mode         os.FileMode
	Owner, Group string
	// Files are bound sockets to take over instead of binding the address, as Inherited returns them; Network and
	// Sockets then follow from them. They belong to the caller, and are shared with other processes: Shutdown reads
	// what had arrived by then and leaves them as they are, for the next process.
	Files []*os.File
	// OwnFiles says that the Files belong to this listener alone, as after a hand-over: Shutdown then closes them.
	OwnFiles bool
	// Hooks are called with what is received: see HookReceived.
	Hooks []Hook
	// Logger gets lines about the life cycle, and about losses at a bounded rate; nil discards.
	Logger *slog.Logger
}

func (o *UDPOptions) withDefaults() UDPOptions {
	var c UDPOptions
	if o != nil {
		c = *o
	}
	if c.Network == "" {
		c.Network = "udp"
	}
	if c.Sockets == 0 {
		c.Sockets = 1
	}
	if c.ReceiveBuffer == 0 {
		c.ReceiveBuffer = 64 << 20
	}
	if c.MaxRecord == 0 {
		c.MaxRecord = maxDatagram
	}
	c.Logger = steadylog.Wrap(c.Logger)
	return c
}

func (o *UDPOptions) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("ingest: "+format, args...)) }
	switch o.Network {
	case "udp", "udp4", "udp6":
		if o.MaxRecord < 1 || o.MaxRecord > maxDatagram {
			bad("MaxRecord %d: want 1 to %d bytes", o.MaxRecord, maxDatagram)
		}
	case "unixgram":
		if o.MaxRecord < 1 || o.MaxRecord > segment.MaxRecord {
			bad("MaxRecord %d: want 1 to %d bytes", o.MaxRecord, segment.MaxRecord)
		}
		if o.Sockets > 1 {
			bad("Sockets %d: a unix socket cannot be shared", o.Sockets)
		}
	default:
		bad("Network %q: want udp, udp4, udp6 or unixgram", o.Network)
	}
	if o.Sockets < 1 || o.Sockets > 256 {
		bad("Sockets %d: want 1 to 256", o.Sockets)
	} else if o.Sockets > 1 && !canReusePort {
		bad("Sockets %d: more than one needs Linux", o.Sockets)
	}
	if o.ReceiveBuffer < 4096 || o.ReceiveBuffer > 1<<30 {
		bad("ReceiveBuffer %d: want 4 KiB to 1 GiB", o.ReceiveBuffer)
	}
	if len(o.ProxyFrom) > 0 && o.Network == "unixgram" {
		bad("ProxyFrom: senders on unix sockets have no address that could be trusted")
	}
	errs = append(errs, proxies(o.ProxyFrom).validate())
	if o.Mode&^os.ModePerm != 0 {
		bad("Mode %v: want permission bits only", o.Mode)
	}
	a, err := o.access()
	if errs = append(errs, err); err == nil && a.set() && o.Network != "unixgram" && len(o.Files) == 0 {
		bad("Mode, Owner and Group are for unix sockets")
	}
	errs = append(errs, checkHooks(o.Hooks))
	if o.ExpectedRate < 0 {
		bad("ExpectedRate %d: want datagrams per second", o.ExpectedRate)
	}
	return errors.Join(errs...)
}
