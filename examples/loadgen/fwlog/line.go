// Package fwlog makes log lines like those of a firewall that prove themselves: each contains its run, its source, its sequence
// number and a checksum. A Tally of the lines that arrived says which ones are missing, duplicated or altered.
package fwlog

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
	"time"
)

// MinSize is the smallest size of a line in bytes; below it, the required fields do not fit.
const MinSize = 160

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A line is a syslog message (RFC 5424):
//
//	<134>1 2026-11-22T08:00:00.123456Z fw-03 filterlog - - - run=a1 src=3 seq=1234 action=block proto=tcp … crc=89abcdef
//
// or one of the older kind (RFC 3164):
//
//	<134>Nov 22 08:00:00 fw-03 filterlog: run=a1 src=3 seq=1234 …
//
// The checksum covers everything from "run=" to the space before "crc=", so that a relay may rewrite the header. A line made
// from foreign bytes ends in the same way (see Stamp), and also contains a checksum of those bytes.

// Format is the form of a line's header.
type Format uint8

// Formats.
const (
	RFC5424 Format = iota
	RFC3164
)

// Formats are the names of the formats, indexed by Format.
var Formats = []string{"rfc5424", "rfc3164"}

// Generator makes lines of one run. It is not safe for concurrent use.
type Generator struct {
	run  string
	rnd  *rand.Rand
	now  []byte // formatted time, refreshed by Tick
	old  []byte // the same time in the format of RFC 3164
	text []byte // random text to cut messages from: composing each message would cost more than receiving it
}

// NewGenerator returns a generator for run, `[A-Za-z0-9_-]{1,40}`.
func NewGenerator(run string, seed uint64) (*Generator, error) {
	if err := CheckRun(run); err != nil {
		return nil, err
	}
	g := &Generator{run: run, rnd: rand.New(rand.NewPCG(seed, 1))}
	for len(g.text) < 128<<10 {
		g.text = append(append(g.text, words[g.rnd.IntN(len(words))]...), ' ')
	}
	g.Tick(time.Now())
	return g, nil
}

// CheckRun reports whether run can name a run.
func CheckRun(run string) error {
	if len(run) == 0 || len(run) > 40 {
		return fmt.Errorf("run %q: 1 to 40 characters are needed", run)
	}
	for _, c := range []byte(run) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return fmt.Errorf("run %q: only letters, digits, - and _", run)
		}
	}
	return nil
}

// Tick sets the time of the next lines.
func (g *Generator) Tick(now time.Time) {
	now = now.UTC()
	g.now = now.AppendFormat(g.now[:0], "2006-01-02T15:04:05.000000Z")
	g.old = now.AppendFormat(g.old[:0], time.Stamp)
}

var (
	actions = []string{"pass", "pass", "pass", "block", "reject"}
	protos  = []string{"tcp", "tcp", "udp", "icmp"}
	ports   = []int{443, 443, 443, 80, 53, 53, 22, 3389, 8080, 25, 123}
	rules   = []string{"allow-web-out", "deny-inbound-default", "vpn-to-dmz", "guest-isolation", "geo-block", "allow-dns"}
	words   = []string{"session", "established", "from", "trusted", "zone", "policy", "matched", "threat", "none", "tls", "inspected", "nat", "translated", "flow", "closed", "timeout", "client", "server", "bytes", "category", "business"}
)

// Append appends one line of exactly size bytes (at least MinSize) in the format of RFC 5424.
func (g *Generator) Append(dst []byte, source int, seq uint64, size int) []byte {
	return g.AppendAs(dst, RFC5424, source, seq, size)
}

// AppendAs is Append for any Format.
func (g *Generator) AppendAs(dst []byte, f Format, source int, seq uint64, size int) []byte {
	start := len(dst)
	if f == RFC3164 {
		dst = append(append(dst, "<134>"...), g.old...)
	} else {
		dst = append(append(dst, "<134>1 "...), g.now...)
	}
	dst = append(dst, " fw-"...)
	dst = strconv.AppendInt(dst, int64(source), 10)
	if f == RFC3164 {
		dst = append(dst, " filterlog: "...)
	} else {
		dst = append(dst, " filterlog - - - "...)
	}
	body := len(dst)
	dst = appendIdentity(dst, g.run, source, seq)
	dst = g.fill(dst, start+size-len(" crc=01234567"))
	return appendSum(append(dst, " crc="...), dst[body:])
}

// appendIdentity appends the fields that identify the line.
func appendIdentity(dst []byte, run string, source int, seq uint64) []byte {
	dst = append(append(dst, "run="...), run...)
	dst = strconv.AppendInt(append(dst, " src="...), int64(source), 10)
	return strconv.AppendUint(append(dst, " seq="...), seq, 10)
}

// appendSum appends the checksum of data as eight hexadecimal digits.
func appendSum(dst, data []byte) []byte {
	sum := crc32.Checksum(data, castagnoli)
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[sum>>shift&15])
	}
	return dst
}

// Stamp appends to line, which may be any bytes, the fields that make it a line of a run that proves itself.
func Stamp(line []byte, run string, source int, seq uint64) []byte {
	of := len(line)
	out := append(line, ' ')
	body := len(out)
	out = appendIdentity(out, run, source, seq)
	out = append(strconv.AppendInt(append(out, " of="...), int64(of), 10), ':')
	out = appendSum(out, out[:of])
	return appendSum(append(out, " crc="...), out[body:])
}

// fill appends plausible fields up to end exactly.
func (g *Generator) fill(dst []byte, end int) []byte {
	r := g.rnd.Uint64()
	pick := func(n int) int { v := int(r % uint64(n)); r = r/uint64(n) ^ r<<17; return v }
	dst = append(dst, " action="...)
	dst = append(dst, actions[pick(len(actions))]...)
	dst = append(dst, " proto="...)
	dst = append(dst, protos[pick(len(protos))]...)
	if end-len(dst) > 90 {
		dst = append(dst, " saddr=10."...)
		dst = appendIP(dst, uint32(g.rnd.Uint32()))
		dst = append(dst, " daddr=198.51."...)
		dst = strconv.AppendInt(dst, int64(pick(256)), 10)
		dst = append(dst, '.')
		dst = strconv.AppendInt(dst, int64(pick(256)), 10)
		dst = append(dst, " spt="...)
		dst = strconv.AppendInt(dst, 1024+int64(g.rnd.Uint32()%64000), 10)
		dst = append(dst, " dpt="...)
		dst = strconv.AppendInt(dst, int64(ports[pick(len(ports))]), 10)
	}
	if end-len(dst) > 64 {
		dst = append(dst, " rule="...)
		dst = append(dst, rules[pick(len(rules))]...)
		dst = append(dst, " bytes="...)
		dst = strconv.AppendInt(dst, int64(g.rnd.Uint32()>>12), 10)
		dst = append(dst, " msg="...)
	}
	for len(dst) < end {
		from := g.rnd.IntN(len(g.text) / 2)
		dst = append(dst, g.text[from:min(from+end-len(dst), len(g.text))]...)
	}
	return dst[:end]
}

func appendIP(dst []byte, v uint32) []byte {
	dst = strconv.AppendUint(dst, uint64(v>>16&255), 10)
	dst = append(dst, '.')
	dst = strconv.AppendUint(dst, uint64(v>>8&255), 10)
	dst = append(dst, '.')
	return strconv.AppendUint(dst, uint64(v&255), 10)
}

// Errors of Parse.
var (
	ErrForeign = errors.New("not a line of this run")
	ErrAltered = errors.New("line of this run with a wrong checksum")
)

// RunOf returns the name of the run in a line; nil if there is none.
func RunOf(data []byte) []byte {
	_, run, _, ok := identity(data)
	if !ok {
		return nil
	}
	return run
}

// identity finds the last part of data that can be the identity of a line. body begins with "run=", and rest follows the name
// of the run. A line that was stamped twice belongs to the second run.
func identity(data []byte) (body, run, rest []byte, ok bool) {
	i := bytes.LastIndex(data, []byte("run="))
	if i < 0 {
		return nil, nil, nil, false
	}
	body = data[i:]
	run, rest, ok = bytes.Cut(body[len("run="):], []byte(" "))
	return body, run, rest, ok
}

// Parse finds the line of a run in a record. ErrForeign: the record has none. ErrAltered: the line differs from the one that
// was sent.
func Parse(data []byte, run string) (source int, seq uint64, err error) {
	body, name, rest, ok := identity(data)
	if !ok || string(name) != run {
		return 0, 0, ErrForeign
	}
	c := bytes.LastIndex(body, []byte(" crc="))
	if c < 0 || len(body) < c+len(" crc=")+8 || !isSum(body[c+5:c+13], body[:c]) {
		return 0, 0, ErrAltered
	}
	src, rest, _ := bytes.Cut(rest, []byte(" "))
	sq, rest, _ := bytes.Cut(rest, []byte(" "))
	s, ok1 := bytes.CutPrefix(src, []byte("src="))
	q, ok2 := bytes.CutPrefix(sq, []byte("seq="))
	source, err1 := strconv.Atoi(string(s))
	seq, err2 := strconv.ParseUint(string(q), 10, 64)
	if !ok1 || !ok2 || err1 != nil || err2 != nil || !isWhole(data[:len(data)-len(body)], rest) {
		return 0, 0, ErrAltered
	}
	return source, seq, nil
}

// isSum reports whether text is the checksum of data.
func isSum(text, data []byte) bool {
	sum, err := strconv.ParseUint(string(text), 16, 32)
	return err == nil && uint32(sum) == crc32.Checksum(data, castagnoli)
}

// isWhole reports whether the bytes before a stamp are those that were stamped. fields follow the sequence number; a line made
// by a Generator has no field "of".
func isWhole(before, fields []byte) bool {
	of, stamped := bytes.CutPrefix(fields, []byte("of="))
	if !stamped {
		return true
	}
	of, _, _ = bytes.Cut(of, []byte(" "))
	length, sum, _ := bytes.Cut(of, []byte(":"))
	n, err := strconv.Atoi(string(length))
	before, ok := bytes.CutSuffix(before, []byte(" "))
	return ok && err == nil && n >= 0 && n <= len(before) && isSum(sum, before[len(before)-n:])
}
