package main

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// filter selects records. Its zero value, after withDefaults, selects all.
type filter struct {
	since, until   time.Time
	sources        []netip.Prefix
	port           uint16 // of the source, 0: any
	texts          [][]byte
	first, last    uint64
	segment, limit uint64
}

// flags defines the flags that set the filter.
func (f *filter) flags(fs *flag.FlagSet) {
	f.last = math.MaxUint64
	moment := func(to *time.Time) func(string) error {
		return func(s string) (err error) {
			*to, err = parseTime(s, time.Now())
			return err
		}
	}
	fs.Func("since", "only records that arrived at or after this `TIME`: RFC 3339, or a duration before now such as 15m", moment(&f.since))
	fs.Func("until", "only records that arrived before this `TIME`", moment(&f.until))
	fs.Func("source", "only records from this `ADDRESS`: an IP address, with or without port, or a network such as 192.0.2.0/24; repeatable", f.addSource)
	fs.Func("text", "only records that contain this `TEXT`, byte for byte; repeatable: they must contain each", func(s string) error {
		f.texts = append(f.texts, []byte(s))
		return nil
	})
	fs.Func("records", "only records of this `RANGE` of sequence numbers: 100-200, 100- or 100", func(s string) (err error) {
		f.first, f.last, err = parseSpan(s)
		return err
	})
	fs.Uint64Var(&f.segment, "segment", 0, "only records of the segment with this `NUMBER`")
	fs.Uint64Var(&f.limit, "limit", 0, "end after this `NUMBER` of records (default all)")
}

// parseTime parses a time, or a duration before now.
func parseTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	return time.Parse(time.RFC3339, s)
}

// parseSpan parses a range of sequence numbers.
func parseSpan(s string) (first, last uint64, err error) {
	a, b, ranged := strings.Cut(s, "-")
	first, err = strconv.ParseUint(a, 10, 64)
	last = first
	if ranged && b == "" {
		last = math.MaxUint64
	} else if ranged && err == nil {
		last, err = strconv.ParseUint(b, 10, 64)
	}
	if err != nil || first == 0 || last < first {
		return 0, 0, fmt.Errorf("%q is no range of sequence numbers such as 100-200", s)
	}
	return first, last, nil
}

func (f *filter) addSource(s string) error {
	if p, err := netip.ParsePrefix(s); err == nil {
		f.sources = append(f.sources, p.Masked())
		return nil
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		var ap netip.AddrPort
		if ap, err = netip.ParseAddrPort(s); err == nil && f.port != 0 && f.port != ap.Port() {
			err = fmt.Errorf("one port can be given, not %d and %d", f.port, ap.Port())
		}
		addr, f.port = ap.Addr(), ap.Port()
	}
	if err != nil {
		return err
	}
	f.sources = append(f.sources, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
	return nil
}

// wants reports whether a segment may contain records that pass.
func (f *filter) wants(s *spool.SegmentFile) bool {
	if f.segment != 0 && s.Number != f.segment {
		return false
	}
	if s.First > f.last || s.State != spool.SegmentActive && s.Last < f.first {
		return false
	}
	if s.MinTime.IsZero() { // the times are not known
		return true
	}
	return (f.since.IsZero() || !s.MaxTime.Before(f.since)) && (f.until.IsZero() || s.MinTime.Before(f.until))
}

// passes reports whether a record passes.
func (f *filter) passes(seq uint64, r *segment.Record) bool {
	if seq < f.first || seq > f.last {
		return false
	}
	at := time.Unix(0, r.Time)
	if !f.since.IsZero() && at.Before(f.since) || !f.until.IsZero() && !at.Before(f.until) {
		return false
	}
	if len(f.sources) > 0 && !f.from(r.Src) {
		return false
	}
	for _, t := range f.texts {
		if !bytes.Contains(r.Data, t) {
			return false
		}
	}
	return true
}

// from reports whether a source is selected.
func (f *filter) from(src netip.AddrPort) bool {
	if f.port != 0 && src.Port() != f.port {
		return false
	}
	for _, p := range f.sources {
		if p.Contains(src.Addr().Unmap().WithZone("")) {
			return true
		}
	}
	return false
}
