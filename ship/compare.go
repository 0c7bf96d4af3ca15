package ship

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// shared is how far another owner's manifest agrees with this spool.
type shared struct {
	spool.Left
	why string // the first difference; "" if there is none
}

// compareManifest compares the lines that a manifest adds to the chain with this spool's next segments, one by one, up to the
// first difference. Copies of a volume share a past and then diverge: in records, in where a segment ends that both were
// writing, or in losses. Damage is no difference: only records that both can still read are compared.
func (l *lane) compareManifest(ctx context.Context, m *Manifest, c spool.Chain) (s shared, err error) {
	s.Left = spool.Left{Segment: c.Segment, Through: c.Through, Stated: c.Stated}
	past := func(segment, last uint64) bool { return segment <= c.Segment && last <= c.Through } // deleted here, or delivered
	lines := slices.DeleteFunc(slices.Clone(m.Segments), func(line SegmentLine) bool { return past(line.Segment, line.Last) })
	losses := slices.DeleteFunc(slices.Clone(m.Losses), func(line LossLine) bool { return past(line.Segment, line.After) })
	for _, have := range l.s.sp.Shelf().Sealed(c.Segment, 0) {
		if have.Number > m.Footer.Segment {
			break
		}
		var line *SegmentLine
		if len(lines) > 0 && lines[0].Segment <= have.Number {
			line, lines = &lines[0], lines[1:]
		}
		if s.why, err = l.compareSegment(ctx, line, &have, &s.Left); s.why != "" || err != nil {
			return s, err
		}
		var loss *LossLine
		if len(losses) > 0 && losses[0].Segment <= have.Number {
			loss, losses = &losses[0], losses[1:]
		}
		if !sameLosses(loss, &have) {
			s.Stated = have.Last >= have.First
			s.why = fmt.Sprintf("it states other losses in segment %d", have.Number)
			return s, nil
		}
		s.Left = spool.Left{Segment: have.Number, Through: s.Through}
	}
	switch {
	case len(lines) > 0:
		s.why = fmt.Sprintf("it lists records up to %d, but those of this spool end at %d", lines[len(lines)-1].Last, s.Through)
	case len(losses) > 0:
		s.why = fmt.Sprintf("it states losses in segment %d, which is not here", losses[0].Segment)
	case m.Footer.Segment > s.Segment:
		s.why = fmt.Sprintf("it ends with segment %d, which is not here", m.Footer.Segment)
	}
	return s, nil
}

// compareSegment compares a line, nil for none, with this spool's next segment, and advances at to the last record that both
// have. why is the difference, "" if there is none.
func (l *lane) compareSegment(ctx context.Context, line *SegmentLine, have *spool.Segment, at *spool.Left) (why string, err error) {
	owes := have.Last > max(at.Through, have.First-1) // otherwise the chain, or one that was left, has its records
	switch {
	case line == nil && (owes || have.Last >= have.First && !at.Stated):
		return fmt.Sprintf("it states no records of segment %d", have.Number), nil
	case line == nil:
		return "", nil
	case have.Last < have.First || at.Stated:
		return fmt.Sprintf("it states records in segment %d, which has none here", line.Segment), nil
	case owes && line.First > max(have.First, at.Through+1):
		return fmt.Sprintf("it states no record %d", at.Through+1), nil
	case owes:
		upTo := have.Last
		same, err := l.sameSegment(ctx, line, have, max(have.First, at.Through+1))
		if errors.Is(err, errWrongLine) {
			return fmt.Sprintf("its line of segment %d does not describe the object %s", line.Segment, line.Key), nil
		}
		if err == nil && !same {
			upTo, err = l.confirmCommonUpTo(ctx, line, have)
		}
		if err != nil {
			return "", err
		}
		if at.Through = max(at.Through, upTo); upTo < have.Last {
			return fmt.Sprintf("segment %d differs from this spool's after record %d", have.Number, at.Through), nil
		}
	}
	if line.Segment != have.Number || line.Last != have.Last {
		return fmt.Sprintf("segment %d ends with record %d there, and with %d here", line.Segment, line.Last, have.Last), nil
	}
	return "", nil
}

// sameSegment reports whether a line describes exactly this segment, beginning with record from, and the destination holds
// the object. If not, the records may still be the same, and the caller compares them. The line alone proves nothing: anyone
// with write access to the destination may have copied its hashes from another destination or a copy of the volume. Nor does
// the destination's own checksum if that is a CRC: anybody can make other bytes with the same CRC. So the object is read, and its
// content compared with that of the segment.
func (l *lane) sameSegment(ctx context.Context, line *SegmentLine, seg *spool.Segment, from uint64) (bool, error) {
	switch {
	case line.First != from || line.Last != seg.Last:
		return false, nil
	case line.Records == 0: // none of its records was readable there: nothing is lost if none is readable here
		return readable(seg, from) == 0, nil
	case line.Whole != nil || line.First != seg.First || line.Records != seg.Records || line.Bytes != seg.Bytes:
		return false, nil
	}
	content, err := l.contentAs(ctx, line, seg)
	if err != nil || content == nil {
		return false, err
	}
	there, same, err := l.compare(ctx, content)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrVerify) {
		return false, nil
	}
	if same && !describes(line, seg, content, &there) {
		return false, errWrongLine
	}
	return same, err
}

// errWrongLine: an object is the segment, and its line does not describe it. In this spool's own chain, that line would make each audit
// call the object damaged.
var errWrongLine = errors.New("ship: the line does not describe the object")

// describes reports whether a line is right about an object that has the content of a segment. The size and hashes in a line are those
// of the bytes that were staged. The object has them too, unless the receipt is that of another compression of the same content.
func describes(line *SegmentLine, seg *spool.Segment, content *spool.StageRecord, there *Object) bool {
	r := line.Receipt
	if r == nil || there.Check(*r) != nil || line.RawBytes != content.RawBytes || !line.MinTime.Equal(seg.MinTime) || !line.MaxTime.Equal(seg.MaxTime) {
		return false
	}
	staged := r.Size == line.Size && (r.Checksum == "sha256:"+line.SHA256 || r.Checksum == "crc64nvme:"+line.CRC64NVME)
	return !staged || line.SHA256 == hex.EncodeToString(there.SHA256[:]) && "crc64nvme:"+line.CRC64NVME == CRC64Checksum(there.CRC64NVME)
}

// readable counts the undamaged records of a segment, beginning with record from.
func readable(seg *spool.Segment, from uint64) uint64 {
	n := seg.Last + 1 - from
	for _, g := range seg.Gaps {
		if g.Last >= from {
			n -= g.Last + 1 - max(g.First, from)
		}
	}
	return n
}

// contentAs returns a record of the segment's content in the encoding of a line, under the line's key. It returns nil if that is
// impossible, or if the content is not what the line states. That proves nothing: the records are compared then.
func (l *lane) contentAs(ctx context.Context, line *SegmentLine, seg *spool.Segment) (*spool.StageRecord, error) {
	content := &spool.StageRecord{Key: line.Key, Encoding: line.Encoding()}
	staged := &spool.StageRecord{}
	if seg.Staged {
		var err error
		if staged, err = l.s.stage(ctx, seg.Number); err != nil {
			return nil, err
		}
	}
	if staged.Format == line.Format {
		content.RawBytes, content.RawSHA256 = staged.RawBytes, staged.RawSHA256
	} else {
		r, done, err := l.s.sp.Shelf().ReadSealed(seg.Number)
		if err != nil {
			return nil, nil // only the staged file may be left, or the disk refuses the own one: see ownRecords
		}
		defer func() { _ = done() }()
		out, err := l.s.enc.Encode(ctx, io.Discard, r, &object.Encoding{Format: line.Format, Codec: "none"})
		if err != nil || out.Records == 0 {
			return nil, ctx.Err() // it cannot be written in that format: then it was not; or it cannot be read to the end
		}
		content.RawBytes, content.RawSHA256 = out.RawBytes, hex.EncodeToString(out.RawSHA256[:])
	}
	if content.RawSHA256 != line.RawSHA256 {
		return nil, nil
	}
	return content, nil
}

// lossLine states what was lost in a segment, and what was dropped and made on purpose.
func lossLine(seg *spool.Segment) LossLine {
	unaccounted := slices.Clone(seg.Unaccounted)
	for i := range unaccounted { // within the limits of a manifest: a value beyond them must not stop the chain
		u := &unaccounted[i]
		u.From, u.To, u.AtMostBytes = u.From.UTC(), u.To.UTC(), min(u.AtMostBytes, maxSequence)
	}
	return LossLine{
		Type: "loss", Segment: seg.Number, After: seg.Last,
		Lost: seg.Lost, Filtered: seg.Filtered, Made: seg.Made, Unaccounted: unaccounted,
	}
}

// lossless reports whether a segment needs no loss line.
func lossless(seg *spool.Segment) bool {
	return seg.Lost == (segment.Losses{}) && len(seg.Unaccounted) == 0 &&
		seg.Filtered == (segment.Tally{}) && seg.Made == (segment.Tally{})
}

// sameLosses reports whether a loss line, nil for none, states what was lost in a segment. The losses of a damaged segment
// are not known any more, so any line agrees. Losses of another owner alone are no difference either.
func sameLosses(line *LossLine, seg *spool.Segment) bool {
	if len(seg.Gaps) > 0 || lossless(seg) {
		return line == nil || line.Segment == seg.Number
	}
	return line != nil && line.Segment == seg.Number && line.Lost == seg.Lost &&
		line.Filtered == seg.Filtered && line.Made == seg.Made &&
		slices.EqualFunc(line.Unaccounted, seg.Unaccounted, func(a, b segment.Unaccounted) bool {
			return a.From.Equal(b.From) && a.To.Equal(b.To) && a.Known == b.Known && a.AtMostBytes == min(b.AtMostBytes, maxSequence)
		})
}
