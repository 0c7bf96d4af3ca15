// Package fwlog makes log lines like a firewall's that prove themselves: each contains the run it belongs to, its source, its
// sequence number and a checksum. A Tally of the lines that arrived says which ones are missing, duplicated or altered.
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

// MinSize is the smallest line in bytes that has room for what every line must carry.
const MinSize = 160

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A line is a syslog message (RFC 5424):
//
//	<134>1 2026-11-22T08:00:00.123456Z fw-03 filterlog - - - run=a1 src=3 seq=1234 action=block proto=tcp … crc=89abcdef
//
// The checksum covers everything from "run=" to the space before "crc=", so that a relay may rewrite the header.

// Generator makes lines of one run. It is not safe for concurrent use.
type Generator struct {
	run  string
	rnd  *rand.Rand
	now  []byte // formatted time, refreshed by Tick
	text []byte // to cut messages from: composing each message would cost more than receiving it
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

// Tick sets the time that the next lines carry.
func (g *Generator) Tick(now time.Time) {
	g.now = now.UTC().AppendFormat(g.now[:0], "2006-01-02T15:04:05.000000Z")
}

var (
	actions = []string{"pass", "pass", "pass", "block", "reject"}
	protos  = []string{"tcp", "tcp", "udp", "icmp"}
	ports   = []int{443, 443, 443, 80, 53, 53, 22, 3389, 8080, 25, 123}
	rules   = []string{"allow-web-out", "deny-inbound-default", "vpn-to-dmz", "guest-isolation", "geo-block", "allow-dns"}
	words   = []string{"session", "established", "from", "trusted", "zone", "policy", "matched", "threat", "none", "tls", "inspected", "nat", "translated", "flow", "closed", "timeout", "client", "server", "bytes", "category", "business"}
)

// Append appends one line of exactly size bytes (at least MinSize).
func (g *Generator) Append(dst []byte, source int, seq uint64, size int) []byte {
	start := len(dst)
	dst = append(dst, "<134>1 "...)
	dst = append(dst, g.now...)
	dst = append(dst, " fw-"...)
	dst = strconv.AppendInt(dst, int64(source), 10)
	dst = append(dst, " filterlog - - - "...)
	body := len(dst)
	dst = append(dst, "run="...)
	dst = append(dst, g.run...)
	dst = append(dst, " src="...)
	dst = strconv.AppendInt(dst, int64(source), 10)
	dst = append(dst, " seq="...)
	dst = strconv.AppendUint(dst, seq, 10)
	end := start + size - len(" crc=01234567")
	dst = g.fill(dst, end)
	sum := crc32.Checksum(dst[body:], castagnoli)
	dst = append(dst, " crc="...)
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[sum>>shift&15])
	}
	return dst
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

// Parse finds the line of a run in a record. ErrForeign: there is none. ErrAltered: it differs from the line that was sent.
func Parse(data []byte, run string) (source int, seq uint64, err error) {
	i := bytes.Index(data, []byte("run="))
	if i < 0 {
		return 0, 0, ErrForeign
	}
	body := data[i:]
	rest, ok := bytes.CutPrefix(body[len("run="):], []byte(run+" "))
	if !ok {
		return 0, 0, ErrForeign
	}
	c := bytes.LastIndex(body, []byte(" crc="))
	if c < 0 || len(body) < c+len(" crc=")+8 {
		return 0, 0, ErrAltered
	}
	sum, err := strconv.ParseUint(string(body[c+5:c+13]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(body[:c], castagnoli) {
		return 0, 0, ErrAltered
	}
	var src, sq []byte
	src, rest, _ = bytes.Cut(rest, []byte(" "))
	sq, _, _ = bytes.Cut(rest, []byte(" "))
	s, ok1 := bytes.CutPrefix(src, []byte("src="))
	q, ok2 := bytes.CutPrefix(sq, []byte("seq="))
	source, err1 := strconv.Atoi(string(s))
	seq, err2 := strconv.ParseUint(string(q), 10, 64)
	if !ok1 || !ok2 || err1 != nil || err2 != nil {
		return 0, 0, ErrAltered
	}
	return source, seq, nil
}
