package ship

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// maxSequence is the largest integer that every JSON reader keeps exact. A spool that keeps a million records a second
// reaches it after 285 years.
const maxSequence = 1 << 53

var (
	hex64   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	hex32   = regexp.MustCompile(`^[0-9a-f]{32}$`)
	hex16   = regexp.MustCompile(`^[0-9a-f]{16}$`)
	noPrev  = "0000000000000000000000000000000000000000000000000000000000000000"
	nameFmt = regexp.MustCompile(`^[a-z0-9_.-]{1,32}$`) // formats and codecs
)

// validate checks everything that one manifest alone can show. Writers and readers use the same checks: what one refuses to
// read, the other refuses to write.
func (m *Manifest) validate() error {
	var v validator
	v.header(&m.Header)
	last, number := m.Header.PrevLast, uint64(0)
	v.that(len(m.Segments) <= maxManifestSegments && len(m.Losses) <= maxManifestSegments, "too many lines")
	for i := range m.Segments {
		s := &m.Segments[i]
		// The heart of the proof: no sequence number is left out or listed twice.
		v.that(s.First == last+1, "segment %d begins at %d, %d is next", s.Segment, s.First, last+1)
		v.that(s.Segment > number, "segment %d after %d", s.Segment, number)
		v.segment(s)
		last, number = s.Last, s.Segment
	}
	lossNumber := uint64(0)
	for i := range m.Losses {
		l := &m.Losses[i]
		v.that(l.Type == "loss", "type %q", l.Type)
		v.that(l.Segment > lossNumber, "loss line of segment %d after %d", l.Segment, lossNumber)
		v.that(l.After >= m.Header.PrevLast && l.After <= last, "loss line of segment %d after record %d", l.Segment, l.After)
		v.loss(l)
		lossNumber = l.Segment
	}
	f := &m.Footer
	v.that(f.Type == "footer", "type %q", f.Type)
	v.that(f.Segments == len(m.Segments) && f.Losses == len(m.Losses), "the footer counts %d and %d lines, there are %d and %d", f.Segments, f.Losses, len(m.Segments), len(m.Losses))
	v.that(f.Last == last, "the footer ends at %d, the lines at %d", f.Last, last)
	v.that(f.Segment >= max(number, lossNumber), "the footer ends with segment %d, the lines with %d", f.Segment, max(number, lossNumber))
	v.that(f.Segment <= maxSequence, "the footer ends with segment %d", f.Segment)
	v.utc("passed", f.Passed)
	v.that(hex64.MatchString(f.SHA256), "sha256 %q", f.SHA256)
	if by := f.ClosedBy; by != nil {
		v.that(!f.Final, "both final and closed_by")
		v.that(by.Epoch > m.Header.Epoch && by.Epoch <= object.MaxEpoch, "closed_by epoch %d", by.Epoch)
		v.that(by.Instance != "" && isClean(by.Instance), "closed_by instance %q", by.Instance)
		v.that(by.Claim == "" || hex32.MatchString(by.Claim), "closed_by claim %q", by.Claim)
	}
	v.signature(m.Signature)
	return errors.Join(v.errs...)
}

// validator collects what is wrong, so that all of it is reported at once, up to maxFaults.
type validator struct{ errs []error }

// maxFaults bounds the errors about one document: a forged one may have a fault in every few bytes.
const maxFaults = 16

func (v *validator) that(ok bool, format string, args ...any) {
	if !ok && len(v.errs) < maxFaults {
		v.errs = append(v.errs, fmt.Errorf(format, args...))
	}
}

// utc refuses a time of another zone, so that every writer writes a moment in the same way.
func (v *validator) utc(what string, t time.Time) {
	_, offset := t.Zone()
	v.that(offset == 0, "%s %s is not in UTC", what, t)
}

// exact refuses an integer that not every JSON reader keeps exact.
func (v *validator) exact(what string, numbers ...uint64) {
	for _, n := range numbers {
		v.that(n <= maxSequence, "%s: %d is above 2^53", what, n)
	}
}

func (v *validator) loss(l *LossLine) {
	what := fmt.Sprintf("loss line of segment %d", l.Segment)
	v.exact(what, l.Segment, l.Filtered.Records, l.Filtered.Bytes, l.Made.Records, l.Made.Bytes)
	for _, lost := range l.Lost {
		v.exact(what, lost.Records, lost.Bytes)
	}
	for i := range l.Unaccounted {
		u := &l.Unaccounted[i]
		v.exact(what, u.Known.Records, u.Known.Bytes, u.AtMostBytes)
		v.utc(what, u.From)
		v.utc(what, u.To)
	}
}

// signature checks the form only: a reader must not report a future algorithm as damage.
func (v *validator) signature(s *SignatureLine) {
	v.that(s == nil || s.Type == "signature" && isClean(s.Algorithm) && isClean(s.Key) && isClean(s.Signature), "signature")
}

func (v *validator) header(h *ManifestHeader) {
	v.that(h.Type == "header", "type %q", h.Type)
	v.that(h.Version == ManifestVersion, "version %d", h.Version)
	v.that(segment.CheckClass(h.Class) == nil, "class %q", h.Class)
	v.that(segment.CheckSpoolID(h.Spool) == nil, "spool %q", h.Spool)
	v.that(h.Epoch >= 1 && h.Epoch <= object.MaxEpoch, "epoch %d", h.Epoch)
	v.that(h.Number <= object.MaxNumber, "number %d", h.Number)
	v.that(hex64.MatchString(h.Prev), "prev %q", h.Prev)
	// Number 0 may have a hash or none: that of the last manifest of the previous epoch.
	v.that(h.Number == 0 || h.Prev != noPrev, "number %d has no hash of the previous manifest", h.Number)
	v.that(h.Joined != 1, "joined is 1, which a header leaves out")
	v.that(h.Joined == 0 || h.PrevLast >= h.Joined-1, "joined at %d after %d", h.Joined, h.PrevLast)
	v.exact("prev_last and joined", h.PrevLast, h.Joined)
	v.utc("time", h.Time)
	v.that(h.Instance != "" && isClean(h.Instance), "instance %q", h.Instance)
	v.that(segment.CheckDestination(h.Destination) == nil, "destination %q", h.Destination)
	for _, name := range h.Forgotten {
		v.that(segment.CheckDestination(name) == nil, "forgotten %q", name)
	}
}

func (v *validator) segment(s *SegmentLine) {
	n := s.Segment
	v.that(s.Type == "segment", "type %q", s.Type)
	// Check the ranges first: the sums below must not overflow, even in a forged document.
	if s.First < 1 || s.Last < s.First && (s.Whole == nil || s.Last+1 != s.First) || s.Last > maxSequence {
		v.that(false, "segment %d from %d to %d", n, s.First, s.Last)
		return
	}
	damaged, ok := v.gaps(n, s.Gaps, s.First, s.Last)
	if !ok || !v.whole(s) {
		return
	}
	v.exact(fmt.Sprintf("segment %d", n), s.Segment, s.Bytes)
	v.utc("min_time", s.MinTime)
	v.utc("max_time", s.MaxTime)
	count := s.Last + 1 - s.First - damaged
	v.that(s.Records == count, "segment %d: %d records, its range and gaps say %d", n, s.Records, count)
	if s.Records == 0 {
		v.that(s.Bytes == 0 && s.Key == "" && s.Receipt == nil, "segment %d: an object without records", n)
		return
	}
	v.that(CheckKey(s.Key) == nil && isClean(s.Key), "segment %d: key %q", n, s.Key)
	v.that(nameFmt.MatchString(s.Format) && nameFmt.MatchString(s.Codec), "segment %d: format %q, codec %q", n, s.Format, s.Codec)
	v.that(hex64.MatchString(s.RawSHA256) && isSize(s.RawBytes), "segment %d: raw_sha256 %q, raw_bytes %d", n, s.RawSHA256, s.RawBytes)
	v.that(hex64.MatchString(s.SHA256) && hex16.MatchString(s.CRC64NVME) && isSize(s.Size), "segment %d: sha256 %q, crc64nvme %q, size %d", n, s.SHA256, s.CRC64NVME, s.Size)
	v.receipt(n, s.Receipt)
}

func (v *validator) receipt(segment uint64, r *Receipt) {
	if r == nil {
		v.that(false, "segment %d: no receipt", segment)
		return
	}
	v.that(r.Checksum != "" && r.Method != "" && isSize(r.Size) && isClean(r.Checksum+r.Method+r.Version+strings.Join(r.Degraded, "")), "segment %d: receipt %+v", segment, *r)
	v.utc("receipt", r.Time)
}

func isSize(n int64) bool { return n >= 0 && n <= maxSequence }

// gaps adds up the gaps of a segment, which must be in order, between first and last.
func (v *validator) gaps(number uint64, gaps []segment.Range, first, last uint64) (n uint64, ok bool) {
	for _, g := range gaps {
		if g.First < first || g.Last < g.First || g.Last > last {
			v.that(false, "segment %d: gap from %d to %d", number, g.First, g.Last)
			return 0, false
		}
		n += g.Last - g.First + 1
		first = g.Last + 1
	}
	return n, true
}

// whole checks a line's description of the complete segment of which it states the rest.
func (v *validator) whole(s *SegmentLine) bool {
	w := s.Whole
	if w == nil {
		return true
	}
	if w.First < 1 || w.First >= s.First {
		v.that(false, "segment %d: the rest from %d on of one that begins at %d", s.Segment, s.First, w.First)
		return false
	}
	v.that(w.RawSHA256 == "" || hex64.MatchString(w.RawSHA256), "segment %d: raw_sha256 %q of the whole", s.Segment, w.RawSHA256)
	_, ok := v.gaps(s.Segment, w.Gaps, w.First, s.Last)
	return ok
}
