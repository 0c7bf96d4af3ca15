package relp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/segment"
)

// maxControl is the most data of any command but syslog. It fits into the bytes that a frame may have in addition to its
// payload (see ingest.Framer).
const maxControl = 2048

// version is the newest version of the protocol that is supported here. librelp calls the same version 0.
const version = 1

var (
	errNotOpen  = errors.New("relp: the session is not open")
	errReopened = errors.New("relp: the session is open already")
	errVersion  = errors.New("relp: the client offers no relp_version")
	errCommands = errors.New("relp: the client does not offer the command syslog")
	errTooLong  = errors.New("relp: a command other than syslog with too much data")
	errHint     = errors.New("relp: syslog as a hint, which could not be acknowledged")
)

// Framing is RELP as an ingest.Framing. It takes messages of up to Stream.MaxRecord bytes. Its Framers are Acknowledgers, so
// the listener's sink must have WaitDurable, as spool.Intake does.
func Framing(s *ingest.Stream) ingest.Framer { return &session{max: s.MaxRecord, want: 1} }

// session is the server's side of one connection. It collects answers in the order of the commands; the listener sends them
// when the messages that they acknowledge are durable.
type session struct {
	max  int
	open bool
	want uint32 // the next transaction number
	out  []byte // answers that Answers has not returned yet

	skip refused // the frame that is being skipped, if skip.left > 0
}

// refused is a frame that is skipped. The answer follows when the whole frame was skipped, so that its data need not be
// kept.
type refused struct {
	left  int // bytes of data and LF still to come
	txnr  uint32
	size  int
	cause segment.Cause
}

var _ ingest.Acknowledger = (*session)(nil)

// Next implements ingest.Framer.
func (s *session) Next(data []byte, eof bool) (n int, frame []byte, err error) {
	if s.skip.left > 0 {
		return s.pass(data, eof)
	}
	h, n, err := parseHeader(data)
	if n == 0 || err != nil {
		return 0, nil, err
	}
	limit, cause, err := s.check(&h)
	if err != nil {
		return 0, nil, err
	}
	if h.size > limit {
		s.want = next(s.want)
		s.skip = refused{left: h.size + 1, txnr: h.txnr, size: h.size, cause: cause}
		return n + 1, nil, nil
	}
	n, payload, err := h.frame(data, n)
	if n == 0 || err != nil {
		return 0, nil, err
	}
	if h.txnr == 0 {
		return n, nil, nil
	}
	s.want = next(s.want)
	switch string(h.command) {
	case "syslog":
		s.out = append(strconv.AppendUint(s.out, uint64(h.txnr), 10), " rsp 6 200 OK\n"...)
		return n, payload, nil
	case "open":
		return n, nil, s.openSession(h.txnr, payload)
	case "close":
		s.answer(h.txnr, "200 OK")
		return n, nil, io.EOF
	}
	return n, nil, s.refuse(refused{txnr: h.txnr, size: h.size, cause: segment.Malformed})
}

// check returns how much data a frame may have, and the cause of loss if it has more; or an error that ends the
// connection.
func (s *session) check(h *header) (limit int, cause segment.Cause, err error) {
	switch {
	case h.txnr == 0: // a hint, which is not answered; none has a meaning for a server
		switch {
		case string(h.command) == "syslog":
			return 0, 0, errHint
		case h.size > maxControl:
			return 0, 0, errTooLong
		}
		return maxControl, 0, nil
	case h.txnr != s.want:
		// Otherwise a message would be missing or repeated, and answers could not be matched with messages.
		return 0, 0, orderError(h.txnr, s.want)
	}
	switch string(h.command) {
	case "syslog":
		if !s.open {
			return 0, 0, s.fail(h.txnr, errNotOpen)
		}
		return s.max, segment.FrameTooLong, nil
	case "open":
		if s.open {
			return 0, 0, s.fail(h.txnr, errReopened)
		}
	case "close":
	default:
		if !s.open {
			return 0, 0, s.fail(h.txnr, errNotOpen)
		}
		return maxControl, segment.Malformed, nil
	}
	if h.size > maxControl {
		return 0, 0, errTooLong
	}
	return maxControl, 0, nil
}

// pass consumes bytes of a refused frame.
func (s *session) pass(data []byte, eof bool) (int, []byte, error) {
	switch k := &s.skip; {
	case k.left > 1 && len(data) > 0:
		n := min(len(data), k.left-1)
		k.left -= n
		return n, nil, nil
	case len(data) > 0 && data[0] != '\n':
		return 0, nil, errTrailer
	case len(data) > 0:
		return 1, nil, s.refuse(*k)
	case eof:
		k.size -= k.left - 1 // the rest never arrived
		return 0, nil, s.refuse(*k)
	}
	return 0, nil, nil
}

// refuse answers that a frame was not taken. This is final, since the client does not send the frame again. So only
// frames that can never be taken are refused, and none because of overload.
func (s *session) refuse(k refused) error {
	if k.cause == segment.FrameTooLong {
		s.answer(k.txnr, fmt.Sprintf("500 message of %d bytes, the limit is %d", k.size, s.max))
	} else {
		s.answer(k.txnr, "500 command not supported")
	}
	s.skip = refused{}
	return &ingest.LostFrame{Cause: k.cause, Bytes: uint64(k.size)}
}

// fail answers a command with an error, which ends the connection.
func (s *session) fail(txnr uint32, err error) error {
	s.answer(txnr, "500 "+err.Error())
	return err
}

// openSession answers the client's offers with the accepted ones.
func (s *session) openSession(txnr uint32, offers []byte) error {
	v, commands, syslog := -1, false, false
	for line := range bytes.SplitSeq(offers, []byte("\n")) {
		name, value, _ := bytes.Cut(line, []byte("="))
		switch string(name) {
		case "relp_version":
			if i, err := strconv.Atoi(string(value)); err == nil {
				v = i
			}
		case "commands":
			commands = true
			for c := range bytes.SplitSeq(value, []byte(",")) {
				syslog = syslog || string(c) == "syslog"
			}
		}
	}
	switch {
	case v < 0:
		return s.fail(txnr, errVersion)
	case commands && !syslog:
		return s.fail(txnr, errCommands)
	}
	s.open = true
	s.answer(txnr, fmt.Sprintf("200 OK\nrelp_version=%d\nrelp_software=penstock\ncommands=syslog", min(v, version)))
	return nil
}

// answer appends a frame "rsp". It is not on the hot path.
func (s *session) answer(txnr uint32, data string) {
	s.out = fmt.Appendf(s.out, "%d rsp %d %s\n", txnr, len(data), data)
}

// Answers implements ingest.Acknowledger.
func (s *session) Answers() []byte {
	b := s.out
	s.out = s.out[:0]
	return b
}

// Bye implements ingest.Acknowledger with the hint serverclose.
func (s *session) Bye() []byte { return []byte("0 serverclose 0\n") }
