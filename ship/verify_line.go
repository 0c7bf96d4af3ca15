package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// A segment that was damaged here after its delivery is a gap in the spool, and an object at the destination. What that
// must be, only the destination's own manifest still says.

// noteLines remembers the lines of a manifest that speak of segments which are still here.
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

// lostLines returns the noted lines of segments of which the spool has nothing any more.
func (v *verifier) lostLines() (lines []*SegmentLine) {
	for number, line := range v.lines {
		if seg := v.l.s.sp.Shelf().Sealed(number-1, 1); len(seg) == 1 && seg[0].Number == number && seg[0].Records == 0 {
			lines = append(lines, line)
		}
	}
	return lines
}

// takeRenamed takes out of what is missing, and returns, the lines of segments that the chain has under another key: they were
// staged again since, in other settings, because the record of how they had been was lost here.
func (v *verifier) takeRenamed() (lines []*SegmentLine) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for key, rec := range v.missing {
		if line := v.lines[rec.Segment]; line != nil && line.Key != key {
			lines = append(lines, line)
			delete(v.missing, key)
		}
	}
	return lines
}

// checkLine asks for an object by what its manifest line says of it.
func (v *verifier) checkLine(ctx context.Context, line *SegmentLine) error {
	return v.retry(ctx, func() error {
		r, err := v.l.dest.Stat(ctx, line.Key)
		if err == nil && r.Checksum == "" { // it keeps none
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
			v.noteMismatch(line.Key, line.Segment, fmt.Errorf("missing, and cannot be stored again, because the segment is damaged on this host's disk: %w", err))
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
