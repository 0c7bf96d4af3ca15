package ingest

import (
	"errors"
	"fmt"

	"github.com/penstock-go/penstock/spool/segment"
)

// Framer cuts the byte stream of one connection into frames. It may keep state: every connection has its own.
type Framer interface {
	// Next looks at data, the bytes of the stream that are not consumed yet, and returns how many of them to consume.
	//
	//	n, frame, nil   a record: frame is a slice of data, not nil, and may be empty
	//	n, nil, nil     n bytes that belong to no record, or to one that is being skipped
	//	0, nil, nil     no whole frame yet: Next is called again with more bytes, beginning with the same ones
	//	n, nil, *LostFrame  a frame is lost, or more of one that is; the stream goes on behind n
	//	n, nil, io.EOF  the peer says that it has ended the stream; the connection is closed
	//	n, nil, err     any other error: the stream makes no sense from here; the connection is closed
	//
	// With eof there is nothing behind data. Next is then called until it returns 0, nil, nil; bytes that are left are
	// lost (malformed).
	//
	// A Framer whose protocol answers is an Acknowledger too.
	//
	// A frame and its framing must fit into the limit the Framer was made with plus 4,096 bytes.
	Next(data []byte, eof bool) (n int, frame []byte, err error)
}

// Framing makes a Framer whose frames have a payload of at most max bytes. Newline, OctetCounting, Auto, Len16, Len32 and
// what Fixed returns are Framings.
type Framing func(max int) Framer

// LostFrame is the error of a Framer that passes over a single frame. A long one is told as soon as it is known to be
// lost, and its bytes as they come: a frame may take hours, or never end.
type LostFrame struct {
	// Cause is segment.FrameTooLong or segment.Malformed.
	Cause segment.Cause
	// Bytes of payload that were passed over.
	Bytes uint64
	// Rest says that the frame was told before: these are more bytes of it.
	Rest bool
}

// Error says what was lost, and why.
func (e *LostFrame) Error() string {
	if e.Cause == segment.FrameTooLong {
		return fmt.Sprintf("ingest: frame of %d bytes is over the limit", e.Bytes)
	}
	return fmt.Sprintf("ingest: malformed frame of %d bytes", e.Bytes)
}

// errMalformed: there is no telling where the next frame begins.
var errMalformed = errors.New("ingest: malformed frame header")
