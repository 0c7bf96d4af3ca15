package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
)

// missingAt returns which segment of a volume is listed by no chain at a place; "" if all are listed. The audit has already
// verified the chains and their objects.
//
// Sequence numbers alone prove nothing about a volume that was copied: the owner of a copy gives the same numbers to other
// records, in chains of the same spool or of a related one. So a manifest must list this very segment: with the same first and
// last record, the same number of records and bytes, and the same times of the earliest and the latest record. This does not
// compare the records themselves; the collector compared them when it adopted the volume. It is what the auditor can check
// without trusting the collector. If a line lists only the rest of a segment, after the records that a copy has delivered, it
// has fewer of these fields, but also the hash of the whole segment, which is compared.
func missingAt(ctx context.Context, place audit.Place, in *spool.Inspection, r *audit.Result) (why string, err error) {
	owed := map[uint64]*spool.Segment{}
	for i := range in.Segments {
		if s := &in.Segments[i]; s.First <= s.Last && !isNotOwed(place, s, r) {
			owed[s.Number] = s
		}
	}
	chains, err := manifestsOf(ctx, place.Destination, object.Origin{Class: in.Class, Spool: in.Spool})
	if err != nil {
		return "", err
	}
	for _, keys := range chains {
		for _, k := range slices.Backward(keys) {
			if len(owed) == 0 {
				return "", nil
			}
			m, err := ship.ReadManifest(ctx, place.Destination, k.Class, k.Spool, k.Epoch, k.Number)
			if err != nil {
				return "", fmt.Errorf("%s: %w", place.Name, err)
			}
			for i := range m.Segments {
				line := &m.Segments[i]
				s := owed[line.Segment]
				if s == nil || !states(line, s) {
					continue
				}
				if line.Whole != nil {
					if same, err := isContent(ctx, in.Dir, s, line); err != nil {
						return "", err
					} else if !same {
						continue
					}
				}
				delete(owed, line.Segment)
			}
			if m.Footer.Segment < in.Segments[0].Number {
				break // earlier manifests list only segments that are no longer on the volume
			}
		}
	}
	if len(owed) == 0 {
		return "", nil
	}
	var lacking []*spool.Segment
	for _, s := range owed {
		lacking = append(lacking, s)
	}
	s := slices.MinFunc(lacking, func(a, b *spool.Segment) int { return cmp.Compare(a.Number, b.Number) })
	return fmt.Sprintf("no chain at %s states segment %d of the volume, records %d to %d: a copy of the volume may have delivered others under these numbers",
		place.Name, s.Number, s.First, s.Last), nil
}

// isNotOwed reports whether a segment was written before its place became one of the spool's destinations.
func isNotOwed(place audit.Place, s *spool.Segment, r *audit.Result) bool {
	return slices.ContainsFunc(r.Chains, func(c audit.ChainReport) bool {
		return c.Place == place.Name && c.NotOwed > 0 && s.Last < c.First
	})
}

// states reports whether a line may list this very segment. For a line that lists only a rest, isContent decides.
func states(line *ship.SegmentLine, s *spool.Segment) bool {
	if line.Whole != nil {
		return line.Whole.First == s.First && line.Last == s.Last
	}
	return line.First == s.First && line.Last == s.Last && line.Records == s.Records && line.Bytes == s.Bytes &&
		line.MinTime.Equal(s.MinTime) && line.MaxTime.Equal(s.MaxTime)
}

// isContent reports whether a segment of the volume has the hash that the line of a rest gives for the whole segment. A segment
// of another copy may have as many records. A segment that exists only as a staged file cannot be compared.
func isContent(ctx context.Context, dir string, s *spool.Segment, line *ship.SegmentLine) (bool, error) {
	if line.Whole.RawSHA256 == "" {
		return s.Records == 0, nil
	}
	d, err := spool.ReadDirectory(dir)
	if err != nil {
		return false, err
	}
	files, err := d.ReadSegments()
	if err != nil {
		return false, err
	}
	at := slices.IndexFunc(files, func(f *spool.SegmentFile) bool { return f.Number == s.Number && f.First == s.First && f.Path != "" })
	if at < 0 {
		return false, nil
	}
	formats := []string{line.Format}
	if line.Format == "" { // nothing of the segment was left to deliver, so there is no object
		formats = format.Names()
	}
	for _, f := range formats {
		enc, err := format.NewEncoder(object.Encoding{Format: f, Codec: "none"})
		if err != nil {
			return false, nil // a format that only another program knows
		}
		r, err := files[at].Open()
		if err != nil {
			return false, err
		}
		out, err := enc.Encode(ctx, io.Discard, r.Reader, nil)
		if err = errors.Join(err, r.Close()); err != nil {
			return false, err
		}
		if out.Records == s.Records && hex.EncodeToString(out.RawSHA256[:]) == line.Whole.RawSHA256 {
			return true, nil
		}
	}
	return false, nil
}

// manifestsOf lists the manifests of a spool and of its copies, in the order of each chain.
func manifestsOf(ctx context.Context, d ship.Destination, id object.Origin) (map[string][]object.ChainKey, error) {
	chains := map[string][]object.ChainKey{}
	for e, err := range d.(ship.Lister).List(ctx, id.LineagePrefix()) {
		if err != nil {
			return nil, err
		}
		if k, ok := object.ParseChainKey(e.Key); ok && k.Head == "" && k.Related(id) {
			chains[k.Spool] = append(chains[k.Spool], k)
		}
	}
	for _, keys := range chains {
		slices.SortFunc(keys, func(a, b object.ChainKey) int {
			return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Number, b.Number))
		})
	}
	return chains, nil
}
