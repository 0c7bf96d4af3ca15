package ship

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"github.com/penstock-go/penstock/spool/object"
)

// ReadManifest reads one manifest from a destination, and checks that it is the one that its key names.
func ReadManifest(ctx context.Context, d Destination, class, spool string, epoch uint32, number uint64) (*Manifest, error) {
	key := object.ManifestKey(class, spool, epoch, number)
	body, err := d.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	// The decoder bounds each line; this bounds their number.
	m, err := DecodeManifest(io.LimitReader(body, maxManifest))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if h := &m.Header; h.Class != class || h.Spool != spool || h.Epoch != epoch || h.Number != number {
		return nil, fmt.Errorf("%w: %s holds manifest %d of epoch %d of spool %s, class %s", ErrVerify, key, h.Number, h.Epoch, h.Spool, h.Class)
	}
	return m, nil
}

// ReadChain yields the manifests of one epoch of a spool's chain from number 0 to the first number that is missing, and
// checks that each follows the previous one: hash, sequence and destination. It ends at the first error. ReadChain cannot
// tell a missing manifest from the end of the chain: the caller needs a listing, a head, or `final` for that.
func ReadChain(ctx context.Context, d Destination, class, spool string, epoch uint32) iter.Seq2[*Manifest, error] {
	return func(yield func(*Manifest, error) bool) {
		var prev *Manifest
		for number := uint64(0); ; number++ {
			m, err := ReadManifest(ctx, d, class, spool, epoch, number)
			if errors.Is(err, fs.ErrNotExist) {
				return
			}
			if err == nil && prev != nil {
				err = m.follows(prev)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(m, nil) {
				return
			}
			prev = m
		}
	}
}

// follows checks that m is the next manifest after prev in the same epoch. The sequence may skip records only if the header's
// Joined says that the destination is not owed them.
func (m *Manifest) follows(prev *Manifest) error {
	h, p := &m.Header, &prev.Header
	var what string
	switch {
	case h.Prev != hex.EncodeToString(prev.Hash[:]):
		what = "hash of the previous manifest"
	case h.PrevLast != prev.Footer.Last && (h.PrevLast < prev.Footer.Last || h.PrevLast != h.Joined-1):
		what = "sequence"
	case h.Destination != p.Destination:
		what = "destination"
	case prev.Footer.Final || prev.Footer.ClosedBy != nil:
		what = "position: after the end of the epoch"
	case m.Footer.Segment < prev.Footer.Segment:
		what = "segment"
	default:
		return nil
	}
	return fmt.Errorf("%w: manifest %d of epoch %d of spool %s: wrong %s", ErrVerify, h.Number, h.Epoch, h.Spool, what)
}
