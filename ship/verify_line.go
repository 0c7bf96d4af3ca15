package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
)

// If a segment is damaged here after its delivery, the spool has a gap and the destination has an object. Only the
// destination's own manifest still says what that object must be.

// noteLines remembers the lines of a manifest whose segments are still in the spool.
func (v *verifier) noteLines(m *Manifest) {
	for i := range m.Segments {
		if line := &m.Segments[i]; line.Key != "" && !v.l.s.isDeleted(line.Segment) {
			if v.lines == nil {
				v.lines = map[uint64]*SegmentLine{}
			}
			v.lines[line.Segment] = line
		}
	}
}

// lineCheck is a line whose object is checked against the line alone, and why the object cannot be stored again if it is
// missing.
type lineCheck struct {
	line *SegmentLine
	why  string
}

// otherLines returns the noted lines of segments that are damaged throughout here, and of segments that begin before this
// spool's part of the chain: it delivered only their rest, or the chain contained them when this spool left it.
func (v *verifier) otherLines() (checks []lineCheck) {
	for number, line := range v.lines {
		seg := v.l.s.sp.Shelf().Sealed(number-1, 1)
		switch {
		case len(seg) == 0 || seg[0].Number != number:
		case seg[0].Records == 0:
			checks = append(checks, lineCheck{line, "the segment is damaged on this host's disk"})
		case seg[0].First < v.chain.Joined:
			checks = append(checks, lineCheck{line, "another owner continues the chain that names it"})
		}
	}
	return checks
}

// findLines reads the previous epoch to find the lines of missing and differing objects, and of segments in a chain that this
// spool has left. The last of the latter are in the manifest at which the chain was left, among those of another owner.
func (v *verifier) findLines(ctx context.Context) error {
	lowest := uint64(math.MaxUint64) // of the segments whose lines are not known
	look := func(number uint64) {
		if v.lines[number] == nil {
			lowest = min(lowest, number)
		}
	}
	for _, rec := range v.missing {
		look(rec.Segment)
	}
	for number := range v.differing {
		look(number)
	}
	if v.chain.Left {
		for _, seg := range v.l.s.sp.Shelf().Sealed(0, 0) {
			if seg.Number <= v.chain.Segment && seg.Records > 0 {
				look(seg.Number)
			}
		}
	}
	at := v.chain.Before
	if lowest == math.MaxUint64 {
		return nil
	}
	for n := int64(at.Number); at.Epoch > 0 && n >= 0; n-- {
		m, err := v.readOther(ctx, at.Epoch, uint64(n))
		if err != nil {
			return err
		}
		if m == nil || m.Footer.Segment < lowest {
			break
		}
		v.noteLines(m)
	}
	if !v.chain.Left {
		return nil
	}
	m, err := v.readOther(ctx, v.chain.Epoch, v.chain.Next)
	if err != nil || m == nil {
		return err
	}
	// Its other lines are of records that this spool does not have, or it repeats those of manifests that were accepted.
	m.Segments = slices.DeleteFunc(m.Segments, func(line SegmentLine) bool {
		return line.Segment > v.chain.Segment || v.lines[line.Segment] != nil
	})
	v.noteLines(m)
	return nil
}

// readOther reads a manifest that is not one of this epoch's chain. It returns nil if none can be read.
func (v *verifier) readOther(ctx context.Context, epoch uint32, number uint64) (m *Manifest, err error) {
	err = v.retry(ctx, func() (err error) {
		m, err = ReadManifest(ctx, v.l.dest, v.l.s.class, v.chain.Spool, epoch, number)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrVerify) {
			m, err = nil, nil
		}
		return err
	})
	return m, err
}

// takeRenamed removes from v.missing the segments that the chain has under another key, and returns their lines. These
// segments were staged again with other settings, because their stage records were lost here.
func (v *verifier) takeRenamed() (checks []lineCheck) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for key, rec := range v.missing {
		if line := v.lines[rec.Segment]; line != nil && line.Key != key {
			checks = append(checks, lineCheck{line, "the segment was staged again since, in another form"})
			delete(v.missing, key)
		}
	}
	return checks
}

// checkLine checks an object against its manifest line.
func (v *verifier) checkLine(ctx context.Context, x lineCheck) error {
	line := x.line
	return v.retry(ctx, func() error {
		r, err := v.l.dest.Stat(ctx, line.Key)
		if err == nil && r.Checksum == "" { // the destination keeps no checksum
			var there Object
			most := line.Size
			if line.Receipt != nil {
				most = line.Receipt.Size
			}
			if there, err = readBackKey(ctx, v.l.dest, line.Key, most); err == nil {
				r.Size, r.Checksum = there.Size, SHA256Checksum(there.SHA256)
			}
		}
		var want Receipt
		if line.Receipt != nil {
			want = *line.Receipt
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			v.noteMismatch(line.Key, line.Segment, fmt.Errorf("missing, and not stored again, because %s: %w", x.why, err))
			return nil
		case err != nil:
			return err
		case r.Size != want.Size || r.Checksum != want.Checksum && r.Checksum != "sha256:"+line.SHA256 && r.Checksum != "crc64nvme:"+line.CRC64NVME:
			v.noteMismatch(line.Key, line.Segment, fmt.Errorf("%w: there it has %d bytes, %s; its manifest says %d bytes, %s", ErrVerify, r.Size, r.Checksum, want.Size, want.Checksum))
			return nil
		}
		v.l.noteConfirmed(line.Key)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.Objects++
		return nil
	})
}

// readBackKey reads an object, to the end or to one byte more than most.
func readBackKey(ctx context.Context, d Destination, key string, most int64) (Object, error) {
	body, err := d.Open(ctx, key)
	if err != nil {
		return Object{}, err
	}
	o, err := readBack(io.LimitReader(body, most+1))
	return o, errors.Join(err, body.Close())
}
