package fluentforward

import (
	"errors"
	"math"
	"sync"
	"time"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ingest/internal/jsonstring"
	"github.com/penstock-go/penstock/spool/segment"
)

var (
	errMessage = errors.New("fluentforward: no message: want [tag, time, record], [tag, entries] or [tag, packed entries], each with options or without")
	errEntry   = errors.New("fluentforward: no entry: want [time, record]")
	errCodec   = errors.New("fluentforward: entries are compressed, and not with gzip")
	errLarge   = errors.New("fluentforward: a message is over the limit (TCPOptions.MaxRecord)")
)

// Framing is the Forward protocol as an ingest.Framing. Its Framers are Acknowledgers, so the listener's sink must have
// WaitDurable, as spool.Intake does.
func Framing(s *ingest.Stream) ingest.Framer { return &session{max: s.MaxRecord} }

// session is the server's side of one connection.
type session struct {
	max     int
	message scanner
	entries        // of the message that is being unpacked
	json    []byte // where events become JSON; frames point to it
	held    bool   // frames point to json
	ack     []byte // the chunk of the message, nil for none
	asks    bool   // the message has a chunk
	asked   bool   // the messages of all frames returned since the last ErrFlush have a chunk
	out     []byte // acknowledgements that Answers has not returned yet
	sent    []byte // what Answers returned last
}

var (
	_ ingest.Acknowledger         = (*session)(nil)
	_ ingest.Unpacker             = (*session)(nil)
	_ ingest.OptionalAcknowledger = (*session)(nil)
)

const (
	// maxTag bounds the tag: each event of a message repeats it, and a message may have as many events as a third of its bytes.
	maxTag = 4 << 10
	// maxChunk bounds the id of a chunk, which is 24 bytes in all clients: the listener holds acknowledgements in memory.
	maxChunk = 1 << 10
)

const (
	// flushBytes is how much JSON is made before the listener must take it.
	flushBytes = 256 << 10
	// jsonBytes is the size of the memory for that, with room for the event that reaches flushBytes, which is usually
	// short.
	jsonBytes = flushBytes + 32<<10
	// keptJSON is how much memory an idle connection may keep, which is enough for clients that send single events.
	keptJSON = 16 << 10
)

// jsonMemory is shared by all connections: it is needed only while a message of many events is unpacked.
var jsonMemory = sync.Pool{New: func() any { return new([jsonBytes]byte) }}

// Next implements ingest.Framer.
func (s *session) Next(data []byte, eof bool) (n int, frame []byte, err error) {
	n, err = s.message.scan(data)
	if n == 0 || err != nil {
		if len(data) > s.max && err == nil {
			err = errLarge
		}
		return 0, nil, err
	}
	if h, _ := parse(data); h.kind == kindNil { // a heartbeat
		return n, nil, nil
	}
	if err := s.begin(data[:n]); err != nil {
		return 0, nil, err
	}
	return n, nil, nil
}

// begin splits a complete message into its parts.
func (s *session) begin(message []byte) error {
	h, err := parse(message)
	if err != nil || h.kind != kindArray || h.length < 2 || h.length > 4 {
		return errMessage
	}
	parts := make([][]byte, 0, 4)
	for rest := message[h.size:]; len(parts) < h.length; {
		var part []byte
		if part, rest, err = split(rest); err != nil {
			return err
		}
		parts = append(parts, part)
	}
	tag, ok := text(parts[0])
	second, err := parse(parts[1])
	if !ok || err != nil || len(tag) > maxTag {
		return errMessage
	}
	s.tag = tag
	options := parts[2:]
	packed := second.kind == kindString || second.kind == kindBinary
	switch {
	case second.kind == kindArray, packed:
		if len(options) > 1 {
			return errMessage
		}
	case len(options) == 0:
		return errMessage
	default:
		s.single = parts[1:3:3]
		options = parts[3:]
	}
	compressed, err := s.options(options)
	switch {
	case err != nil:
		return err
	case packed:
		b, _ := text(parts[1])
		return s.open(b, compressed, s.max)
	case second.kind == kindArray:
		return s.open(parts[1][second.size:], false, s.max)
	}
	s.active = true
	return nil
}

// options reads the chunk id and whether the entries are compressed.
func (s *session) options(options [][]byte) (compressed bool, err error) {
	s.ack, s.asks = nil, false
	if len(options) == 0 {
		return false, nil
	}
	h, err := parse(options[0])
	if err != nil || h.kind != kindMap && h.kind != kindNil {
		return false, errMessage
	}
	rest := options[0][h.size:]
	for range h.length {
		var key, value []byte
		if key, rest, err = split(rest); err != nil {
			return false, err
		}
		if value, rest, err = split(rest); err != nil {
			return false, err
		}
		name, _ := text(key)
		v, isText := text(value)
		switch {
		case string(name) == "chunk" && isText && len(v) > maxChunk:
			return false, errMessage
		case string(name) == "chunk" && isText:
			s.ack, s.asks = value, true
		case string(name) == "compressed" && isText && string(v) == "gzip":
			compressed = true
		case string(name) == "compressed" && isText && string(v) != "text":
			return false, errCodec
		}
	}
	return compressed, nil
}

// Unpack implements ingest.Unpacker.
func (s *session) Unpack() (frame []byte, err error) {
	if !s.active {
		return nil, nil
	}
	// Either all messages of a batch ask for an acknowledgement, or none does: see Asked.
	if s.held && (len(s.json) >= flushBytes || s.asks != s.asked) {
		s.held = false
		return nil, ingest.ErrFlush
	}
	s.asked = s.asks
	if !s.held {
		s.json = s.json[:0]
		if cap(s.json) > 4*flushBytes { // release the memory of a large event
			s.json = nil
		}
		if cap(s.json) < jsonBytes && s.single == nil {
			s.json = jsonMemory.Get().(*[jsonBytes]byte)[:0]
		}
	}
	at, record, err := s.next(s.max)
	switch {
	case err != nil:
		return nil, err
	case at == nil:
		s.end()
		if s.ack != nil {
			s.out = append(append(s.out, "\x81\xa3ack"...), s.ack...)
			s.ack = nil // it points to the listener's buffer
		}
		return nil, nil
	}
	return s.event(at, record)
}

// event makes the JSON of an event. If json has no room for it, append moves json, but frames that were returned before
// still point to the old memory.
//
// Only an event that has no JSON form or is over the limit is lost, not its whole chunk: the client would send the chunk again
// without end, and its earlier events would be kept each time.
func (s *session) event(at, record []byte) (frame []byte, err error) {
	from := len(s.json)
	b, err := s.appendEvent(s.json, at, record, from+s.max)
	if err != nil {
		cause := segment.Malformed
		if err == errLong {
			cause = segment.FrameTooLong
		}
		return nil, &ingest.LostFrame{Cause: cause, Bytes: uint64(len(at) + len(record))}
	}
	s.json, s.held = b, true
	return b[from:len(b):len(b)], nil
}

// appendEvent appends the JSON of an event, unless it makes b longer than limit.
func (s *session) appendEvent(b, at, record []byte, limit int) (out []byte, err error) {
	if h, err := parse(record); err != nil || h.kind != kindMap {
		return nil, errEntry
	}
	at, metadata, err := timeAndMetadata(at)
	if err != nil {
		return nil, err
	}
	t, ok := timeOf(at)
	if !ok {
		return nil, errEntry
	}
	b = append(jsonstring.Append(append(b, `{"tag":`...), s.tag, limit), `,"time":`...)
	b = appendTime(b, t)
	if metadata != nil {
		if b, _, err = appendJSON(append(b, `,"metadata":`...), metadata, 0, limit); err != nil {
			return nil, err
		}
	}
	b = append(b, `,"record":`...)
	if b, _, err = appendJSON(b, record, 0, limit); err != nil {
		return nil, err
	}
	if b = append(b, '}'); len(b) > limit {
		return nil, errLong
	}
	return b, nil
}

// timeAndMetadata splits [time, metadata], which Fluent Bit can send instead of a time. Empty metadata is returned as nil.
func timeAndMetadata(b []byte) (at, metadata []byte, err error) {
	h, err := parse(b)
	if err != nil || h.kind != kindArray {
		return b, nil, err
	}
	if at, metadata, err = split(b[h.size:]); err != nil || h.length != 2 {
		return nil, nil, errEntry
	}
	if h, err = parse(metadata); err != nil || h.kind != kindMap {
		return nil, nil, errEntry
	}
	if h.length == 0 {
		metadata = nil
	}
	return at, metadata, nil
}

// timeOf reads the time of an event: seconds, or an event time.
func timeOf(b []byte) (time.Time, bool) {
	h, err := parse(b)
	if err != nil {
		return time.Time{}, false
	}
	switch h.kind {
	case kindUint, kindInt:
		return time.Unix(int64(h.bits), 0), true
	case kindFloat:
		sec, frac := math.Modf(math.Float64frombits(h.bits))
		return time.Unix(int64(sec), int64(frac*1e9)), true
	}
	return eventTime(&h, b[h.size:])
}

// Answers implements ingest.Acknowledger. The listener calls it when the sink has taken all frames, so their memory can be
// reused.
func (s *session) Answers() []byte {
	if !s.active {
		s.freeJSON()
	}
	s.sent, s.out = s.out, s.sent[:0]
	return s.sent
}

// freeJSON releases the memory of json when no frame points to it any more.
func (s *session) freeJSON() {
	s.json, s.held = s.json[:0], false
	if cap(s.json) == jsonBytes {
		jsonMemory.Put((*[jsonBytes]byte)(s.json[:jsonBytes]))
	}
	if cap(s.json) > keptJSON {
		s.json = nil
	}
}

// Asked implements ingest.OptionalAcknowledger: a client asks in each message. An incomplete message is assumed to ask if the
// message before it did.
func (s *session) Asked() bool { return s.asked }

// Bye implements ingest.Acknowledger. The protocol has no last message.
func (s *session) Bye() []byte { return nil }
