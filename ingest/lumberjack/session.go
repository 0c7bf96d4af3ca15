package lumberjack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ingest/internal/jsonstring"
	"github.com/penstock-go/penstock/spool/segment"
)

var (
	errVersion = errors.New("lumberjack: no frame of version 2")
	errNested  = errors.New("lumberjack: a compressed frame inside a compressed frame")
	errLarge   = errors.New("lumberjack: a frame is over the limit (TCPOptions.MaxRecord)")
	errCut     = errors.New("lumberjack: a compressed frame ends inside a frame")
)

// Framing is Lumberjack version 2 as an ingest.Framing. Its Framers are Acknowledgers, so the listener's sink must have
// WaitDurable, as spool.Intake does.
func Framing(s *ingest.Stream) ingest.Framer { return &session{max: s.MaxRecord} }

// session is the server's side of one connection.
type session struct {
	max  int
	skip skipped
	scanned
	unpacking

	// Of the present window:
	window uint32 // events that were announced
	count  uint32 // events that have arrived
	seq    uint32 // of the last one
	told   bool   // out contains an acknowledgement of seq
	out    []byte // acknowledgements that Answers has not returned yet
	sent   []byte // what Answers returned last
}

// skipped is an event over the limit.
type skipped struct {
	left int // bytes still to come
	seq  uint32
}

var (
	_ ingest.Acknowledger = (*session)(nil)
	_ ingest.Unpacker     = (*session)(nil)
	_ ingest.KeepAliver   = (*session)(nil)
)

// Next implements ingest.Framer.
func (s *session) Next(data []byte, eof bool) (n int, frame []byte, err error) {
	if s.skip.left > 0 {
		n := min(s.skip.left, len(data))
		if n == 0 {
			return 0, nil, nil
		}
		return n, nil, s.pass(n)
	}
	if len(data) >= 6 && data[0] == '2' && data[1] == 'C' {
		size := binary.BigEndian.Uint32(data[2:])
		switch {
		case uint64(size) > uint64(s.max):
			return 0, nil, errLarge
		case len(data)-6 < int(size):
			return 0, nil, nil
		}
		if err := s.begin(data[6:6+size], s.max); err != nil {
			return 0, nil, err
		}
		return 6 + int(size), nil, nil
	}
	return s.one(data)
}

// one takes an uncompressed frame from the front of data.
func (s *session) one(data []byte) (n int, frame []byte, err error) {
	switch {
	case len(data) > 0 && data[0] != '2':
		return 0, nil, errVersion
	case len(data) < 6:
		return 0, nil, nil
	}
	number := binary.BigEndian.Uint32(data[2:])
	switch data[1] {
	case 'W':
		s.open(number)
		return 6, nil, nil
	case 'J':
		if len(data) < 10 {
			return 0, nil, nil
		}
		size := binary.BigEndian.Uint32(data[6:])
		if uint64(size) > uint64(s.max) {
			if uint64(size) > 1<<31-1 {
				return 0, nil, errLarge
			}
			s.skip = skipped{int(size), number}
			return 10, nil, &ingest.LostFrame{Cause: segment.FrameTooLong}
		}
		end := 10 + int(size)
		if len(data) < end {
			return 0, nil, nil
		}
		s.event(number)
		return end, data[10:end:end], nil
	case 'D':
		n, frame, err = s.pairs(data)
		if n > 0 { // whether it is lost or not
			s.event(number)
		}
		return n, frame, err
	case 'C':
		return 0, nil, errNested
	}
	return 0, nil, fmt.Errorf("%w: frame %q", errVersion, data[1])
}

// pass skips n bytes of an event over the limit. At its last byte, the event counts in its window like any other.
func (s *session) pass(n int) error {
	if s.skip.left -= n; s.skip.left == 0 {
		s.event(s.skip.seq)
	}
	return &ingest.LostFrame{Cause: segment.FrameTooLong, Bytes: uint64(n), Rest: true}
}

// pairs takes a data frame and returns it as a JSON object, in newly allocated memory. The JSON may have six times the bytes of the
// frame, so it is made only up to the limit. If it exceeds the limit, only this event is lost, like any other event over the limit.
func (s *session) pairs(data []byte) (n int, frame []byte, err error) {
	end, err := s.dataEnd(data)
	if end == 0 || err != nil {
		return 0, nil, err
	}
	frame = []byte{'{'}
	for n := 10; n < end && len(frame) < s.max; {
		for _, before := range []byte{',', ':'} {
			size := int(binary.BigEndian.Uint32(data[n:]))
			n += 4
			if len(frame) > 1 {
				frame = append(frame, before)
			}
			frame = jsonstring.Append(frame, data[n:n+size], s.max)
			n += size
		}
	}
	if frame = append(frame, '}'); len(frame) > s.max {
		return end, nil, &ingest.LostFrame{Cause: segment.FrameTooLong, Bytes: uint64(end - 10)}
	}
	return end, frame, nil
}

// scanned is how much of an incomplete data frame was scanned, so that scanning does not restart at the front after each
// read.
type scanned struct {
	at   int    // where the next key or value begins; 0 at the front
	left uint64 // keys and values still to come
}

// dataEnd returns where the data frame at the front of data ends; 0 if it is incomplete. Keys and values may have max bytes
// together with their sizes. The announced sizes decide, not how much has arrived, so the result does not depend on how
// reads cut the frame.
func (s *session) dataEnd(data []byte) (end int, err error) {
	p := &s.scanned
	if p.at == 0 {
		if len(data) < 10 {
			return 0, nil
		}
		*p = scanned{10, 2 * uint64(binary.BigEndian.Uint32(data[6:]))}
	}
	for ; p.left > 0; p.left-- {
		size, known := uint32(0), len(data)-p.at >= 4
		if known {
			size = binary.BigEndian.Uint32(data[p.at:])
		}
		if uint64(p.at-10)+4*p.left+uint64(size) > uint64(s.max) {
			return 0, errLarge
		}
		if !known || len(data)-p.at-4 < int(size) {
			return 0, nil
		}
		p.at += 4 + int(size)
	}
	end, *p = p.at, scanned{}
	return end, nil
}

// open begins a window. Events of the window before it are acknowledged separately.
func (s *session) open(events uint32) {
	s.tell()
	s.window, s.count, s.seq, s.told = events, 0, 0, true
}

// event counts an event of the window.
func (s *session) event(seq uint32) {
	s.count++
	s.seq, s.told = seq, false
	if s.count == s.window { // the next window may begin without a window frame
		s.tell()
		s.count = 0
	}
}

// tell acknowledges the window up to the last event.
func (s *session) tell() {
	if !s.told && s.seq > 0 {
		s.out = binary.BigEndian.AppendUint32(append(s.out, '2', 'A'), s.seq)
	}
	s.told = true
}

// Answers implements ingest.Acknowledger.
func (s *session) Answers() []byte {
	s.tell()
	s.sent, s.out = s.out, s.sent[:0]
	return s.sent
}

// Bye implements ingest.Acknowledger. The protocol has no last message.
func (s *session) Bye() []byte { return nil }

// KeepAlive implements ingest.KeepAliver with the acknowledgement of event 0.
func (s *session) KeepAlive() (every time.Duration, message []byte) {
	return 5 * time.Second, []byte{'2', 'A', 0, 0, 0, 0}
}
