package ingest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/penstock-go/penstock/spool/segment"
)

// Framer cuts the byte stream of one connection into frames. It may keep state: every connection has a Framer of its own.
//
// If a Framer panics, the listener closes its connection, counts that (Stats.Panics), and logs the stack.
type Framer interface {
	// Next looks at data, the bytes of the stream that are not consumed yet, and returns how many of them to consume.
	//
	//	n, frame, nil   a record: frame is a slice of data, not nil, and may be empty
	//	n, nil, nil     n bytes that belong to no record, or to a record that is being skipped
	//	0, nil, nil     no whole frame yet: Next is called again with the same bytes and more after them
	//	n, nil, *LostFrame  a frame is lost, or more of a lost one; the stream continues after n
	//	n, nil, io.EOF  the peer says that it has ended the stream; the listener closes the connection
	//	n, nil, err     any other error: the rest of the stream cannot be understood; the listener closes the connection
	//
	// With eof there is nothing after data. Next is then called until it returns 0, nil, nil; bytes that are left are
	// counted as lost (malformed).
	//
	// A Framer whose protocol sends acknowledgements also implements Acknowledger. A Framer whose protocol packs several
	// frames into one, for example to compress them, also implements Unpacker.
	//
	// A frame and its framing must fit into Stream.MaxRecord plus 4,096 bytes.
	Next(data []byte, eof bool) (n int, frame []byte, err error)
}

// Unpacker is implemented by Framers that find several frames in one piece of the stream.
type Unpacker interface {
	Framer
	// Unpack returns the frames of the piece that Next has consumed, one with each call. The listener calls it each time
	// that Next has returned n, nil, nil, until it returns nil, nil. Until then the piece stays where it is in memory.
	//
	//	frame, nil       a record: frame is not nil, and may be empty; it is a slice of the piece or of the Framer's own memory
	//	nil, nil         the piece has no more frames
	//	nil, *LostFrame  a frame is lost
	//	nil, ErrFlush    the Framer wants to reuse memory of its own: see ErrFlush
	//	nil, err         any other error: as for Next
	Unpack() (frame []byte, err error)
}

// ErrFlush is returned by either method of an Unpacker, without any other result, before it changes memory of its own
// that frames point to. The listener then hands these frames to the Sink, which copies them, and repeats the call.
var ErrFlush = errors.New("ingest: the framer is about to reuse its memory")

// Framing makes the Framer of a connection. The package's own are Auto, Newline, OctetCounting, Len16, Len32,
// and those that Fixed returns.
//
// The listener calls it once for every connection, after the PROXY header and the TLS handshake. ListenTCP also calls it,
// with a Stream that has only MaxRecord, to learn whether the Framers are Acknowledgers: either all of them must be, or
// none.
type Framing func(s *Stream) Framer

// Stream describes the connection that a Framer is made for. The Framer may keep the Stream, but must not change it.
type Stream struct {
	// MaxRecord is the longest payload of a frame, which becomes a record, in bytes: TCPOptions.MaxRecord.
	MaxRecord int
	// Peer is the address of the sender, as in the records. If a trusted proxy names its client (TCPOptions.ProxyFrom), it
	// is the address of that client.
	Peer netip.AddrPort
	// Local is this side's address of the connection. Behind a proxy it is the address that the proxy connected to.
	Local netip.AddrPort
	// Listener is the address that the listener is bound to: TCP.Addr.
	Listener net.Addr
	// TLS is the state of the connection after its handshake; nil without TLS.
	TLS *tls.ConnectionState
	// Proxy has the extensions (TLVs) in the PROXY header of a trusted proxy; nil without any.
	Proxy *ProxyHeader
}

// LostFrame is the error that a Framer returns when it skips a single frame. A Framer reports an overlong frame as soon as
// it knows that the frame is lost, and the frame's further bytes as they arrive: the frame may take hours, or never end.
type LostFrame struct {
	// Cause is segment.FrameTooLong or segment.Malformed.
	Cause segment.Cause
	// Bytes of payload that were skipped.
	Bytes uint64
	// Rest means that these are more bytes of a frame that was reported before.
	Rest bool
}

// Error says what was lost, and why.
func (e *LostFrame) Error() string {
	if e.Cause == segment.FrameTooLong {
		return fmt.Sprintf("ingest: frame of %d bytes is over the limit", e.Bytes)
	}
	return fmt.Sprintf("ingest: malformed frame of %d bytes", e.Bytes)
}

// errMalformed says that the beginning of the next frame cannot be found.
var errMalformed = errors.New("ingest: malformed frame header")
