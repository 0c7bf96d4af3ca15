package fluentforward

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"sync"
)

const (
	// firstBuffer is the size of the buffer through which compressed entries are inflated, unless an entry needs more.
	firstBuffer = 64 << 10
	// maxRatio is how much larger than TCPOptions.MaxRecord compressed entries may become.
	maxRatio = 64
)

// entries are the events of a message that are not unpacked yet: a single event, several in memory, or several that must
// be inflated.
type entries struct {
	active bool
	tag    []byte
	single [][]byte // time and record
	plain  []byte

	inflater *gzip.Reader // nil unless they are compressed
	source   bytes.Reader
	left     int64 // bytes that the entries may still inflate to
	ended    bool
	entry    scanner
	buf      []byte // buf[from:to] is inflated
	from, to int
}

// inflaters and the buffers that they fill are shared by all connections: they are needed only while entries are inflated.
var (
	inflaters sync.Pool
	buffers   = sync.Pool{New: func() any { return new([firstBuffer]byte) }}
)

// open begins with the entries of a message.
func (e *entries) open(packed []byte, compressed bool, max int) (err error) {
	e.active = true
	if !compressed {
		e.plain = packed
		return nil
	}
	e.source.Reset(packed)
	z, ok := inflaters.Get().(*gzip.Reader)
	if ok {
		err = z.Reset(&e.source)
	} else {
		z, err = gzip.NewReader(&e.source)
	}
	if err != nil {
		return fmt.Errorf("fluentforward: compressed entries: %w", err)
	}
	e.inflater, e.left = z, int64(max)*maxRatio
	e.buf = buffers.Get().(*[firstBuffer]byte)[:]
	return nil
}

// end releases what unpacking needed, after the last entry.
func (e *entries) end() {
	if e.inflater != nil {
		inflaters.Put(e.inflater)
		e.source.Reset(nil)
	}
	if len(e.buf) == firstBuffer {
		buffers.Put((*[firstBuffer]byte)(e.buf))
	}
	*e = entries{}
}

// next returns the time and the record of the next event; nil after the last.
func (e *entries) next(max int) (at, record []byte, err error) {
	switch {
	case e.single != nil:
		at, record = e.single[0], e.single[1]
		e.single = nil
		return at, record, nil
	case e.inflater != nil:
		entry, err := e.inflate(max)
		if entry == nil || err != nil {
			return nil, nil, err
		}
		at, record, _, err = cut(entry)
		return at, record, err
	case len(e.plain) == 0:
		return nil, nil, nil
	}
	at, record, e.plain, err = cut(e.plain)
	return at, record, err
}

// cut takes one entry, [time, record], off the front of b.
func cut(b []byte) (at, record, rest []byte, err error) {
	h, err := parse(b)
	if err != nil || h.kind != kindArray || h.length != 2 {
		return nil, nil, nil, errEntry
	}
	if at, rest, err = split(b[h.size:]); err != nil {
		return nil, nil, nil, err
	}
	record, rest, err = split(rest)
	return at, record, rest, err
}

// inflate returns the next entry; nil after the last.
func (e *entries) inflate(max int) (entry []byte, err error) {
	for {
		n, err := e.entry.scan(e.buf[e.from:e.to])
		if err != nil {
			return nil, err
		}
		if n > 0 {
			entry := e.buf[e.from : e.from+n]
			e.from += n
			return entry, nil
		}
		if e.ended {
			if e.from < e.to {
				return nil, errEntry
			}
			return nil, nil
		}
		if err := e.fill(max); err != nil {
			return nil, err
		}
	}
}

// fill inflates more into buf. No frame points to it.
func (e *entries) fill(max int) error {
	if e.to == len(e.buf) {
		rest := e.buf[e.from:e.to]
		if e.from == 0 {
			if len(e.buf) > max {
				return errLarge
			}
			e.buf = make([]byte, min(max+firstBuffer, 2*len(e.buf)+firstBuffer))
		}
		e.from, e.to = 0, copy(e.buf, rest)
	}
	n, err := e.inflater.Read(e.buf[e.to:])
	e.to += n
	if e.left -= int64(n); e.left < 0 {
		return errLarge
	}
	switch err {
	case nil:
		return nil
	case io.EOF:
		e.ended = true
		return nil
	}
	return fmt.Errorf("fluentforward: compressed entries: %w", err)
}
